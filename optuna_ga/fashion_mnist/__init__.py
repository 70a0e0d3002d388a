"""The paper's problem: learning rate, momentum and weight decay of a small CNN on FashionMNIST.

`FashionMNISTObjective` is all that a search needs. The other names are its parts: the images, the
network, a single training of it, and the trainer of many networks at once.

It needs PyTorch and torchvision; install them with `pip install -e ".[fashion-mnist]"`.
"""

from optuna_ga.fashion_mnist._data import Data, Images, load_full, load_subset, normalize
from optuna_ga.fashion_mnist._network import Network, initial_network
from optuna_ga.fashion_mnist._objective import (
    DIVERGED_LOSS,
    FashionMNISTObjective,
    Score,
)
from optuna_ga.fashion_mnist._paper_trainer import paper_trainer
from optuna_ga.fashion_mnist._search_space import SEARCH_SPACE
from optuna_ga.fashion_mnist._training import DivergedError, evaluate, train

__all__ = [
    "DIVERGED_LOSS",
    "SEARCH_SPACE",
    "Data",
    "DivergedError",
    "FashionMNISTObjective",
    "Images",
    "Network",
    "Score",
    "evaluate",
    "initial_network",
    "load_full",
    "load_subset",
    "normalize",
    "paper_trainer",
    "train",
]

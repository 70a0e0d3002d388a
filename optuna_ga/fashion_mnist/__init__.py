"""The paper's problem: learning rate, momentum and weight decay of a small CNN on FashionMNIST.

It needs PyTorch and torchvision; install them with `pip install "optuna-ga[fashion-mnist]"`.
"""

from optuna_ga.fashion_mnist._objective import SEARCH_SPACE, FashionMNISTObjective, Score

__all__ = ["SEARCH_SPACE", "FashionMNISTObjective", "Score"]

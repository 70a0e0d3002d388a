"""The paper's problem: learning rate, momentum and weight decay of a small CNN on FashionMNIST.

This is the only part of the package that needs PyTorch and torchvision; install it with
`pip install "optuna-ga[fashion-mnist]"`.
"""

from optuna_ga.fashion_mnist._objective import SEARCH_SPACE, FashionMNISTObjective, Score

__all__ = ["SEARCH_SPACE", "FashionMNISTObjective", "Score"]

"""Genetic algorithms for Optuna: a generation is a batch of trials.

`GASampler` is the genetic algorithm of "Evolving Hyperparameters: Genetic Algorithms for
Dynamic Neural Network Optimization", usable wherever Optuna takes a sampler. The paper's
FashionMNIST problem lives in `optuna_ga.fashion_mnist`, which alone needs PyTorch.
"""

from optuna_ga._checkpoints import Checkpoints
from optuna_ga._continuation import parent_to_continue, schedule_of
from optuna_ga._dashboard import DashboardReport
from optuna_ga._dataframe import generations_dataframe
from optuna_ga._driver import Result, optimize_generations
from optuna_ga._final import best_of_final_generation
from optuna_ga._parallel import InParallel
from optuna_ga._recheck import Rechecked, recheck_best
from optuna_ga._replay import replay
from optuna_ga._sampler import GASampler

__all__ = [
    "Checkpoints",
    "DashboardReport",
    "GASampler",
    "InParallel",
    "Rechecked",
    "Result",
    "best_of_final_generation",
    "generations_dataframe",
    "optimize_generations",
    "parent_to_continue",
    "recheck_best",
    "replay",
    "schedule_of",
]

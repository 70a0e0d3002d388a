"""Evolutionary samplers for Optuna, which breed trials from the fittest, and what belongs to them.

`GASampler` is the genetic algorithm of "Evolving Hyperparameters: Genetic Algorithms for Dynamic
Neural Network Optimization", as an Optuna sampler. `GASampler.adaptive` is the sampler to use
where the result counts. `GASampler.population_based_training` changes hyperparameters while a
network trains. `optimize_generations` evaluates a whole generation at once.
`optuna_ga.visualization` has the figures, `optuna_ga.torch` trains generations of networks, and
`optuna_ga.fashion_mnist` is the paper's problem; the last two need PyTorch.
"""

from optuna_ga._breeding.adaptive_settings import AdaptiveSettings
from optuna_ga._breeding.paper_settings import PaperSettings
from optuna_ga._dashboard.callback import DashboardReport
from optuna_ga._pbt.checkpoints import Checkpoints
from optuna_ga._pbt.lineage import parent_to_continue, schedule_of
from optuna_ga._pbt.replay import replay
from optuna_ga._results.dataframe import generations_dataframe
from optuna_ga._results.final_generation import (
    best_of_final_generation,
    front_of_final_generation,
)
from optuna_ga._results.ignored import ignored_trials
from optuna_ga._results.recheck import Rechecked, recheck_best
from optuna_ga._running.in_parallel import InParallel
from optuna_ga._running.optimize_generations import optimize_generations
from optuna_ga._running.outcome import Result
from optuna_ga._sampler import GASampler

__version__ = "0.1.0"
__all__ = [
    "AdaptiveSettings",
    "Checkpoints",
    "DashboardReport",
    "GASampler",
    "InParallel",
    "PaperSettings",
    "Rechecked",
    "Result",
    "best_of_final_generation",
    "front_of_final_generation",
    "generations_dataframe",
    "ignored_trials",
    "optimize_generations",
    "parent_to_continue",
    "recheck_best",
    "replay",
    "schedule_of",
]

_PACKAGES = ("fashion_mnist", "torch", "visualization")  # Imported at their first use.


def __getattr__(name: str) -> object:
    if name in _PACKAGES:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PACKAGES})

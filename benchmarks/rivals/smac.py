"""SMAC3's facade for hyperparameters as an Optuna sampler: a random forest as the model."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from weakref import finalize

import joblib
from ConfigSpace import (
    CategoricalHyperparameter,
    ConfigurationSpace,
    UniformFloatHyperparameter,
    UniformIntegerHyperparameter,
)
from ConfigSpace.hyperparameters import Hyperparameter
from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial
from smac import HyperparameterOptimizationFacade, Scenario
from smac.runhistory import TrialInfo, TrialValue

from benchmarks.rivals.asking import AskingSampler, from_number, n_steps, searched


class SMACSampler(AskingSampler):
    """Asks SMAC for each trial's configuration, and returns the value to it.

    It minimizes. A trial without a finite value has the worst value so far, as SMAC's authors
    advise. SMAC evaluates a configuration once, as the other samplers do. Its later draws also
    depend on Python's seed of hashes, so that two processes may differ.

    Args:
        space: Every parameter that a trial may have.
        n_trials: Number of trials, a quarter of which at most SMAC spreads evenly at first.
        seed: Seed of all draws.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], *, n_trials: int, seed: int) -> None:
        configurations = ConfigurationSpace(seed=seed)
        configurations.add([_hyperparameter(*parameter) for parameter in searched(space).items()])
        folder = Path(mkdtemp())  # SMAC writes its settings.
        finalize(self, shutil.rmtree, folder)
        scenario = Scenario(
            configurations,
            n_trials=n_trials,
            deterministic=True,
            seed=seed,
            output_directory=folder,
        )
        self._smac = HyperparameterOptimizationFacade(
            scenario, _no_function, overwrite=True, logging_level=False
        )
        self._asked: dict[int, TrialInfo] = {}  # By number of trial.
        self._worst = 0.0

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Ask for the trial's configuration."""
        with joblib.parallel_config("sequential"):  # Threads cost more than such small forests.
            self._asked[trial.number] = self._smac.ask()

    def value(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """Return the configuration's value of a parameter."""
        return from_number(distribution, self._asked[number].config[name])

    def tell(self, number: int, values: Sequence[float] | None) -> None:
        """Return the value of the trial's configuration to SMAC."""
        value = values[0] if values else math.inf
        if math.isfinite(value):
            self._worst = max(self._worst, value)
        cost = value if math.isfinite(value) else self._worst
        self._smac.tell(self._asked.pop(number), TrialValue(cost=cost), save=False)


def _no_function(config: object, seed: int = 0) -> float:
    raise AssertionError("SMAC is asked and told, and never evaluates.")


def _hyperparameter(name: str, distribution: BaseDistribution) -> Hyperparameter[Any, Any]:
    """Return SMAC's parameter. Choices and steps are numbered from 0."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return CategoricalHyperparameter(name, [str(index) for index in range(len(choices))])
        case IntDistribution(log=True, low=low, high=high):
            return UniformIntegerHyperparameter(name, low, high, log=True)
        case FloatDistribution(low=low, high=high, log=log, step=None):
            return UniformFloatHyperparameter(name, low, high, log=log)
        case IntDistribution() | FloatDistribution():
            return UniformIntegerHyperparameter(name, 0, n_steps(distribution) - 1)
    raise AssertionError(distribution)

"""Hyperopt's tree-structured Parzen estimator as an Optuna sampler."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hyperopt import JOB_STATE_DONE, STATUS_FAIL, STATUS_OK, Trials, hp, tpe
from hyperopt.base import Domain
from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from benchmarks.rivals.asking import AskingSampler, from_number, n_steps, searched


class HyperoptSampler(AskingSampler):
    """Asks Hyperopt for each trial's parameters, and returns the value to it.

    It minimizes. A trial without a finite value counts as failed.

    Args:
        space: Every parameter that a trial may have.
        seed: Seed of all draws.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], *, seed: int) -> None:
        variables = {name: _variable(name, found) for name, found in searched(space).items()}
        self._domain = Domain(lambda params: None, variables)
        self._trials = Trials()
        self._rng = np.random.default_rng(seed)
        self._asked: dict[int, dict[str, Any]] = {}  # By number of trial.

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Ask for the trial's parameters."""
        ids = self._trials.new_trial_ids(1)
        seed = int(self._rng.integers(2**31))
        documents = tpe.suggest(ids, self._domain, self._trials, seed, verbose=False)
        self._trials.insert_trial_docs(documents)
        self._trials.refresh()
        self._asked[trial.number] = self._trials.trials[-1]

    def value(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """Return the value of a parameter."""
        (found,) = self._asked[number]["misc"]["vals"][name]
        return from_number(distribution, found)

    def tell(self, number: int, values: Sequence[float] | None) -> None:
        """Return the value of the trial's parameters to Hyperopt."""
        document = self._asked.pop(number)
        document["state"] = JOB_STATE_DONE
        document["result"] = {"status": STATUS_FAIL}
        if values and math.isfinite(values[0]):
            document["result"] = {"status": STATUS_OK, "loss": values[0]}
        self._trials.refresh()


def _variable(name: str, distribution: BaseDistribution) -> Any:
    """Return Hyperopt's parameter. Choices and steps are numbered from 0.

    A range of integers reaches half of one beyond either end, so that the ends own full shares.
    """
    match distribution:
        case CategoricalDistribution(choices=choices):
            return hp.choice(name, range(len(choices)))
        case IntDistribution(log=True, low=low, high=high):
            return hp.qloguniform(name, math.log(low - 0.5), math.log(high + 0.5), 1)
        case FloatDistribution(log=True, low=low, high=high):
            return hp.loguniform(name, math.log(low), math.log(high))
        case FloatDistribution(low=low, high=high, step=None):
            return hp.uniform(name, low, high)
        case IntDistribution() | FloatDistribution():
            return hp.quniform(name, -0.5, n_steps(distribution) - 0.5, 1)
    raise AssertionError(distribution)

"""Differential evolution as an Optuna sampler: Nevergrad's TwoPointsDE, a population of 30."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import nevergrad as ng
import numpy as np
from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

_BELOW_ONE = np.nextafter(1.0, 0.0)
_WORST = 1e20  # Nevergrad warns of more.


class DESampler(BaseSampler):
    """Asks Nevergrad for each trial's point in the unit cube, and returns the value to it.

    It minimizes. Each parameter of the space has one coordinate, whether a trial has it or not.
    The choices of a categorical parameter own equal shares of its coordinate, in their order, as
    in DEHB. A trial without a value counts as a very bad trial.

    Args:
        space: Every parameter that a trial may have.
        n_trials: Number of trials, Nevergrad's budget.
        seed: Seed of all draws.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], *, n_trials: int, seed: int) -> None:
        self._coordinates = {name: index for index, name in enumerate(space)}
        # Nevergrad's own deviation for a range; given, because the default warns.
        cube = ng.p.Array(init=np.full(len(space), 0.5)).set_mutation(sigma=1 / 6)
        cube.set_bounds(0.0, 1.0, full_range_sampling=True)
        cube.random_state = np.random.RandomState(seed)
        self._optimizer = ng.optimizers.TwoPointsDE(cube, budget=n_trials)
        self._asked: dict[int, Any] = {}  # By number of trial.

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Ask for the trial's point."""
        self._asked[trial.number] = self._optimizer.ask()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: each parameter is read off the point when it is suggested."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing, since no parameter is sampled relative to others."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the point's value of a parameter."""
        u = self._asked[trial.number].value[self._coordinates[param_name]]
        return _value(param_distribution, float(np.clip(u, 0.0, _BELOW_ONE)))

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Return the value of the trial's point to Nevergrad."""
        value = values[0] if state == TrialState.COMPLETE and values else math.inf
        self._optimizer.tell(self._asked.pop(trial.number), min(value, _WORST))


def _value(distribution: BaseDistribution, u: float) -> Any:
    """Return the value of a parameter at a position in [0, 1) of its range."""
    match distribution:
        case CategoricalDistribution():
            return distribution.choices[_share(u, len(distribution.choices))]
        case IntDistribution(log=True, low=low, high=high):
            # Half an integer beyond either end, so that the ends own full shares.
            value = round(math.exp(_between(math.log(low - 0.5), math.log(high + 0.5), u)))
            return min(max(value, low), high)
        case IntDistribution(low=low, high=high, step=step):
            return low + step * _share(u, (high - low) // step + 1)
        case FloatDistribution(low=low, high=high, step=float(step)):
            return min(low + _share(u, round((high - low) / step) + 1) * step, high)
        case FloatDistribution(log=True, low=low, high=high):
            return min(max(math.exp(_between(math.log(low), math.log(high), u)), low), high)
        case FloatDistribution(low=low, high=high):
            return min(_between(low, high, u), high)
    raise AssertionError(distribution)


def _share(u: float, n: int) -> int:
    """Return floor(u * n), exact for any n."""
    return int(u * 2**53) * n >> 53


def _between(low: float, high: float, u: float) -> float:
    return low + u * (high - low)

"""Differential evolution as an Optuna sampler: Nevergrad's TwoPointsDE, a population of 30."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import nevergrad as ng
import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._population.genes import from_unit

_BELOW_ONE = np.nextafter(1.0, 0.0)
_WORST = 1e20  # Nevergrad warns of more.


class DESampler(BaseSampler):
    """Asks Nevergrad for each trial's point in the unit cube, and tells it the value.

    It minimizes. Each parameter has one coordinate, also a categorical one, whose choices own
    equal shares of it in their order, as in DEHB; a parameter that is not asked for has its
    coordinate all the same. A trial without a value counts as a very bad one.

    Args:
        space: Every parameter that a trial may ask for.
        n_trials: Number of trials, Nevergrad's budget.
        seed: Seed of everything random.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], *, n_trials: int, seed: int) -> None:
        self._coordinates = {name: index for index, name in enumerate(space)}
        # The deviation that Nevergrad itself gives to a range, of which it would warn otherwise.
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
        """Return nothing: each parameter is read off the point when it is asked for."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing, too."""
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
        return from_unit(param_distribution, float(np.clip(u, 0.0, _BELOW_ONE)))

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Tell the value of the trial's point."""
        value = values[0] if state == TrialState.COMPLETE and values else math.inf
        self._optimizer.tell(self._asked.pop(trial.number), min(value, _WORST))

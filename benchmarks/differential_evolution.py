"""Differential evolution as an Optuna sampler: Nevergrad's TwoPointsDE, a population of 30."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import nevergrad as ng
import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from benchmarks.unit_cube import PointSampler

_WORST = 1e20  # Nevergrad warns of more.


class DESampler(PointSampler):
    """Asks Nevergrad for each trial's point in the unit cube, and returns the value to it.

    It minimizes. A trial without a value counts as a very bad trial.

    Args:
        space: Every parameter that a trial may have.
        n_trials: Number of trials, Nevergrad's budget.
        seed: Seed of all draws.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], *, n_trials: int, seed: int) -> None:
        super().__init__(space)
        # Nevergrad's own deviation for a range; given, because the default warns.
        cube = ng.p.Array(init=np.full(len(space), 0.5)).set_mutation(sigma=1 / 6)
        cube.set_bounds(0.0, 1.0, full_range_sampling=True)
        cube.random_state = np.random.RandomState(seed)
        self._optimizer = ng.optimizers.TwoPointsDE(cube, budget=n_trials)
        self._asked: dict[int, Any] = {}  # By number of trial.

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Ask for the trial's point."""
        self._asked[trial.number] = self._optimizer.ask()

    def point(self, number: int) -> np.ndarray:
        """Return Nevergrad's point for a trial."""
        return np.asarray(self._asked[number].value)

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

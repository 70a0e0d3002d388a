"""Fitness: the total order of finished trials, from the fittest to the least fit."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from typing import NamedTuple

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._records import CHECKPOINT


class Rank(NamedTuple):
    """Sort key of a finished trial: the smaller, the fitter.

    Attributes:
        violation: Total violation of the constraints, 0 for a feasible trial.
        pruned: Whether the trial is pruned rather than complete.
        minus_step: The negative last step of a pruned trial; 1 without one, 0 if it is complete.
        loss: The value to be minimized; of a pruned trial the last report.
        number: The trial's number, which breaks ties.
    """

    violation: float
    pruned: bool
    minus_step: int
    loss: float
    number: int


def rank(trial: FrozenTrial, direction: StudyDirection) -> Rank | None:
    """Return the rank of a finished trial, None if it has no fitness.

    Feasible trials precede infeasible trials, which are ordered by their total violation. Then
    complete trials precede pruned trials, which are ordered by their last step, then by their
    last report. The number breaks ties, so the order is total. Failed trials have no fitness.
    """
    if trial.state == TrialState.COMPLETE:
        assert trial.values is not None
        loss = loss_of(trial.values[0], direction)
        return Rank(_violation(trial), False, 0, loss, trial.number)
    if trial.state == TrialState.PRUNED:
        step = trial.last_step
        if step is None:
            return Rank(_violation(trial), True, 1, math.inf, trial.number)
        loss = loss_of(trial.intermediate_values[step], direction)
        return Rank(_violation(trial), True, -step, loss, trial.number)
    return None


def fittest(trials: Iterable[FrozenTrial], n: int, direction: StudyDirection) -> list[FrozenTrial]:
    """Return the at most `n` fittest of finished trials, the fittest first."""
    ranked = ((key, trial) for trial in trials if (key := rank(trial, direction)) is not None)
    return [trial for _, trial in heapq.nsmallest(n, ranked)]


def can_be_continued(trial: FrozenTrial) -> bool:
    """Return whether training can resume from the state that a finished trial has saved.

    The state of a diverged trial, whose value is infinite, is not inherited.
    """
    if trial.state != TrialState.COMPLETE or CHECKPOINT not in trial.user_attrs:
        return False
    assert trial.values is not None
    return all(map(math.isfinite, trial.values))


def loss_of(value: float, direction: StudyDirection) -> float:
    """Return a value as a loss, which is minimized; NaN counts as the worst."""
    if math.isnan(value):
        return math.inf
    return -value if direction == StudyDirection.MAXIMIZE else value


def _violation(trial: FrozenTrial) -> float:
    if not trial.system_attrs:  # Constraints are stored there; this spares building a dict.
        return 0.0
    total = sum(max(value, 0.0) for value in trial.constraints.values())
    return math.inf if math.isnan(total) else total

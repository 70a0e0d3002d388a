"""Which of two finished trials is fitter."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._optuna_internals import CHECKPOINT

# Smaller is fitter: (violation, not complete, -last step, loss, number).
Rank = tuple[float, bool, int, float, int]


def rank(trial: FrozenTrial, direction: StudyDirection) -> Rank | None:
    """Return the sort key of a finished trial, smaller for the fitter; None if it has no fitness.

    Feasible trials precede infeasible ones, which go by their total violation. Then complete
    trials precede pruned ones, of which those that came further precede, and among equals the
    better last report does. The number breaks ties, so that the order is total. Failed trials
    have no fitness.
    """
    if trial.state == TrialState.COMPLETE:
        assert trial.values is not None
        return _violation(trial), False, 0, loss_of(trial.values[0], direction), trial.number
    if trial.state == TrialState.PRUNED:
        step = trial.last_step
        if step is None:
            return _violation(trial), True, 1, math.inf, trial.number
        loss = loss_of(trial.intermediate_values[step], direction)
        return _violation(trial), True, -step, loss, trial.number
    return None


def fittest(trials: Iterable[FrozenTrial], n: int, direction: StudyDirection) -> list[FrozenTrial]:
    """Return the at most `n` fittest of finished trials, the fittest first."""
    ranked = ((key, trial) for trial in trials if (key := rank(trial, direction)) is not None)
    return [trial for _, trial in heapq.nsmallest(n, ranked)]


def can_be_continued(trial: FrozenTrial) -> bool:
    """Return whether a finished trial has left a state from which others can go on.

    One that diverged has an infinite value, and what it left is not inherited.
    """
    if trial.state != TrialState.COMPLETE or CHECKPOINT not in trial.user_attrs:
        return False
    assert trial.values is not None
    return all(map(math.isfinite, trial.values))


def _violation(trial: FrozenTrial) -> float:
    if not trial.system_attrs:  # Constraints are stored there; this spares building a dict.
        return 0.0
    total = sum(max(value, 0.0) for value in trial.constraints.values())
    return math.inf if math.isnan(total) else total


def loss_of(value: float, direction: StudyDirection) -> float:
    """Return a value as what is minimized; NaN counts as the worst."""
    if math.isnan(value):
        return math.inf
    return -value if direction == StudyDirection.MAXIMIZE else value

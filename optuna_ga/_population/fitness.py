"""Fitness: the total order of finished trials, from the fittest to the least fit.

With several objectives the order of complete trials is that of NSGA-II: by fronts, and within a
front by crowding distance. So a trial is fitter than another among certain trials only.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from itertools import compress, groupby
from typing import NamedTuple

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._population.fronts import crowding_distances, fronts, undominated
from optuna_ga._records import CHECKPOINT


class Rank(NamedTuple):
    """Sort key of a finished trial if there is one objective: the smaller, the fitter.

    With several objectives `in_order` sorts.

    Attributes:
        violation: Total violation of the constraints, 0 for a feasible trial.
        pruned: Whether the trial is pruned rather than complete.
        minus_step: The negative last step of a pruned trial; 1 without one, 0 if it is complete.
        losses: The values to be minimized; of a pruned trial the last report.
        number: The trial's number, which breaks ties.
    """

    violation: float
    pruned: bool
    minus_step: int
    losses: tuple[float, ...]
    number: int

    @property
    def level(self) -> tuple[object, ...]:
        """What distinguishes it from others: of an infeasible trial, the violation alone."""
        return self[:-1] if self.violation == 0 else self[:1]

    @property
    def is_candidate(self) -> bool:
        """Whether the trial is complete and feasible, so that it can be the best."""
        return self.violation == 0 and not self.pruned


def rank(trial: FrozenTrial, directions: Sequence[StudyDirection]) -> Rank | None:
    """Return the rank of a finished trial, None if it has no fitness.

    Feasible trials precede infeasible trials, which are ordered by their total violation. Then
    complete trials precede pruned trials, which are ordered by their last step, then by their
    last report. The number breaks ties, so the order is total. Failed trials have no fitness.
    """
    if trial.state == TrialState.COMPLETE:
        assert trial.values is not None
        losses = tuple(map(loss_of, trial.values, directions))
        return Rank(_violation(trial), False, 0, losses, trial.number)
    if trial.state == TrialState.PRUNED:
        step = trial.last_step
        if step is None or len(directions) > 1:  # Optuna prunes with one objective only.
            return Rank(_violation(trial), True, 1, (math.inf,) * len(directions), trial.number)
        loss = loss_of(trial.intermediate_values[step], directions[0])
        return Rank(_violation(trial), True, -step, (loss,), trial.number)
    return None


def in_order(ranks: Iterable[Rank]) -> list[Rank]:
    """Return ranks from the fittest to the least fit.

    With several objectives, trials that agree in violation and state are ordered by their front,
    then by their crowding distance in it, the largest first, then by their numbers.
    """
    found = list(ranks)
    if not found or len(found[0].losses) == 1:
        return sorted(found)
    found.sort(key=lambda rank: (rank[:3], rank.number))
    alike = (list(group) for _, group in groupby(found, key=lambda rank: rank[:3]))
    return [rank for group in alike for rank in _by_front(group)]


def _by_front(ranks: list[Rank]) -> list[Rank]:
    if len(ranks) == 1:
        return ranks
    losses = np.array([rank.losses for rank in ranks])
    front = fronts(losses)
    distances = crowding_distances(losses, front)
    return [ranks[position] for position in np.lexsort((-distances, front)).tolist()]


def fittest(
    trials: Iterable[FrozenTrial], n: int, directions: Sequence[StudyDirection]
) -> list[FrozenTrial]:
    """Return the at most `n` fittest of finished trials, the fittest first."""
    ranked = {key: trial for trial in trials if (key := rank(trial, directions)) is not None}
    best = heapq.nsmallest(n, ranked) if len(directions) == 1 else in_order(ranked)[:n]
    return [ranked[key] for key in best]


def first_front(
    trials: Iterable[FrozenTrial], directions: Sequence[StudyDirection]
) -> list[FrozenTrial]:
    """Return the best finished trials: those beaten at most by crowding distance or number.

    With several objectives they are front 0, in the order of `fittest`; with one, the trials of
    the best value.
    """
    ranked = {key: trial for trial in trials if (key := rank(trial, directions)) is not None}
    if not ranked:
        return []
    best = min(ranked)[:3]
    alike = [key for key in ranked if key[:3] == best]
    is_best = undominated(np.array([key.losses for key in alike], float))
    return [ranked[key] for key in in_order(compress(alike, is_best))]


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

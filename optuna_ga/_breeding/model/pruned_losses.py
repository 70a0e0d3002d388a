"""The losses that a model learns of pruned trials.

A report of an early step is no loss of a complete trial: after one step even the best trial is far
from its end. What an early report tells is its place among the reports of other trials at that
step. So a pruned trial counts as the loss at the same place among those of complete trials: if a
quarter of the reports are better, as the complete trial that a quarter of the others beat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from optuna_ga._population.fitness import Rank, loss_of


def with_expected_losses(
    ranks: Sequence[Rank | None], trials: Sequence[FrozenTrial], direction: StudyDirection
) -> list[Rank | None]:
    """Return the ranks of trials with the losses that pruned trials are expected to end with.

    Without complete trials, and for a trial without a report, the loss stays what it is. Of
    complete trials those count that are feasible and have a finite loss; of reports those of all
    given trials.

    Args:
        ranks: The trials' ranks in a study with one objective; None for failed trials.
        trials: The trials `(n,)`, those that a model learns from.
        direction: The study's direction.
    """
    if not any(rank and rank.pruned for rank in ranks):
        return list(ranks)
    losses = (rank.losses[0] for rank in ranks if rank and rank.is_candidate)
    complete = sorted(filter(math.isfinite, losses))
    reports: dict[int, np.ndarray] = {}

    def expected(rank: Rank | None) -> Rank | None:
        if rank is None or not rank.pruned or rank.minus_step > 0:
            return rank
        step = -rank.minus_step
        if step not in reports:
            reports[step] = _reports(trials, step, direction)
        place = _place(rank.losses[0], reports[step])
        return rank._replace(losses=(complete[round(place * (len(complete) - 1))],))

    return [expected(rank) for rank in ranks] if complete else list(ranks)


def _reports(trials: Sequence[FrozenTrial], step: int, direction: StudyDirection) -> np.ndarray:
    """Return the losses that were reported at a step, ascending."""
    found = [trial.intermediate_values.get(step) for trial in trials]
    return np.sort([loss_of(value, direction) for value in found if value is not None])


def _place(loss: float, among: np.ndarray) -> float:
    """Return the share of losses that are lower, of which equal losses count half."""
    lower, not_higher = among.searchsorted(loss, "left"), among.searchsorted(loss, "right")
    return float(lower + not_higher) / (2 * len(among))

"""Which trials improved a search, and the best value after each trial.

Shapes: C candidates, M objectives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from optuna.study import StudyDirection

from optuna_ga._population.fitness import Rank
from optuna_ga._population.hypervolume import Hypervolume


class Improvements:
    """The improvements from finished trial to finished trial.

    A candidate is a complete and feasible trial.

    Args:
        ranks: The ranks of the finished trials; None for those without a fitness.
        directions: The study's directions.
    """

    def __init__(self, ranks: Sequence[Rank | None], directions: Sequence[StudyDirection]) -> None:
        self.are_candidates = [key is not None and key.is_candidate for key in ranks]
        losses = [key.losses for key in ranks if key is not None and key.is_candidate]
        self._losses = np.array(losses).reshape(-1, len(directions))
        self._directions = directions

    @cached_property
    def improved(self) -> list[bool]:
        """Whether each trial is a candidate that no candidate before it dominates or equals.

        With one objective: that is better than all before it, the first if it is not infinitely
        bad.
        """
        improved = np.zeros(len(self.are_candidates), bool)
        positions = np.flatnonzero(self.are_candidates)
        if len(self._directions) == 1:
            before = np.append(np.inf, np.minimum.accumulate(self._losses[:, 0]))[:-1]
            improved[positions[self._losses[:, 0] < before]] = True
        else:
            improved[[positions[entered] for entered, _ in _entries(self._losses)]] = True
        return improved.tolist()

    @cached_property
    def bests(self) -> list[float | None]:
        """The best value after each trial, or the hypervolume; None before the first candidate.

        The hypervolume takes long, so it is measured only if it is needed.
        """
        if len(self._directions) == 1:
            sign = -1.0 if self._directions[0] == StudyDirection.MAXIMIZE else 1.0
            found = sign * np.minimum.accumulate(self._losses[:, 0])
        else:
            found = _hypervolumes(self._losses)
        n_before = np.cumsum(self.are_candidates).tolist()
        bests: list[float] = found.tolist()
        return [bests[n - 1] if n else None for n in n_before]


def _hypervolumes(losses: np.ndarray) -> np.ndarray:
    """Return the hypervolume after each candidate `(C,)` by the losses `(C, M)`."""
    gains = np.zeros(len(losses))
    if len(losses):
        volume = Hypervolume(losses)
        for entered, front in _entries(losses):
            gains[entered] = volume.added(entered, front.tolist())
    return np.minimum(np.cumsum(gains), 1.0)


def _entries(losses: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the position of each candidate that enters the front, and the front before it."""
    front = np.empty(0, int)
    for position, point in enumerate(losses):
        known = losses[front]
        if not (known <= point).all(axis=1).any():
            yield position, front
            front = np.append(front[~(point <= known).all(axis=1)], position)

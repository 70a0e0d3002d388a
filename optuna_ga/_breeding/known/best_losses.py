"""The lowest loss after each finished trial, and whether it stands still."""

from __future__ import annotations

import math

from optuna_ga._population.fitness import Rank

_LEAST_SHARE = 0.01


class BestLosses:
    """The lowest loss of the complete feasible trials, after each trial in order of arrival.

    It is that of the first objective.
    """

    def __init__(self) -> None:
        self._lowest: list[float] = []  # After each trial.
        self._n_infinite = 0  # So many of the first are infinite.

    def add(self, rank: Rank | None) -> None:
        """Add a finished trial's rank, None without a fitness."""
        before = self._lowest[-1] if self._lowest else math.inf
        loss = rank.losses[0] if rank and rank.is_candidate else math.inf
        self._lowest.append(min(before, loss))
        self._n_infinite += self._lowest[-1] == math.inf

    def stand_still(self, n_latest: int) -> bool:
        """Return whether the latest trials lowered the best loss by a hundredth at most.

        That is a hundredth of all that it has been lowered by since there were `n_latest` trials,
        or since it was first finite.

        Args:
            n_latest: The number of the latest trials.
        """
        first, last = max(n_latest - 1, self._n_infinite), len(self._lowest) - 1
        if last - n_latest < first or self._lowest[-1] == -math.inf:
            return False
        # Halves, whose differences do not overflow.
        start, before, now = (self._lowest[i] / 2 for i in (first, last - n_latest, last))
        return before - now <= _LEAST_SHARE * (start - now)

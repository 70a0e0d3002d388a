"""The fittest of all trials, updated trial by trial at a cost that does not grow with the study.

With one objective the fittest of more trials are among the fittest of fewer. With several they are
not: the crowding of a front changes with every trial. So survival is a chain there, as in NSGA-II:
the survivors of the generations before g are the best P of the survivors of the generations before
g-1 and of the trials of g-1. They depend on the finished trials alone, not on the order in which
these finished.
"""

from __future__ import annotations

from bisect import insort

from optuna_ga._population.fitness import Rank, in_order


class Fittest:
    """The fittest of all trials of a study with one objective.

    Args:
        size: How many trials are kept.

    Attributes:
        ranks: Their ranks, the fittest first.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._dropped = False
        self.ranks: list[Rank] = []

    def add(self, key: Rank) -> None:
        """Add a trial."""
        if len(self.ranks) == self._size:
            self._dropped = True
            if key > self.ranks[-1]:
                return
            self.ranks.pop()
        insort(self.ranks, key)

    def best(self, n: int, end: int) -> list[int] | None:
        """Return the `n` fittest trials with numbers below `end`, None if too few are held."""
        numbers = [rank.number for rank in self.ranks if rank.number < end][:n]
        return None if len(numbers) < n and self._dropped else numbers


class Survivors:
    """The survivors of each generation of a study with several objectives.

    A late result changes the survivors of the generations after its own, which are then chosen
    anew.

    Args:
        size: Trials in a generation, P, and the most survivors.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._members: dict[int, list[Rank]] = {}  # By generation.
        self._before: list[list[Rank]] = [[]]  # By generation: of all generations before it.

    def add(self, key: Rank) -> None:
        """Add a trial."""
        generation = key.number // self._size
        self._members.setdefault(generation, []).append(key)
        del self._before[generation + 1 :]

    def best(self, n: int, end: int) -> list[int]:
        """Return the `n` fittest survivors of the generations whose numbers are below `end`."""
        generation = end // self._size
        for previous in range(len(self._before) - 1, generation):
            pool = [*self._before[previous], *self._members.get(previous, ())]
            self._before.append(in_order(pool)[: self._size])
        return [rank.number for rank in self._before[generation][:n]]


class Archive:
    """Fit trials of a study with several objectives, at least as many of them as wanted.

    Whenever it has twice as many, the fitter half stays, so that it depends on the trials and
    their order of arrival alone.

    Args:
        size: How many trials are wanted.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: list[Rank] = []
        self._ordered: list[Rank] | None = None

    def add(self, key: Rank) -> None:
        """Add a trial."""
        self._kept.append(key)
        self._ordered = None
        if len(self._kept) == 2 * self._size:
            self._kept = in_order(self._kept)[: self._size]

    @property
    def ranks(self) -> list[Rank]:
        """The ranks of the trials, the fittest first."""
        if self._ordered is None:
            self._ordered = in_order(self._kept)
        return self._ordered

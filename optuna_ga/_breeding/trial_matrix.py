"""The finished trials of a study as arrays, in the order in which they became known.

Shapes: N trials, D parameters, E of the fittest trials.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._population.fitness import Rank, rank
from optuna_ga._population.genes import Gene, fit, to_unit

Distributions = Mapping[str, BaseDistribution]

_RENEWED_AFTER = 0.1


def same_kind(parents: BaseDistribution | None, childs: BaseDistribution) -> bool:
    """Return whether a value of the parent's distribution means something in the child's."""
    if isinstance(childs, CategoricalDistribution):
        return parents == childs
    return type(parents) is type(childs)


def inherited(trial: FrozenTrial, name: str, distribution: BaseDistribution) -> float:
    """Return a trial's parameter on the unit scale of a distribution, NaN if it has none."""
    if not same_kind(trial.distributions.get(name), distribution):
        return np.nan
    return to_unit(distribution, fit(distribution, trial.params[name]))


class Archive:
    """Finished trials, their genes on the unit scale, and which of them are the fittest.

    On average adding a trial costs the same however many there are. So a parameter whose range
    changes is expressed anew only if a tenth of the trials have come since it last was.

    Args:
        direction: The study's direction.
        n_fittest: How many of the fittest are kept in order.
    """

    def __init__(self, direction: StudyDirection, n_fittest: int) -> None:
        self._direction = direction
        self._n_fittest = n_fittest
        self._fittest: list[tuple[Rank, int]] = []
        self._fittest_with: dict[str, list[tuple[Rank, int]]] = {}
        self._units = np.full((64, 0), np.nan)
        self._complete = np.zeros(64, bool)
        self._rows: dict[int, int] = {}
        self._taken_over: dict[str, int] = {}  # How many trials there were then.
        self.trials: list[FrozenTrial] = []
        self.ranks: list[Rank | None] = []
        self.distributions: dict[str, BaseDistribution] = {}
        self.version = 0  # Changes whenever genes are expressed anew.

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def units(self) -> np.ndarray:
        """Genes `(N, D)` on the unit scale, in the order of `distributions`; NaN where absent."""
        return self._units[: len(self.trials)]

    @property
    def complete(self) -> np.ndarray:
        """Which trials are complete, rather than failed or pruned, as booleans `(N,)`."""
        return self._complete[: len(self.trials)]

    def add(self, trial: FrozenTrial) -> None:
        """Take in a finished trial."""
        row = len(self.trials)
        self.trials.append(trial)
        self._rows[trial.number] = row
        self._grow()
        self._complete[row] = trial.state == TrialState.COMPLETE
        for name, distribution in trial.distributions.items():
            if self._is_due(name, distribution):
                self._take_over(name, distribution)
        self._units[row] = self.encoded(trial.params, trial.distributions)
        key = rank(trial, self._direction)
        self.ranks.append(key)
        if key is None:
            return
        self._note(self._fittest, key, row)
        for name in trial.params:
            self._note(self._fittest_with.setdefault(name, []), key, row)

    def encoded(self, params: Mapping[str, Gene], distributions: Distributions) -> np.ndarray:
        """Return parameters `(D,)` on the unit scale; NaN where they are absent."""
        units = np.full(len(self.distributions), np.nan)
        if not params:
            return units
        for column, (name, distribution) in enumerate(self.distributions.items()):
            if name in params and same_kind(distributions[name], distribution):
                units[column] = to_unit(distribution, fit(distribution, params[name]))
        return units

    def fittest(self, name: str | None = None) -> list[int]:
        """Return the rows of the fittest trials, or of the fittest that have a parameter."""
        found = self._fittest if name is None else self._fittest_with.get(name, [])
        return [row for _, row in found]

    def rows(self, numbers: Iterable[int]) -> list[int]:
        """Return the rows of those of the numbered trials that are known."""
        return [self._rows[number] for number in numbers if number in self._rows]

    def genes(self, rows: Sequence[int], distributions: Distributions) -> np.ndarray:
        """Return parameters of some rows `(len(distributions), len(rows))` on their unit scales.

        NaN for those that a row does not have.
        """
        if distributions is self.distributions:
            return np.asarray(self._units[rows].T)
        found = np.empty((len(distributions), len(rows)))
        for position, (name, distribution) in enumerate(distributions.items()):
            if self.distributions.get(name) == distribution:
                found[position] = self._units[rows, list(self.distributions).index(name)]
            else:
                found[position] = [inherited(self.trials[row], name, distribution) for row in rows]
        return found

    def _note(self, fittest: list[tuple[Rank, int]], key: Rank, row: int) -> None:
        if len(fittest) < self._n_fittest or key < fittest[-1][0]:
            insort(fittest, (key, row))
            del fittest[self._n_fittest :]

    def _grow(self) -> None:
        if len(self.trials) > len(self._units):
            self._units = np.vstack([self._units, np.full_like(self._units, np.nan)])
            self._complete = np.append(self._complete, np.zeros_like(self._complete))

    def _is_due(self, name: str, distribution: BaseDistribution) -> bool:
        """Return whether the genes are to be expressed in another distribution than before."""
        known = self.distributions.get(name)
        if known == distribution:
            return False
        n_since = len(self.trials) - self._taken_over.get(name, 0)
        return not same_kind(known, distribution) or n_since >= _RENEWED_AFTER * len(self.trials)

    def _take_over(self, name: str, distribution: BaseDistribution) -> None:
        """Express a parameter in another distribution."""
        if name not in self.distributions:
            self._units = np.column_stack([self._units, np.full(len(self._units), np.nan)])
        self.distributions[name] = distribution
        self._taken_over[name] = len(self.trials)
        self.version += 1
        column = list(self.distributions).index(name)
        self._units[: len(self.trials), column] = [
            inherited(trial, name, distribution) for trial in self.trials
        ]

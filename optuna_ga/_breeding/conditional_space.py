"""Which parameters a child will be asked for, learnt from finished trials.

An objective that branches asks for some parameters only if others have certain values. Decision
trees over the finished trials tell which, one for all parameters that are always asked for
together: a tree splits by the discrete parameter that says most about whether they are. It serves
to foresee a child; what the child is really asked for stays the objective's business.

Shapes: N trials, K children, D parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from optuna_ga._population.genes import DIGITS, n_cells


class _Split(NamedTuple):
    """A node of a tree: which parameter decides, and by its values what follows."""

    column: int
    branches: Mapping[float, _Split | bool]


class Branches:
    """What finished trials tell of the branches of the search space.

    Args:
        trials: The genes of finished trials on the unit scale `(N, D)`, NaN where a trial was not
            asked.
        distributions: The parameters' distributions `(D,)`.

    Attributes:
        always: Whether every trial was asked for every parameter.
    """

    def __init__(self, trials: np.ndarray, distributions: Sequence[BaseDistribution]) -> None:
        self._trees: list[tuple[np.ndarray, _Split | bool]] = []
        self.always = not np.isnan(trials).any()
        if self.always:
            return
        grower = _Grower(trials, distributions)
        patterns, which = np.unique(grower.asked, axis=1, return_inverse=True)
        for pattern, outcome in enumerate(patterns.T):
            columns = np.flatnonzero(which.ravel() == pattern)
            self._trees.append((columns, grower.tree(outcome)))

    def asked(self, units: np.ndarray) -> np.ndarray:
        """Return which parameters children will be asked for, as booleans `(K, D)`.

        Args:
            units: What the children's genes would be, on the unit scale `(K, D)`.
        """
        found = np.ones(units.shape, bool)
        if not self.always:
            children = np.round(units, DIGITS).tolist()
            for columns, tree in self._trees:
                decided = [_decided(tree, child) for child in children]
                found[:, columns] = np.array(decided, bool)[:, None]
        return found

    def agree(self, trial: np.ndarray) -> bool:
        """Return whether a trial `(D,)` was asked for what these would have foreseen."""
        was_asked = ~np.isnan(trial)
        if self.always:
            return bool(was_asked.all())
        return bool((self.asked(np.nan_to_num(trial)[None])[0] == was_asked).all())


class _Grower:
    """Grows trees from finished trials.

    Attributes:
        asked: What these were asked for, as booleans `(N, D)`; trials that agree in all that can
            decide count once.
    """

    def __init__(self, trials: np.ndarray, distributions: Sequence[BaseDistribution]) -> None:
        units = _distinct(trials, distributions)
        self.asked = units >= 0.0
        self._discrete = [c for c, d in enumerate(distributions) if n_cells(d) is not None]
        self._ordered = np.array(
            [not isinstance(distributions[c], CategoricalDistribution) for c in self._discrete]
        )
        # Each value of each discrete parameter has a number of its own, absence included.
        self._values: list[float] = []
        self._starts: list[int] = []
        self._codes = np.zeros((len(units), len(self._discrete)), int)
        for position, column in enumerate(self._discrete):
            values, codes = np.unique(units[:, column], return_inverse=True)
            self._starts.append(len(self._values))
            self._codes[:, position] = codes + len(self._values)
            self._values += values.tolist()
        counts = np.arange(len(units) + 1)
        self._n_log_n = counts * np.log(np.maximum(counts, 1))

    def tree(self, outcome: np.ndarray) -> _Split | bool:
        """Return the tree that tells trials' outcomes `(N,)`."""
        if outcome.all() or not outcome.any():
            return bool(outcome[0])
        return self._grown(np.arange(len(outcome)), outcome)

    def _grown(self, rows: np.ndarray, outcome: np.ndarray) -> _Split | bool:
        """Return the tree that tells apart these rows, whose outcomes differ."""
        asked = outcome[rows]
        codes = self._codes[rows]
        n_all = np.bincount(codes.ravel(), minlength=len(self._values))
        n_asked = np.bincount(codes[asked].ravel(), minlength=len(self._values))
        decider = self._decider(rows, n_all, n_asked)
        if decider is None:
            return bool(asked.mean() > 0.5)
        branches: dict[float, _Split | bool] = {}
        for code in np.unique(codes[:, decider]).tolist():
            if n_asked[code] in (0, n_all[code]):
                branches[self._values[code]] = bool(n_asked[code])
            else:
                inside = rows[codes[:, decider] == code]
                branches[self._values[code]] = self._grown(inside, outcome)
        return _Split(self._discrete[decider], branches)

    def _decider(self, rows: np.ndarray, n_all: np.ndarray, n_asked: np.ndarray) -> int | None:
        """Return the position of the parameter whose value says most about the outcome, or None.

        Args:
            rows: The rows to tell apart.
            n_all: How many of them have each value.
            n_asked: How many of these were asked.
        """
        if not self._discrete:
            return None
        table = self._n_log_n
        entropies = table[n_all] - table[n_asked] - table[n_all - n_asked]
        n_values = np.add.reduceat(n_all > 0, self._starts, dtype=int)
        tells_all_apart = self._ordered & (n_values > len(rows) / 2)
        all_have_it = self.asked[rows][:, self._discrete].all(axis=0)
        possible = all_have_it & (n_values > 1) & ~tells_all_apart
        if not possible.any():
            return None
        # Among equals the one with the fewest values.
        entropy = np.add.reduceat(entropies, self._starts) + 1e-3 * n_values
        return int(np.argmin(np.where(possible, entropy, np.inf)))


def _distinct(trials: np.ndarray, distributions: Sequence[BaseDistribution]) -> np.ndarray:
    """Return trials, each once, with -1 where one was not asked.

    They are without what cannot decide: continuous genes only show that they are there.
    """
    continuous = [n_cells(distribution) is None for distribution in distributions]
    deciding = np.where(np.isnan(trials), -1.0, np.where(continuous, 0.0, trials))
    deciding = np.round(deciding, DIGITS)
    first = np.unique(deciding, axis=0, return_index=True)[1]
    return np.asarray(deciding[np.sort(first)])


def _decided(tree: _Split | bool, child: Sequence[float]) -> bool:
    """Return what a tree says of a child's genes `(D,)`; False if it cannot say."""
    while not isinstance(tree, bool):
        tree = tree.branches.get(child[tree.column], False)
    return tree

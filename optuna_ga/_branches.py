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

from optuna_ga._genes import n_cells

_SAME = 1e-9  # Positions on the unit scale that differ less are the same.


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
    """

    def __init__(self, trials: np.ndarray, distributions: Sequence[BaseDistribution]) -> None:
        self._trees: list[tuple[np.ndarray, _Split | bool]] = []
        self._always = not np.isnan(trials).any()
        if self._always:
            return
        self._ordered = [not isinstance(d, CategoricalDistribution) for d in distributions]
        self._units = _distinct(trials, distributions)
        self._discrete = [c for c, d in enumerate(distributions) if n_cells(d) is not None]
        self._codes = np.column_stack(
            [np.unique(column, return_inverse=True)[1] for column in self._units.T]
        )
        asked = self._units >= 0.0
        rows = np.arange(len(asked))
        patterns, which = np.unique(asked, axis=1, return_inverse=True)
        for pattern, outcome in enumerate(patterns.T):
            columns = np.flatnonzero(which.ravel() == pattern)
            self._trees.append((columns, self._grown(rows, outcome)))

    def asked(self, units: np.ndarray) -> np.ndarray:
        """Return which parameters children will be asked for, as booleans `(K, D)`.

        Args:
            units: What the children's genes would be, on the unit scale `(K, D)`.
        """
        found = np.ones(units.shape, bool)
        for columns, tree in self._trees:
            found[:, columns] = _decided(tree, units)[:, None]
        return found

    def _grown(self, rows: np.ndarray, outcome: np.ndarray) -> _Split | bool:
        """Return the tree that tells these rows' outcomes."""
        asked = outcome[rows]
        if (asked == asked[0]).all():
            return bool(asked[0])
        column = self._decider(rows, asked)
        if column is None:
            return bool(asked.mean() > 0.5)
        values = self._units[rows, column]
        return _Split(
            column,
            {
                value: self._grown(rows[values == value], outcome)
                for value in np.unique(values).tolist()
            },
        )

    def _decider(self, rows: np.ndarray, asked: np.ndarray) -> int | None:
        """Return the column whose value says most about the outcome, or None."""
        best, least = None, np.inf
        for column in self._discrete:
            if self._units[rows, column].min() < 0.0:  # Not all of them have it.
                continue
            pairs = np.bincount(2 * self._codes[rows, column] + asked)
            counts = np.append(pairs, [0] * (len(pairs) % 2)).reshape(-1, 2)
            n_values = np.count_nonzero(counts.any(axis=1))
            tells_all_apart = self._ordered[column] and n_values > len(rows) / 2
            if n_values < 2 or tells_all_apart:
                continue
            # Among equals the one with the fewest values.
            entropy = _entropy(counts) + 1e-3 * n_values
            if entropy < least:
                best, least = column, entropy
        return best


def _distinct(trials: np.ndarray, distributions: Sequence[BaseDistribution]) -> np.ndarray:
    """Return trials, each once, with -1 where one was not asked.

    They are without what cannot decide: continuous genes only show that they are there.
    """
    continuous = [n_cells(distribution) is None for distribution in distributions]
    deciding = np.where(np.isnan(trials), -1.0, np.where(continuous, 0.0, trials))
    first = np.unique(deciding, axis=0, return_index=True)[1]
    return np.asarray(deciding[np.sort(first)])


def _decided(tree: _Split | bool, units: np.ndarray) -> np.ndarray:
    """Return what a tree says of children `(K, D)`, as booleans `(K,)`; False if it cannot say."""
    if isinstance(tree, bool):
        return np.full(len(units), tree)
    found = np.zeros(len(units), bool)
    for value, branch in tree.branches.items():
        inside = np.flatnonzero(np.abs(units[:, tree.column] - value) < _SAME)
        if len(inside):
            found[inside] = _decided(branch, units[inside])
    return found


def _entropy(counts: np.ndarray) -> float:
    """Return the entropy of the outcome given a value, from counts `(values, 2)`, times trials."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return float(-(counts * np.log(np.maximum(shares, 1e-300))).sum())

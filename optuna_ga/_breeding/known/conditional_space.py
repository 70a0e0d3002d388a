"""The conditional structure of the search space, learnt from finished trials.

An objective that branches suggests some parameters only if others have certain values. Decision
trees over the finished trials predict which parameters a child will have: one tree for each group
of parameters that always occur together, split by the discrete parameter with the most information
about whether they occur. The prediction serves to recognize duplicates; the objective decides.
Where trials that agree in all discrete parameters differ, the latest of them decide, since an
objective may be changed.

Shapes: N trials, K children, D parameters. Genes are positions on the unit scale, NaN where a
trial does not have the parameter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from optuna_ga._population.genes import discrete_columns, n_cells
from optuna_ga._population.unit_scale import DIGITS

_N_LATEST = 9  # Trials that tell what the objective does at present.


class _Split(NamedTuple):
    """A node of a tree: the column of the parameter that decides, and a subtree for each value."""

    column: int
    branches: Mapping[float, _Split | bool]


class ConditionalSpace:
    """Predicts which parameters a child will have.

    Args:
        trials: Genes of finished trials `(N, D)`.
        distributions: The parameters' distributions `(D,)`.

    Attributes:
        always: Whether every trial has every parameter.
        n_nodes: How many nodes the trees have, which is what learning them costs.
    """

    def __init__(self, trials: np.ndarray, distributions: Sequence[BaseDistribution]) -> None:
        self._trees: list[tuple[list[int], _Split | bool]] = []
        self.always, self.n_nodes = not np.isnan(trials).any(), 0
        if self.always:
            return
        grower = _Grower(trials, distributions)
        patterns, which = np.unique(grower.present, axis=1, return_inverse=True)
        for pattern, outcome in enumerate(patterns.T):
            columns = np.flatnonzero(which.ravel() == pattern).tolist()
            self._trees.append((columns, grower.tree(outcome)))
        self.n_nodes = grower.n_nodes

    def present(self, units: np.ndarray) -> np.ndarray:
        """Return which parameters children will have, as booleans `(K, D)`.

        Args:
            units: A gene of each child for every parameter `(K, D)`.
        """
        found = np.ones(units.shape, bool)
        if not self.always:
            children = np.round(units, DIGITS).tolist()
            for columns, tree in self._trees:
                decided = [_decided(tree, child) for child in children]
                found[:, columns] = np.array(decided, bool)[:, None]
        return found

    def expected(self, genes: np.ndarray) -> np.ndarray | None:
        """Return which parameters a trial will have, as booleans `(D,)`.

        Args:
            genes: Those of its genes that are known so far `(D,)`.

        Returns:
            None if that depends on a gene that is not known yet.
        """
        found = np.ones(genes.shape, bool)
        known = np.round(genes, DIGITS).tolist()
        for columns, tree in self._trees:
            decided = _decided(tree, known)
            if decided is None:
                return None
            found[columns] = decided
        return found

    def agrees(self, trial: np.ndarray) -> bool:
        """Return whether the trees predict exactly the parameters this trial `(D,)` had."""
        return bool((self._predicted(trial) == ~np.isnan(trial)).all())

    def lacks(self, trial: np.ndarray) -> bool:
        """Return whether a trial `(D,)` lacks a parameter that the trees predict."""
        return bool((self._predicted(trial) & np.isnan(trial)).any())

    def _predicted(self, trial: np.ndarray) -> np.ndarray:
        """Return which parameters a trial `(D,)` should have had, as booleans `(D,)`.

        Nothing is predicted that depends on a parameter that the trial lacks.
        """
        found = np.ones(trial.shape, bool)
        if not self.always:
            genes = np.round(trial, DIGITS).tolist()
            for columns, tree in self._trees:
                found[columns] = bool(_decided(tree, genes))
        return found


class _Grower:
    """Grows decision trees from finished trials.

    Attributes:
        present: Which parameters the trials have, as booleans `(N, D)`; trials that agree in all
            genes that can decide are merged.
        n_nodes: How many nodes the trees have that have been grown.
    """

    def __init__(self, trials: np.ndarray, distributions: Sequence[BaseDistribution]) -> None:
        units, self._row_of = _distinct(trials, distributions)
        self.present = units >= 0.0
        self._discrete = discrete_columns(distributions)
        self._ordered = np.array(
            [not isinstance(distributions[c], CategoricalDistribution) for c in self._discrete]
        )
        # Each value of each discrete parameter has its own code, and so has absence.
        self._values: list[float] = []
        self._starts: list[int] = []
        self._absent: list[int] = []  # The code of absence, -1 if every trial has the parameter.
        self._codes = np.zeros((len(units), len(self._discrete)), int)
        for position, column in enumerate(self._discrete):
            values, codes = np.unique(units[:, column], return_inverse=True)
            self._starts.append(len(self._values))
            self._codes[:, position] = codes + len(self._values)
            self._absent.append(len(self._values) if values[0] < 0.0 else -1)
            self._values += values.tolist()
        self._n_all = self._counts(self._codes)
        self.n_nodes = 0
        counts = np.arange(len(units) + 1)
        self._n_log_n = counts * np.log(np.maximum(counts, 1))

    def tree(self, outcome: np.ndarray) -> _Split | bool:
        """Return the tree that predicts the trials' outcomes, booleans `(N,)`."""
        if outcome.all() or not outcome.any():
            return bool(outcome[0])
        return self._grown(np.arange(len(outcome)), self._n_all, outcome)

    def _grown(self, rows: np.ndarray, n_all: np.ndarray, outcome: np.ndarray) -> _Split | bool:
        """Return the tree that separates these rows, whose outcomes differ.

        Args:
            rows: The rows.
            n_all: How many of them have each value.
            outcome: The outcomes of all trials, booleans `(N,)`.
        """
        self.n_nodes += 1
        positive = outcome[rows]
        n_positive = self._counts(self._codes[rows[positive]])
        decider = self._decider(len(rows), n_all, n_positive)
        if decider is None:
            return self._usual(rows, outcome)
        branches: dict[float, _Split | bool] = {}
        codes = self._codes[rows, decider]
        for code in sorted(set(codes.tolist())):
            if n_positive[code] in (0, n_all[code]):
                branches[self._values[code]] = bool(n_positive[code])
            else:
                inside = rows[codes == code]
                n_inside = self._counts(self._codes[inside])
                branches[self._values[code]] = self._grown(inside, n_inside, outcome)
        return _Split(self._discrete[decider], branches)

    def _usual(self, rows: np.ndarray, outcome: np.ndarray) -> bool:
        """Return the outcome that most of the latest trials of these rows have."""
        latest = outcome[self._row_of[np.isin(self._row_of, rows)]][-_N_LATEST:]
        odd = latest[1 - len(latest) % 2 :]  # So one outcome is more frequent.
        return bool(odd.mean() > 0.5)

    def _counts(self, codes: np.ndarray) -> np.ndarray:
        """Return how often each value occurs among rows of codes."""
        return np.bincount(codes.ravel(), minlength=len(self._values))

    def _decider(self, n_rows: int, n_all: np.ndarray, n_positive: np.ndarray) -> int | None:
        """Return the position of the parameter with most information on the outcome, or None.

        Args:
            n_rows: How many rows there are to separate.
            n_all: How many of them have each value.
            n_positive: How many of these have a positive outcome.
        """
        if not self._discrete:
            return None
        table = self._n_log_n
        entropies = table[n_all] - table[n_positive] - table[n_all - n_positive]
        n_values = np.add.reduceat(n_all > 0, self._starts, dtype=int)
        separates_all = self._ordered & (n_values > n_rows / 2)
        all_have_it = np.append(n_all, 0)[self._absent] == 0
        possible = all_have_it & (n_values > 1) & ~separates_all
        if not possible.any():
            return None
        # Among equals, the parameter with the fewest values.
        entropy = np.add.reduceat(entropies, self._starts) + 1e-3 * n_values
        return int(np.argmin(np.where(possible, entropy, np.inf)))


def _distinct(
    trials: np.ndarray, distributions: Sequence[BaseDistribution]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct trials `(n, D)`, and which of them each trial is `(N,)`.

    A gene is -1 where a trial does not have the parameter. Values of continuous parameters, which
    cannot decide, are replaced by 0.
    """
    continuous = [n_cells(distribution) is None for distribution in distributions]
    deciding = np.where(np.isnan(trials), -1.0, np.where(continuous, 0.0, trials))
    deciding = np.round(deciding, DIGITS)
    _, first, which = np.unique(deciding, axis=0, return_index=True, return_inverse=True)
    place = np.empty(len(first), int)
    place[np.argsort(first)] = np.arange(len(first))
    return deciding[np.sort(first)], place[which.ravel()]


def _decided(tree: _Split | bool, genes: Sequence[float]) -> bool | None:
    """Return a tree's prediction for genes `(D,)`.

    It is False for a value that the tree has never seen, and None if a gene that decides is NaN.
    """
    while not isinstance(tree, bool):
        gene = genes[tree.column]
        if math.isnan(gene):
            return None
        tree = tree.branches.get(gene, False)
    return tree

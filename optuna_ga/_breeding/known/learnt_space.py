"""The conditional space that the trials of a matrix reveal, learnt anew when it is outdated.

It depends on the trials and their order of arrival alone, not on when it is needed.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from optuna_ga._breeding.known.conditional_space import ConditionalSpace
from optuna_ga._breeding.known.hopeless_values import Value, have_value, hopeless_values
from optuna_ga._breeding.known.trial_matrix import TrialMatrix

_RECENT = 500  # The space is learnt from so many of the latest trials.
_MAX_NODES = 5_000  # Trees of so many nodes are learnt as needed, which takes a second.
_RELEARNT_AFTER = 1.25  # Later they are learnt anew after so many times the trials.


class LearntSpace:
    """The conditional space of a matrix that grows.

    Args:
        matrix: The finished trials.
    """

    def __init__(self, matrix: TrialMatrix) -> None:
        self._matrix = matrix
        self._space: ConditionalSpace | None = None  # None: to be learnt when it is needed.
        self._learnt_from = 0, 0  # The version and length of the matrix it is learnt from.
        self._short: deque[int] = deque()  # The rows of the latest short trials.
        self._hopeless: frozenset[Value] = frozenset()
        self._latest_complete = -1  # The row of the latest complete trial.
        self._is_checked = False  # Whether a trial has been compared with it.
        self._n_nodes = 0  # The nodes of all spaces with which trials have been compared.

    @property
    def current(self) -> ConditionalSpace:
        """The conditional space; it is learnt here if it has to be."""
        if self._space is None:
            _, n = self._learnt_from
            latest = slice(max(n - _RECENT, 0), n)
            units, complete = self._matrix.units[latest], self._matrix.complete[latest]
            informative = complete | have_value(units, self._hopeless)
            distributions = list(self._matrix.distributions.values())
            self._space = ConditionalSpace(
                units[informative] if complete.any() else units, distributions
            )
        return self._space

    def follow(self) -> None:
        """Note that the matrix has got one more trial."""
        row = len(self._matrix) - 1
        is_new = self._learnt_from[0] != self._matrix.columns.version
        if is_new:
            self._drop()
        is_outdated = not is_new and self._is_outdated()
        is_short = not self._matrix.complete[row] and self._used().lacks(self._matrix.units[row])
        if is_short:
            self._short.append(row)
        hopeless = self._hopeless_now() if is_short or self._hopeless else self._hopeless
        # Once learning has cost much, this alone is no reason to learn.
        becomes_hopeless = hopeless != self._hopeless and self._n_nodes <= _MAX_NODES
        if is_outdated or becomes_hopeless:
            self._hopeless = hopeless
            self._drop()
        if self._matrix.complete[row]:
            self._latest_complete = row

    def _drop(self) -> None:
        """Let the space be learnt anew, from the present trials."""
        self._space, self._is_checked = None, False
        self._learnt_from = self._matrix.columns.version, len(self._matrix)

    def _used(self) -> ConditionalSpace:
        """Return the space to compare a trial with it; its nodes are counted once."""
        if not self._is_checked:
            self._is_checked = True
            self._n_nodes += self.current.n_nodes
        return self.current

    def _hopeless_now(self) -> frozenset[Value]:
        """Return the hopeless values among the latest trials."""
        n = len(self._matrix)
        first = max(n - _RECENT, 0)
        while self._short and self._short[0] < first:
            self._short.popleft()
        short = np.zeros(n - first, bool)
        short[np.array(self._short, int) - first] = True
        units, complete = self._matrix.units[first:], self._matrix.complete[first:]
        return hopeless_values(units, complete, short, [*self._matrix.distributions.values()])

    def _is_outdated(self) -> bool:
        """Return whether the space did not predict the latest trial.

        A failed or pruned trial may lack some of its branch's parameters: it is ignored if there
        are complete trials among the latest before it. Once learning has cost much, the answer is
        whether there are a quarter more trials.
        """
        n = len(self._matrix)
        if self._n_nodes > _MAX_NODES:
            return n >= _RELEARNT_AFTER * self._learnt_from[1]
        some_complete = self._latest_complete >= max(n - 1 - _RECENT, 0)
        if some_complete and not self._matrix.complete[n - 1]:
            return False
        return not self._used().agrees(self._matrix.units[n - 1])

"""The conditional space that the trials of a matrix reveal, learnt anew when it is outdated.

It depends on the trials and their order of arrival alone, not on when it is needed.
"""

from __future__ import annotations

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
        hopeless = self._hopeless_now()
        if self._learnt_from[0] != self._matrix.version or self._is_outdated(hopeless):
            self._space, self._hopeless = None, hopeless
            self._learnt_from = self._matrix.version, len(self._matrix)
            self._is_checked = False
        row = len(self._matrix) - 1
        if self._matrix.complete[row]:
            self._latest_complete = row

    def _hopeless_now(self) -> frozenset[Value]:
        """Return the hopeless values among the latest trials."""
        n = len(self._matrix)
        is_same = self._learnt_from[0] == self._matrix.version
        if is_same and not self._hopeless and self._matrix.complete[n - 1]:
            return self._hopeless  # There are no more of them than before.
        latest = slice(max(n - _RECENT, 0), n)
        units, complete = self._matrix.units[latest], self._matrix.complete[latest]
        return hopeless_values(units, complete, [*self._matrix.distributions.values()])

    def _is_outdated(self, hopeless: frozenset[Value]) -> bool:
        """Return whether the space did not predict the latest trial, or values are hopeless now.

        A failed or pruned trial may lack some of its branch's parameters: it is ignored if there
        are complete trials among the latest before it. Once learning has cost much, the answer is
        whether there are a quarter more trials.
        """
        n = len(self._matrix)
        if self._n_nodes > _MAX_NODES:
            return n >= _RELEARNT_AFTER * self._learnt_from[1]
        if hopeless != self._hopeless:
            return True
        some_complete = self._latest_complete >= max(n - 1 - _RECENT, 0)
        if some_complete and not self._matrix.complete[n - 1]:
            return False
        if not self._is_checked:
            self._is_checked = True
            self._n_nodes += self.current.n_nodes
        return not self.current.agrees(self._matrix.units[n - 1])

"""The set of gene combinations that have been tried, looked up by value.

A trial that has only some of the parameters, because its branch lacks the others or because it
failed early, is matched by the parameters that it has.

Shapes: N trials, K children, D parameters. Genes are positions on the unit scale, NaN where a
trial does not have the parameter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator

import numpy as np

from optuna_ga._population.unit_scale import DIGITS

# Which parameters a trial has, as booleans (D,), and their values.
Key = tuple[bytes, bytes]


class Tried:
    """Genes of trials, grouped by which parameters the trials have."""

    def __init__(self) -> None:
        # From the parameters to the values of the trials that have these, with their numbers.
        self._values: dict[bytes, Counter[bytes]] = {}

    def add(self, trials: np.ndarray) -> None:
        """Add trials `(N, D)`."""
        for present, values in _keys(trials):
            self._values.setdefault(present, Counter())[values] += 1

    def once(self, trials: np.ndarray) -> frozenset[Key]:
        """Return the keys of those trials `(N, D)` that have been added exactly once."""
        return frozenset(
            (present, values)
            for present, values in _keys(trials)
            if present in self._values and self._values[present][values] == 1
        )

    def repeats(
        self,
        children: np.ndarray,
        unless_within: Tried | None = None,
        expected: Callable[[np.ndarray], np.ndarray] | None = None,
        ignored: Collection[Key] = (),
    ) -> np.ndarray:
        """Return which children `(K, D)` have all genes of a trial, as booleans `(K,)`.

        Args:
            children: The children's genes.
            unless_within: Other trials. A trial whose parameters are a proper subset of those of
                one of these is ignored for children that are expected to have more.
            expected: Returns which parameters children are expected to have, as booleans `(K, D)`.
            ignored: Trials that may be repeated.
        """
        found = np.zeros(len(children), bool)
        if not self._values:
            return found
        rounded = np.round(children, DIGITS) + 0.0
        for present, known in self._values.items():
            had = np.frombuffer(present, bool)
            keys = [row.tobytes() for row in rounded[:, had]]
            equal = np.array(
                [key in known and (present, key) not in ignored for key in keys], bool
            )
            if unless_within and expected and equal.any() and unless_within.has_wider(present):
                equal[equal] = ~(expected(children[equal]) & ~had).any(axis=1)
            found |= equal
        return found

    def has_wider(self, present: bytes) -> bool:
        """Return whether a trial has these parameters, given as booleans, and more."""
        part = np.frombuffer(present, bool)
        return any(
            other != present and bool((part <= np.frombuffer(other, bool)).all())
            for other in self._values
        )


def _keys(trials: np.ndarray) -> Iterator[Key]:
    """Yield the keys of trials `(N, D)` that have parameters.

    Without any a trial would match every child.
    """
    for row in np.round(trials, DIGITS) + 0.0:
        present = ~np.isnan(row)
        if present.any():
            yield present.tobytes(), row[present].tobytes()

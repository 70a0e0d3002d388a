"""The set of gene combinations that have been tried, looked up by value.

A trial that has only some of the parameters, because its branch lacks the others or because it
failed early, is matched by the parameters that it has.

Shapes: N trials, K children, D parameters. Genes are positions on the unit scale, NaN where a
trial does not have the parameter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from optuna_ga._population.unit_scale import DIGITS


class Tried:
    """Genes of trials, grouped by which parameters the trials have."""

    def __init__(self) -> None:
        # From the parameters, as booleans (D,), to the values of the trials that have these.
        self._values: dict[bytes, set[bytes]] = {}

    def add(self, trials: np.ndarray) -> None:
        """Add trials `(N, D)`."""
        if not len(trials):
            return
        for row in np.round(trials, DIGITS) + 0.0:
            present = ~np.isnan(row)
            if not present.any():  # A trial with no parameters would match every child; skip it.
                continue
            self._values.setdefault(present.tobytes(), set()).add(row[present].tobytes())

    def repeats(
        self,
        children: np.ndarray,
        unless_within: Tried | None = None,
        expected: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Return which children `(K, D)` have all genes of a trial, as booleans `(K,)`.

        Args:
            children: The children's genes.
            unless_within: Other trials. A trial whose parameters are a proper subset of those of
                one of these is ignored for children that are expected to have more.
            expected: Returns which parameters children are expected to have, as booleans `(K, D)`.
        """
        found = np.zeros(len(children), bool)
        if not self._values:
            return found
        rounded = np.round(children, DIGITS) + 0.0
        for present, known in self._values.items():
            had = np.frombuffer(present, bool)
            equal = np.array([row.tobytes() in known for row in rounded[:, had]], bool)
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

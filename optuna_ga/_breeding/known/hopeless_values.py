"""Hopeless values: values of discrete parameters with which no trial has completed.

A choice that can never run makes the objective fail before it suggests what comes after it. As
long as only complete trials count, the search space seems to have all parameters there, and each
such trial seems to be a new point. So failed and pruned trials with a hopeless value show which
parameters belong to it.

A value is hopeless after five trials and as long as it has a twentieth of them. So failures by
chance do not exclude a good choice, and a choice whose fault has been mended is tried again.

Shapes: N trials, D parameters. Genes are positions on the unit scale, NaN where a trial does not
have the parameter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from optuna.distributions import BaseDistribution

from optuna_ga._population.genes import discrete_columns
from optuna_ga._population.unit_scale import DIGITS

_MIN_TRIALS, _MIN_SHARE = 5, 0.05

# The column of a parameter and a value of it.
Value = tuple[int, float]


def hopeless_values(
    units: np.ndarray, complete: np.ndarray, distributions: Sequence[BaseDistribution]
) -> frozenset[Value]:
    """Return the hopeless values.

    Args:
        units: Genes of the trials `(N, D)`.
        complete: Which trials are complete, as booleans `(N,)`.
        distributions: The parameters' distributions `(D,)`.
    """
    least = max(_MIN_TRIALS, _MIN_SHARE * len(units))
    if np.count_nonzero(~complete) < least:
        return frozenset()
    rounded, found = np.round(units, DIGITS), set()
    for column in discrete_columns(distributions):
        values, counts = np.unique(rounded[~complete, column], return_counts=True)
        often = values[(counts >= least) & ~np.isnan(values)]
        for value in np.setdiff1d(often, rounded[complete, column]).tolist():
            found.add((column, value))
    return frozenset(found)


def have_value(units: np.ndarray, values: frozenset[Value]) -> np.ndarray:
    """Return which trials `(N, D)` have one of some values, as booleans `(N,)`."""
    found = np.zeros(len(units), bool)
    for column, value in values:
        found |= np.round(units[:, column], DIGITS) == value
    return found

"""Hopeless values: values of discrete parameters with which every trial ends at once.

A choice that can never run makes the objective fail before it suggests what comes after it. As
long as only complete trials count, the search space seems to have all parameters there, and each
such trial seems to be a new point. So failed and pruned trials with a hopeless value show which
parameters belong to it.

A trial is short if it ended without all parameters that it was expected to have. A value is
hopeless if no trial with it is complete, and if at least five and a twentieth of all trials are
short with it, which are more than chance explains: as many would be short with a probability of
less than a hundredth if the value were no worse than the others. So failures by chance do not
exclude a good choice, and a choice whose fault has been mended is tried again.

Shapes: N trials, D parameters. Genes are positions on the unit scale, NaN where a trial does not
have the parameter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from optuna.distributions import BaseDistribution

from optuna_ga._population.genes import discrete_columns
from optuna_ga._population.unit_scale import DIGITS

_MIN_TRIALS, _MIN_SHARE, _CHANCE = 5, 0.05, 0.01

# The column of a parameter and a value of it.
Value = tuple[int, float]


def hopeless_values(
    units: np.ndarray,
    complete: np.ndarray,
    short: np.ndarray,
    distributions: Sequence[BaseDistribution],
) -> frozenset[Value]:
    """Return the hopeless values.

    Args:
        units: Genes of the trials `(N, D)`.
        complete: Which trials are complete, as booleans `(N,)`.
        short: Which trials are short, as booleans `(N,)`.
        distributions: The parameters' distributions `(D,)`.
    """
    least = max(_MIN_TRIALS, _MIN_SHARE * len(units))
    if np.count_nonzero(short) < least:
        return frozenset()
    rounded, found = np.round(units, DIGITS), set()
    for column in discrete_columns(distributions):
        values, counts = np.unique(rounded[short, column], return_counts=True)
        for value, n_short in zip(values.tolist(), counts.tolist(), strict=True):
            if n_short < least or math.isnan(value):
                continue
            have_it = rounded[:, column] == value
            is_chance = _share(short[~have_it]) ** n_short >= _CHANCE
            if not is_chance and not complete[have_it].any():
                found.add((column, value))
    return frozenset(found)


def _share(found: np.ndarray) -> float:
    """Return the expected share of true ones, given some booleans `(n,)`: one half of none."""
    return float((np.count_nonzero(found) + 1) / (len(found) + 2))  # By the rule of succession.


def have_value(units: np.ndarray, values: frozenset[Value]) -> np.ndarray:
    """Return which trials `(N, D)` have one of some values, as booleans `(N,)`."""
    found = np.zeros(len(units), bool)
    for column, value in values:
        found |= np.round(units[:, column], DIGITS) == value
    return found

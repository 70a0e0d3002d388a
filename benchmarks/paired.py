"""Compare two sets of figures that belong together pair by pair, one pair per seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Difference(NamedTuple):
    """The mean of paired differences.

    Attributes:
        mean: Mean of first minus second.
        low: Lower end of its 95 % interval (Student's).
        high: Upper end.
        p: Two-sided p-value of the paired t-test that the mean is zero.
        n: Number of pairs.
    """

    mean: float
    low: float
    high: float
    p: float
    n: int


def difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Return how the first figures differ from the second ones.

    Args:
        first: Finite figures `(n,)`, at least two.
        second: As many.

    Raises:
        ValueError: If there are fewer than two pairs.
    """
    differences = np.subtract(first, second, dtype=float)
    n = len(differences)
    if n < 2:
        raise ValueError(f"There must be at least 2 pairs, but there are {n}.")
    mean = float(differences.mean())
    if np.ptp(differences) == 0.0:  # No deviation to compare with.
        return Difference(mean, mean, mean, 1.0 if mean == 0.0 else 0.0, n)
    test = stats.ttest_1samp(differences, 0.0)
    low, high = test.confidence_interval(0.95)
    return Difference(mean, float(low), float(high), float(test.pvalue), n)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean with the ends of its 95 % interval (Student's), NaN for a single value."""
    if len(values) < 2:
        return float(values[0]), np.nan, np.nan
    mean, low, high, _, _ = difference(values, [0.0] * len(values))
    return mean, low, high


def verdict(found: Difference, p: float) -> str:
    """Return whether the first figures are lower, at the 5 % level.

    Args:
        found: The difference.
        p: Its p-value, corrected if there are others beside it.
    """
    if p >= 0.05:
        return "not shown"
    return "shown" if found.mean < 0 else "the opposite"


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number by Holm's method."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return [float(p) for p in corrected[np.argsort(order, kind="stable")]]

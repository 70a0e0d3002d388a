"""Statistics of paired figures, one pair per seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.markdown import table


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
    """Return the mean difference of paired figures.

    Args:
        first: Finite figures `(n,)`, at least two.
        second: As many figures.

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
    """Return the mean with the ends of its 95 % interval (Student's).

    The ends are NaN for a single value, and so is the mean for none.
    """
    if len(values) < 2:
        return values[0] if values else np.nan, np.nan, np.nan
    mean, low, high, _, _ = difference(values, [0.0] * len(values))
    return mean, low, high


def share_interval(share: float, n: int) -> tuple[float, float, float]:
    """Return a share with the ends of its 95 % interval (Wilson's), which stay in [0, 1].

    Args:
        share: Share of successes, or mean of figures in [0, 1], whose interval is no wider.
        n: Number of trials, at least 1.
    """
    z = float(stats.norm.ppf(0.975))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return share, max(0.0, centre - half), min(1.0, centre + half)


def with_interval(
    values: Sequence[float], digits: int, possible: tuple[float, float] = (-np.inf, np.inf)
) -> str:
    """Return the mean with its 95 % interval as text; a single value alone, a dash for none.

    Args:
        values: The values.
        digits: Digits after the decimal point.
        possible: The lowest and the highest value that are possible, where the interval ends.
    """
    if not values:
        return "-"
    mean, low, high = mean_interval(values)
    if np.isnan(low):
        return f"{mean:.{digits}f}"
    low, high = max(low, possible[0]), min(high, possible[1])
    return f"{mean:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def verdict(found: Difference, p: float) -> str:
    """Return whether the first figures are lower, at the 5 % level.

    Args:
        found: The difference.
        p: Its p-value, corrected if it is one of several.
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


class Claim(NamedTuple):
    """A claim, one comparison for it, and the difference; a negative one supports it."""

    claim: str
    compared: str
    found: Difference


def claims_table(
    claims: Sequence[Claim], scale: float = 1.0, *, within_claims: bool = True
) -> str:
    """Return a table of verdicts as Markdown, with corrected p-values.

    Args:
        claims: The comparisons.
        scale: Factor of the shown differences.
        within_claims: Whether the comparisons of one claim are a family. Else all are one.
    """
    families: dict[str, list[int]] = {}
    for position, claim in enumerate(claims):
        families.setdefault(claim.claim if within_claims else "", []).append(position)
    corrected = np.empty(len(claims))
    for family in families.values():
        corrected[family] = holm([claims[position].found.p for position in family])
    lines = [
        (claim.claim, claim.compared, claim.found.n, signed(claim.found, scale), f"{p:.2g}",
         verdict(claim.found, p))
        for claim, p in zip(claims, corrected, strict=True)
    ]  # fmt: skip
    header = ("claim", "compared", "n", "difference (95 % interval)", "p, corrected", "verdict")
    return table(header, lines)


def signed(found: Difference, scale: float = 1.0) -> str:
    """Return a difference with its interval, to three significant digits or so."""
    ends = [scale * end for end in (found.mean, found.low, found.high)]
    digits = 1 if scale > 1 or max(map(abs, ends)) >= 10 else 3
    mean, low, high = (f"{end:+.{digits}f}" for end in ends)
    return f"{mean} ({low} to {high})"

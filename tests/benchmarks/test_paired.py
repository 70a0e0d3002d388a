"""Paired comparisons against closed forms and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.paired import (
    Claim,
    Difference,
    claims_table,
    difference,
    holm,
    mean_interval,
    share_interval,
    verdict,
    with_interval,
)


def test_a_difference_is_the_paired_t_test() -> None:
    """Mean, interval and p-value are those of SciPy's test for related samples."""
    first, second = np.random.default_rng(0).normal(size=(2, 12))
    found = difference(first.tolist(), second.tolist())
    test = stats.ttest_rel(first, second)

    assert found.mean == pytest.approx(np.mean(first) - np.mean(second))
    assert found.p == pytest.approx(test.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval()))
    assert found.n == 12


def test_equal_differences_leave_no_doubt() -> None:
    """Without any spread the interval is the mean itself."""
    assert difference([2.0, 3.0], [1.0, 2.0]) == Difference(1.0, 1.0, 1.0, 0.0, 2)
    assert difference([2.0, 3.0], [2.0, 3.0]).p == 1.0


def test_one_pair_is_too_few() -> None:
    """The message says how many there must be."""
    with pytest.raises(ValueError, match="at least 2 pairs, but there are 1"):
        difference([1.0], [2.0])


def test_the_interval_of_two_values_is_the_closed_form() -> None:
    """The mean of 0 and 2 plus and minus 12.706 times its standard error, 1."""
    assert mean_interval([0.0, 2.0]) == pytest.approx((1.0, -11.706, 13.706), abs=1e-3)


def test_holm_corrects_step_by_step() -> None:
    """The smallest p-value counts 3 times, the next twice, and none falls below the one before."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_verdict_needs_significance_and_a_direction() -> None:
    """Lower is better; what is not significant is not shown."""
    lower, higher = Difference(-1.0, -2.0, 0.1, 0.06, 9), Difference(1.0, 0.5, 1.5, 0.001, 9)

    assert verdict(lower, 0.06) == "not shown"
    assert verdict(lower, 0.04) == "shown"
    assert verdict(higher, 0.001) == "the opposite"


def test_p_values_are_corrected_within_a_claim() -> None:
    """Two comparisons double the smaller p; a claim with a single one keeps its own."""
    claims = [
        Claim(claim, "", Difference(-1.0, -2.0, -0.1, p, 9))
        for claim, p in (("first", 0.01), ("second", 0.03), ("first", 0.04))
    ]
    lines = claims_table(claims).splitlines()[-3:]

    assert [line.split("|")[-3].strip() for line in lines] == ["0.02", "0.03", "0.04"]


def test_an_interval_ends_where_values_end() -> None:
    """Two accuracies say little, but none is below 0 or above 1."""
    assert with_interval([0.2, 0.45], 2) == "0.33 (-1.26-1.91)"
    assert with_interval([0.2, 0.45], 2, (0.0, 1.0)) == "0.33 (0.00-1.00)"


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_interval_of_a_share_is_wilsons(share: float) -> None:
    """It is SciPy's, and stays in [0, 1] where a share is 0 or 1."""
    expected = stats.binomtest(round(10 * share), 10).proportion_ci(method="wilson")

    assert share_interval(share, 10) == pytest.approx((share, expected.low, expected.high))

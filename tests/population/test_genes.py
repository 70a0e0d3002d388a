"""One gene: a position on its distribution's scale, and what fits into a distribution."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_ga._population.genes import is_nearly_continuous, n_cells, nearest_value
from optuna_ga._population.unit_scale import from_unit, snapped_to_grid
from tests.strategies import (
    contains,
    distributions,
    grids,
    log_floats,
    log_ints,
    plain_floats,
    plain_ints,
    stepped_floats,
    units,
)

LAST = 1 - 2**-53  # The largest position that is drawn.


def values_of(grid: FloatDistribution | IntDistribution) -> list[float]:
    """Return all values of a stepped distribution."""
    assert grid.step is not None
    n_steps = round((grid.high - grid.low) / grid.step)
    return [min(grid.low + k * grid.step, grid.high) for k in range(n_steps + 1)]


@given(distributions(), units())
def test_every_position_is_a_value_of_the_distribution(
    distribution: BaseDistribution, u: float
) -> None:
    """A fresh gene is inside its range and on its grid."""
    assert contains(distribution, from_unit(distribution, u))


@given(st.one_of(plain_floats(), log_floats(), stepped_floats(), plain_ints(), log_ints()))
def test_the_scale_runs_from_one_end_of_the_range_to_the_other(
    distribution: FloatDistribution | IntDistribution,
) -> None:
    """Position 0 is the low end, and the last position the high end, but for rounding."""
    low, high = from_unit(distribution, 0.0), from_unit(distribution, LAST)

    assert low == pytest.approx(distribution.low)
    widest = max(abs(distribution.low), abs(distribution.high))
    assert high == pytest.approx(distribution.high, rel=1e-9, abs=1e-9 * widest)


@given(st.one_of(plain_floats(), log_floats(), stepped_floats(), plain_ints(), log_ints()))
@pytest.mark.parametrize("u", [0.0, 0.2, 0.5, 0.9])
def test_the_scale_increases(u: float, distribution: FloatDistribution | IntDistribution) -> None:
    """A larger position has no smaller value."""
    value, later = from_unit(distribution, u), from_unit(distribution, u + 0.1 - 2**-53)

    assert isinstance(value, (float, int)) and isinstance(later, (float, int))
    assert value <= later


@pytest.mark.parametrize("u", [0.0, 0.125, 0.5, 0.7, LAST])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.0, 5.0), (2.0, 2.0), (-1e300, 1e300)])
def test_a_plain_float_is_linear(low: float, high: float, u: float) -> None:
    """Position u is the share u of the way from low to high."""
    assert from_unit(FloatDistribution(low, high), u) == pytest.approx(low * (1 - u) + high * u)


@pytest.mark.parametrize("u", [0.0, 0.125, 0.5, 0.7, LAST])
@pytest.mark.parametrize(("low", "high"), [(1e-5, 1e2), (3.0, 3.0), (1e-300, 1e300)])
def test_a_logarithmic_float_is_geometric(low: float, high: float, u: float) -> None:
    """Position u is the share u of the way from low to high in the logarithm."""
    value = from_unit(FloatDistribution(low, high, log=True), u)

    assert value == pytest.approx(low ** (1 - u) * high**u)


def test_the_widest_range_has_a_middle() -> None:
    """The difference of a range's ends may overflow."""
    distribution = FloatDistribution(-1.7e308, 1.7e308)

    assert from_unit(distribution, 0.5) == pytest.approx(0.0)
    assert from_unit(distribution, 0.75) == pytest.approx(0.85e308)


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (IntDistribution(-2, 2), [-2, -1, 0, 1, 2]),
        (IntDistribution(1, 10, step=3), [1, 4, 7, 10]),
        (IntDistribution(5, 5), [5]),
        (FloatDistribution(0.0, 1.0, step=0.25), [0.0, 0.25, 0.5, 0.75, 1.0]),
        (CategoricalDistribution(("a", None, True, 2.5)), ["a", None, True, 2.5]),
    ],
)
def test_the_values_of_a_discrete_scale_have_equal_shares(
    distribution: BaseDistribution, values: list[object]
) -> None:
    """Equally spaced positions hit every value equally often, in order."""
    n = 7 * len(values)
    genes = [from_unit(distribution, (position + 0.5) / n) for position in range(n)]

    assert genes == [value for value in values for _ in range(7)]


def test_a_logarithmic_integer_has_the_share_of_its_rounding_interval() -> None:
    """The integer k has the logarithmic share of k - 1/2 to k + 1/2, at the ends too."""
    distribution = IntDistribution(1, 4, log=True)
    counts = Counter(from_unit(distribution, (position + 0.5) / 9000) for position in range(9000))

    for k in range(1, 5):
        share = math.log((k + 0.5) / (k - 0.5)) / math.log(4.5 / 0.5)
        assert counts[k] == pytest.approx(9000 * share, abs=1)


@given(distributions(), units())
def test_a_contained_value_fits_as_it_is(distribution: BaseDistribution, u: float) -> None:
    """An inherited gene keeps its bits and its type."""
    value = from_unit(distribution, u)
    fitted = nearest_value(distribution, value)

    assert fitted is value or (type(fitted) is type(value) and fitted == value)


@pytest.mark.parametrize("u", [0.75, LAST])
def test_the_last_value_of_a_grid_is_its_high_end(u: float) -> None:
    """Three times 0.1 is more than 0.3, yet it is the value 0.3 of the range."""
    assert from_unit(FloatDistribution(0.0, 0.3, step=0.1), u) == 0.3


def test_a_value_that_a_grid_contains_but_for_rounding_fits_as_it_is() -> None:
    """Optuna takes 0.3 for the third multiple of 0.1, and so does inheritance."""
    assert nearest_value(FloatDistribution(0.0, 1.0, step=0.1), 0.3) == 0.3 != 3 * 0.1


def test_an_equal_choice_becomes_the_one_that_was_given() -> None:
    """A choice has the type that the distribution gives it."""
    distribution = CategoricalDistribution((1.0, 2.0))

    assert nearest_value(distribution, 2) is distribution.choices[1]


@given(grids(), st.data())
def test_another_value_becomes_the_nearest_of_a_grid(
    grid: FloatDistribution | IntDistribution, data: st.DataObject
) -> None:
    """A value between two grid points becomes the nearer one."""
    margin = grid.high - grid.low + 1
    value = data.draw(
        st.integers(int(grid.low - margin), int(grid.high + margin))
        if isinstance(grid, IntDistribution)
        else st.floats(grid.low - margin, grid.high + margin)
    )
    fitted = nearest_value(grid, value)

    assert isinstance(fitted, (float, int)) and contains(grid, fitted)
    distance = min(abs(other - value) for other in values_of(grid))
    assert abs(fitted - value) == pytest.approx(distance, rel=1e-6, abs=1e-6 * (grid.step or 1))


@given(plain_floats() | log_floats(), st.floats(allow_nan=False))
def test_another_value_becomes_the_nearest_end_of_a_range(
    distribution: FloatDistribution, value: float
) -> None:
    """A value outside becomes the end that it lies beyond."""
    assume(not distribution.low <= value <= distribution.high)
    nearest = distribution.low if value < distribution.low else distribution.high

    assert nearest_value(distribution, value) == nearest


def test_not_a_number_is_a_choice_that_fits() -> None:
    """NaN, which does not equal itself, is inherited like any choice."""
    distribution = CategoricalDistribution((1.0, math.nan, "nan"))

    assert nearest_value(distribution, math.nan) is distribution.choices[1]


@pytest.mark.parametrize("high", [2**53, 2**53 + 1, 2**63 - 1])
@pytest.mark.parametrize("low", [0, 3])
def test_ends_of_huge_integer_ranges_are_exact(low: int, high: int) -> None:
    """Positions of such ranges round to the ends, and the ends are never passed."""
    distribution = IntDistribution(low, high)
    last = float(snapped_to_grid(distribution, np.array([LAST]))[0])

    assert from_unit(distribution, 0.0) == low
    assert from_unit(distribution, last) in range(low, high + 1)
    assert from_unit(distribution, 1.0) == high
    assert nearest_value(distribution, high + 5) == high
    assert n_cells(distribution) == high - low + 1


@pytest.mark.parametrize(("low", "high"), [(1e-6, 1e-1), (1e-5, 3e-3), (0.1, 0.7)])
@pytest.mark.parametrize("log", [True, False])
def test_the_ends_of_the_scale_are_the_bounds(low: float, high: float, log: bool) -> None:
    """Not a neighbour that the exponential of a logarithm gives."""
    distribution = FloatDistribution(low, high, log=log)

    assert (from_unit(distribution, 0.0), from_unit(distribution, 1.0)) == (low, high)


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (FloatDistribution(0.0, 1.0), True),
        (IntDistribution(0, 1000), True),
        (IntDistribution(1, 1000), False),
        (CategoricalDistribution(range(2000)), False),
    ],
)
def test_choices_are_no_numbers_however_many_they_are(
    distribution: BaseDistribution, expected: bool
) -> None:
    """A number is nearly continuous if it has more than 1,000 values."""
    assert is_nearly_continuous(distribution) == expected

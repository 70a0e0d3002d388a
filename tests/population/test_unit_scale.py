"""Positions on the unit scale lead back to their values, and grids list them all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_ga._population.genes import n_cells, nearest_value
from optuna_ga._population.unit_scale import from_unit, grid, snapped_to_grid, to_unit
from tests.strategies import (
    categoricals,
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


DISCRETE = (
    stepped_floats()
    | plain_ints(max_steps=10**6)
    | log_ints().filter(lambda ints: ints.high < 2**40)  # Others are finer than the logarithm.
    | categoricals()
)


@given(DISCRETE, units())
def test_a_discrete_value_is_found_again(distribution: BaseDistribution, u: float) -> None:
    """A value's position leads back to the value, of whatever type."""
    value = from_unit(distribution, u)
    again = from_unit(distribution, min(to_unit(distribution, value), LAST))

    assert again is value or again == value


@given(plain_floats(), units())
def test_a_float_is_found_again(distribution: FloatDistribution, u: float) -> None:
    """A value's position leads back to the value, but for rounding."""
    value = from_unit(distribution, u)
    again = from_unit(distribution, min(to_unit(distribution, value), LAST))

    assert again == pytest.approx(value, abs=1e-12 * max(-distribution.low, distribution.high))


@given(log_floats(), units())
def test_a_logarithmic_float_is_found_again(distribution: FloatDistribution, u: float) -> None:
    """A value's position leads back to it, but for rounding of the logarithm."""
    value = from_unit(distribution, u)
    again = from_unit(distribution, min(to_unit(distribution, value), LAST))

    assert isinstance(value, float) and isinstance(again, float)
    assert math.log(again) == pytest.approx(math.log(value), abs=1e-9)


@given(distributions(), units())
def test_every_value_has_a_position(distribution: BaseDistribution, u: float) -> None:
    """A position lies in [0, 1]."""
    assert 0.0 <= to_unit(distribution, from_unit(distribution, u)) <= 1.0


@given(grids() | categoricals(), st.integers(0, 10**6), st.floats(0.01, 0.99))
def test_positions_are_snapped_to_the_middle_of_their_share(
    distribution: BaseDistribution, k: int, inside: float
) -> None:
    """The middle is the position of the value that the share stands for."""
    cells = n_cells(distribution)
    assert cells is not None
    u = (k % cells + inside) / cells
    found = snapped_to_grid(distribution, np.array([u]))

    assert found == pytest.approx([(k % cells + 0.5) / cells])
    assert found == pytest.approx([to_unit(distribution, from_unit(distribution, u))])


@given(log_ints(), units())
def test_positions_of_logarithmic_integers_are_snapped_to_integers(
    distribution: IntDistribution, u: float
) -> None:
    """Integers stand at their logarithms; the ends stand inside of their shares."""
    found = snapped_to_grid(distribution, np.array([u]))

    assert found == pytest.approx([to_unit(distribution, from_unit(distribution, u))])


@given(plain_floats() | log_floats(), units())
def test_positions_of_a_continuous_range_stay_as_they_are(
    distribution: FloatDistribution, u: float
) -> None:
    """Every position is the position of a value; a single value is in the middle."""
    snapped, positions = snapped_to_grid(distribution, np.array([u])), grid(distribution)
    if distribution.single():
        assert snapped == [0.5]
        assert positions is not None
        assert positions.tolist() == [0.5]
        assert to_unit(distribution, from_unit(distribution, 0.5)) == 0.5
    else:
        assert snapped == [u]
        assert positions is None


@given(grids() | log_ints().filter(lambda ints: ints.high - ints.low < 99))
def test_a_grid_lists_the_positions_of_all_values(
    distribution: FloatDistribution | IntDistribution,
) -> None:
    """Positions are in the order of the values, each once."""
    step = distribution.step or 1
    n = round((distribution.high - distribution.low) / step) + 1
    values = [nearest_value(distribution, distribution.low + k * step) for k in range(n)]

    assert n_cells(distribution) == n
    assert grid(distribution) == pytest.approx([to_unit(distribution, v) for v in values])


@pytest.mark.parametrize("choices", [("a",), ("a", None, 3.5), tuple(range(10))])
def test_a_grid_lists_the_positions_of_all_choices(choices: tuple[Any, ...]) -> None:
    """Positions are in the order of the choices, each once."""
    distribution = CategoricalDistribution(choices)

    assert grid(distribution) == pytest.approx([to_unit(distribution, c) for c in choices])

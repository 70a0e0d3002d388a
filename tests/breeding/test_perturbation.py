"""A perturbed gene lies near the inherited one."""

from __future__ import annotations

import pytest
from hypothesis import given
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_ga._breeding.perturbation import perturbed
from optuna_ga._population.unit_scale import from_unit
from tests.strategies import contains, distributions, units


@given(distributions(), units(), units())
def test_a_perturbed_value_is_a_value_of_the_distribution(
    distribution: BaseDistribution, u: float, direction: float
) -> None:
    """It is inside its range and on its grid, whatever it was."""
    assert contains(distribution, perturbed(distribution, from_unit(distribution, u), direction))


@pytest.mark.parametrize(
    ("distribution", "value", "less", "more"),
    [
        (FloatDistribution(1e-4, 1.0, log=True), 0.01, 0.008, 0.012),
        (FloatDistribution(0.0, 0.9), 0.5, 0.4, 0.6),
        (FloatDistribution(0.0, 0.9), 0.0, 0.0, 0.09),
        (FloatDistribution(0.0, 0.9), 0.9, 0.72, 0.9),
        (FloatDistribution(-1.0, 1.0), 0.0, -0.2, 0.2),
        (FloatDistribution(0.0, 1.0, step=0.25), 0.25, 0.0, 0.5),
        (IntDistribution(1, 100), 50, 40, 60),
        (IntDistribution(1, 64, log=True), 2, 1, 3),
        (IntDistribution(0, 100, step=10), 10, 0, 20),
        (FloatDistribution(-1.7e308, 1.7e308), 1.7e308, 1.36e308, 1.7e308),
    ],
    ids=repr,
)
def test_a_perturbed_number_is_a_fifth_less_or_more(
    distribution: FloatDistribution | IntDistribution, value: float, less: float, more: float
) -> None:
    """On a grid at least one step; at 0 and in ranges with negative values a tenth of these."""
    assert perturbed(distribution, value, 0.25) == pytest.approx(less)
    assert perturbed(distribution, value, 0.75) == pytest.approx(more)


def test_a_perturbed_choice_is_drawn_among_all() -> None:
    """Choices have no order."""
    kinds = CategoricalDistribution(("a", "b", "c", "d"))
    found = {perturbed(kinds, "a", u) for u in (0.1, 0.3, 0.6, 0.9)}

    assert found == {"a", "b", "c", "d"}


@pytest.mark.parametrize(
    ("distribution", "value", "less", "more"),
    [
        (IntDistribution(-50, 50), 0, -10, 10),
        (IntDistribution(-50, 50), 30, 20, 40),
        (IntDistribution(-100, -20), -60, -68, -52),
        (IntDistribution(0, 200), 0, 0, 20),
    ],
)
def test_an_integer_beside_negative_ones_is_a_tenth_of_the_range_less_or_more(
    distribution: IntDistribution, value: int, less: int, more: int
) -> None:
    """So is 0, wherever the range begins."""
    assert [perturbed(distribution, value, u) for u in (0.25, 0.75)] == [less, more]

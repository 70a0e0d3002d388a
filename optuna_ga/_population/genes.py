"""Genes: the values of one parameter, and which of them a distribution has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_ga._population.choices import choice_position, find_choice, first_equals

_N_OF_A_FINE_GRID = 1_000

Gene: TypeAlias = CategoricalChoiceType  # A type also where Optuna is not installed.


def is_inheritable(
    value: Gene, parents: BaseDistribution | None, childs: BaseDistribution
) -> bool:
    """Return whether a value of the parent's distribution is meaningful in the child's.

    Numbers are inherited across ranges, a choice wherever it is among the child's choices.
    """
    if isinstance(childs, CategoricalDistribution):
        return isinstance(parents, CategoricalDistribution) and find_choice(childs, value) >= 0
    return type(parents) is type(childs)


def is_own_value(distribution: BaseDistribution, value: Gene) -> bool:
    """Return whether a value is one of its distribution's, as enqueued numbers need not be."""
    if isinstance(distribution, CategoricalDistribution):
        return True
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    if not distribution.low <= value <= distribution.high:  # type: ignore[operator]
        return False
    if distribution.step is None or (isinstance(value, int) and distribution.step == 1):
        return True
    return nearest_value(distribution, value) == value


def nearest_value(distribution: BaseDistribution, value: Gene) -> Gene:
    """Return `value` if the distribution contains it, otherwise the nearest value that it does.

    Args:
        distribution: The child's distribution, whose range may differ from the parent's.
        value: A value that `is_inheritable`.

    >>> [nearest_value(FloatDistribution(low, 1.0), 0.3) for low in (0.0, 0.5)]
    [0.3, 0.5]
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[choice_position(distribution, value)]
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    assert value is not None
    if isinstance(distribution, IntDistribution):
        whole = int(min(max(value, distribution.low), distribution.high))
        remainder = (whole - distribution.low) % distribution.step
        down = 2 * remainder < distribution.step
        return whole - remainder if down else whole - remainder + distribution.step
    number = min(max(float(value), distribution.low), distribution.high)
    if distribution.step is None:
        return number
    steps = (number - distribution.low) / distribution.step
    on_grid = abs(steps - round(steps)) < 1e-8  # Optuna's tolerance.
    return number if on_grid else grid_point(distribution, round(steps))


def n_cells(distribution: BaseDistribution) -> int | None:
    """Return the number of values of a distribution, None if it is continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is None:
        return 1 if distribution.single() else None
    return round((distribution.high - distribution.low) / distribution.step) + 1


def discrete_columns(distributions: Sequence[BaseDistribution]) -> list[int]:
    """Return the positions of the distributions that are not continuous."""
    return [c for c, each in enumerate(distributions) if n_cells(each) is not None]


def is_nearly_continuous(distribution: BaseDistribution) -> bool:
    """Return whether a number is continuous, or has more than 1,000 values."""
    if isinstance(distribution, CategoricalDistribution):
        return False
    n = n_cells(distribution)
    return n is None or n > _N_OF_A_FINE_GRID


def n_values(distribution: BaseDistribution) -> int | None:
    """Return the number of values that Optuna tells apart, None if it is continuous."""
    if isinstance(distribution, CategoricalDistribution):
        firsts = first_equals(distribution)
        return len(distribution.choices) if firsts is None else len(np.unique(firsts))
    return n_cells(distribution)


def grid_point(distribution: FloatDistribution, k: int) -> float:
    """Return the value `k` steps above the low end of a range with a step."""
    assert distribution.step is not None
    return min(distribution.low + k * distribution.step, distribution.high)

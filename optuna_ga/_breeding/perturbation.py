"""Perturbation: the mutation of population-based training, to a value near the inherited one."""

from __future__ import annotations

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_ga._population.genes import Gene, nearest_value
from optuna_ga._population.unit_scale import from_unit


def perturbed(distribution: BaseDistribution, value: Gene, u: float) -> Gene:
    """Return a value near another: a fifth less or more, as in population-based training.

    The factors 0.8 and 1.2 are those of Jaderberg et al. 2017 (arXiv:1711.09846). Where the range
    has negative values, or the value is 0, a factor would keep the sign or change nothing: there
    it is a tenth of the range. On a grid it is at least one step. Choices have no order, so one is
    drawn among all.

    Args:
        distribution: One of Optuna's three distributions.
        value: A value that the distribution contains.
        u: Position in [0, 1) of the draw; below 0.5 numbers become less.

    >>> [round(perturbed(FloatDistribution(0.0, 1.0), 0.5, u), 9) for u in (0.0, 0.9)]
    [0.4, 0.6]
    >>> [perturbed(IntDistribution(-8, 8), 0, u) for u in (0.0, 0.9)]
    [-1, 1]
    """
    if isinstance(distribution, CategoricalDistribution):
        return from_unit(distribution, u)
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    assert value is not None
    low, high, down = distribution.low, distribution.high, u < 0.5
    if isinstance(distribution, IntDistribution):
        whole = int(value)
        reach = whole // 5 if low >= 0 < whole else (distribution.high - distribution.low) // 10
        reach = max(reach, distribution.step)
        return nearest_value(distribution, whole - reach if down else whole + reach)
    number = float(value)
    distance = number / 5 if low >= 0 < number else high / 10 - low / 10
    distance = max(distance, distribution.step or 0.0)
    return nearest_value(distribution, number - distance if down else number + distance)

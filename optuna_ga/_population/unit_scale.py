"""The unit scale of a parameter: [0, 1], on which its distribution is uniform.

It is uniform in the logarithm where `log` is set, on the grid where there is a step, and over the
choices of a categorical parameter. Operators work on it or on the values themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from optuna_ga._population.choices import choice_position, first_equals
from optuna_ga._population.genes import Gene, grid_point, is_inheritable, n_cells, nearest_value

DIGITS = 9  # Positions on the unit scale that agree to so many decimals are equal.


def from_unit(distribution: BaseDistribution, u: float) -> Gene:
    """Return the value at a position of the distribution's unit scale.

    Integers, steps and choices own equal shares of the scale.

    Args:
        distribution: One of Optuna's three distributions.
        u: Position in [0, 1).

    >>> round(from_unit(FloatDistribution(1e-4, 1.0, log=True), 0.5), 12)
    0.01
    >>> [from_unit(IntDistribution(0, 6, step=3), u) for u in (0.0, 0.4, 0.99)]
    [0, 3, 6]
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[_index(u, len(distribution.choices))]
    if isinstance(distribution, IntDistribution):
        return _int_from_unit(distribution, u)
    assert isinstance(distribution, FloatDistribution)
    return _float_from_unit(distribution, u)


def to_unit(distribution: BaseDistribution, value: Gene) -> float:
    """Return the position of a value on the distribution's unit scale, in [0, 1].

    `from_unit` inverts it. Choices, steps and integers lie in the middle of their shares.

    Args:
        distribution: One of Optuna's three distributions.
        value: A value that the distribution contains.

    >>> to_unit(FloatDistribution(1e-4, 1.0, log=True), 1e-4), to_unit(IntDistribution(1, 4), 1)
    (0.0, 0.125)
    """
    return encoder(distribution)(value)


def encoder(distribution: BaseDistribution) -> Callable[[Any], float]:
    """Return `to_unit` for one distribution, for values by the thousand."""
    if isinstance(distribution, CategoricalDistribution):
        n = len(distribution.choices)
        return lambda value: (choice_position(distribution, value) + 0.5) / n
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    low, high, step = float(distribution.low), float(distribution.high), distribution.step
    if distribution.log:
        margin = 0.5 if isinstance(distribution, IntDistribution) else 0.0
        bounds = math.log(low - margin), math.log(high + margin)
        return lambda value: _position(*bounds, math.log(float(value)))
    cells = n_cells(distribution)
    if cells is not None and step is not None:
        return lambda value: (round((float(value) - low) / step) + 0.5) / cells
    return lambda value: _position(low, high, float(value))


def inherited(trial: FrozenTrial, name: str, distribution: BaseDistribution) -> float:
    """Return a trial's parameter on the unit scale of a distribution, NaN if it has none."""
    value = trial.params.get(name)
    if not is_inheritable(value, trial.distributions.get(name), distribution):
        return math.nan
    return to_unit(distribution, nearest_value(distribution, value))


def snapped_to_grid(distribution: BaseDistribution, units: np.ndarray) -> np.ndarray:
    """Return positions `(n,)` in [0, 1] moved to the positions `(n,)` of their values."""
    cells = n_cells(distribution)
    if cells is None:
        return units
    if isinstance(distribution, IntDistribution) and distribution.log:
        low, high = math.log(distribution.low - 0.5), math.log(distribution.high + 0.5)
        if high <= low:  # Integers so large that their logarithms are equal.
            return np.full(len(units), 0.5)
        values = np.rint(np.exp(low + units * (high - low)))
        values = values.clip(distribution.low, distribution.high)
        return np.asarray((np.log(values) - low) / (high - low))
    positions = np.minimum(np.floor(units * cells), cells - 1)
    if isinstance(distribution, CategoricalDistribution):
        firsts = first_equals(distribution)
        positions = positions if firsts is None else firsts[positions.astype(int)]
    return np.asarray((positions + 0.5) / cells)


def grid(distribution: BaseDistribution) -> np.ndarray | None:
    """Return the positions of all values of a distribution `(n,)`, None if it is continuous."""
    cells = n_cells(distribution)
    if cells is None:
        return None
    if isinstance(distribution, IntDistribution) and distribution.log:
        values = range(distribution.low, distribution.high + 1)
        return np.array([to_unit(distribution, value) for value in values])
    positions = np.arange(cells)
    if isinstance(distribution, CategoricalDistribution):
        firsts = first_equals(distribution)
        positions = positions if firsts is None else np.unique(firsts)
    return np.asarray((positions + 0.5) / cells)


def _position(low: float, high: float, number: float) -> float:
    """Return the position of a number between two others, whose difference may overflow."""
    if high <= low:
        return 0.5
    span = high - low
    if math.isfinite(span):
        return (number - low) / span
    return (number / 2 - low / 2) / (high / 2 - low / 2)


def _index(u: float, n: int) -> int:
    """Return floor(u * n), at most n - 1, in integer arithmetic, so that it is exact for any n."""
    return min(int(u * 2**53) * n >> 53, n - 1)  # Positions of large n may round to 1.


def _int_from_unit(distribution: IntDistribution, u: float) -> int:
    low, high, step = distribution.low, distribution.high, distribution.step
    if distribution.log:
        # Half an integer beyond each end, so that the ends own full shares.
        value = round(math.exp(_between(math.log(low - 0.5), math.log(high + 0.5), u)))
        return min(max(value, low), high)
    return low + step * _index(u, (high - low) // step + 1)


def _float_from_unit(distribution: FloatDistribution, u: float) -> float:
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is not None:
        return grid_point(distribution, _index(u, round((high - low) / step) + 1))
    if u in (0.0, 1.0):  # The bounds themselves: the exponential of a logarithm may be a bit off.
        return high if u else low
    if distribution.log:
        value = math.exp(_between(math.log(low), math.log(high), u))
    else:
        value = _between(low, high, u)
    return min(max(value, low), high)


def _between(low: float, high: float, u: float) -> float:
    """Return the point at `u` between two numbers, whose difference may overflow."""
    span = high - low
    return low + u * span if math.isfinite(span) else low * (1.0 - u) + high * u

"""Genes: the value of one parameter, and its position on the parameter's unit scale.

The unit scale of a parameter is [0, 1], on which its distribution is uniform: in the logarithm
where `log` is set, on the grid where there is a step, and over the choices of a categorical
parameter. All operators work on it or on the values themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

Gene: TypeAlias = CategoricalChoiceType  # A type also where Optuna is not installed.

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


def fit(distribution: BaseDistribution, value: Gene) -> Gene:
    """Return `value` if the distribution contains it, otherwise the nearest value that it does.

    Args:
        distribution: The child's distribution, whose range may differ from the parent's.
        value: A value that `is_inheritable`.

    >>> fit(FloatDistribution(0.0, 1.0), 0.3), fit(FloatDistribution(0.5, 1.0), 0.3)
    (0.3, 0.5)
    """
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[_choice(distribution, value)]
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    assert value is not None
    if isinstance(distribution, IntDistribution):
        whole = min(max(int(value), distribution.low), distribution.high)
        remainder = (whole - distribution.low) % distribution.step
        down = 2 * remainder < distribution.step
        return whole - remainder if down else whole - remainder + distribution.step
    number = min(max(float(value), distribution.low), distribution.high)
    if distribution.step is None:
        return number
    steps = (number - distribution.low) / distribution.step
    on_grid = abs(steps - round(steps)) < 1e-8  # Optuna's tolerance.
    return number if on_grid else _grid_point(distribution, round(steps))


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
        return fit(distribution, whole - reach if down else whole + reach)
    number = float(value)
    distance = number / 5 if low >= 0 < number else high / 10 - low / 10
    distance = max(distance, distribution.step or 0.0)
    return fit(distribution, number - distance if down else number + distance)


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
        return lambda value: (_choice(distribution, value) + 0.5) / n
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


def resolved(distribution: BaseDistribution, units: np.ndarray) -> np.ndarray:
    """Return positions `(n,)` in [0, 1] moved to the positions `(n,)` of their values."""
    cells = n_cells(distribution)
    if cells is None:
        return units
    if isinstance(distribution, IntDistribution) and distribution.log:
        low, high = math.log(distribution.low - 0.5), math.log(distribution.high + 0.5)
        values = np.rint(np.exp(low + units * (high - low)))
        values = values.clip(distribution.low, distribution.high)
        return np.asarray((np.log(values) - low) / (high - low))
    positions = np.minimum(np.floor(units * cells), cells - 1)
    if isinstance(distribution, CategoricalDistribution):
        firsts = _firsts(distribution)
        positions = positions if firsts is None else firsts[positions.astype(int)]
    return np.asarray((positions + 0.5) / cells)


def is_inheritable(
    value: Gene, parents: BaseDistribution | None, childs: BaseDistribution
) -> bool:
    """Return whether a value of the parent's distribution is meaningful in the child's.

    Numbers are inherited across ranges, a choice wherever it is among the child's choices.
    """
    if isinstance(childs, CategoricalDistribution):
        return isinstance(parents, CategoricalDistribution) and find_choice(childs, value) >= 0
    return type(parents) is type(childs)


def are_equal(first: BaseDistribution | None, second: BaseDistribution) -> bool:
    """Return whether two distributions are equal, their choices as a storage keeps them."""
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if not (
        isinstance(first, CategoricalDistribution) and isinstance(second, CategoricalDistribution)
    ):
        return vars(first) == vars(second)  # As Optuna compares, without its test of the type.
    # Optuna compares choices in Python: milliseconds for thousands, several times for a trial.
    return (
        first.choices == second.choices
        or first == second
        or stored_choices(first.choices) == stored_choices(second.choices)
    )


def inherited(trial: FrozenTrial, name: str, distribution: BaseDistribution) -> float:
    """Return a trial's parameter on the unit scale of a distribution, NaN if it has none."""
    value = trial.params.get(name)
    if not is_inheritable(value, trial.distributions.get(name), distribution):
        return math.nan
    return to_unit(distribution, fit(distribution, value))


def find_choice(distribution: CategoricalDistribution, value: Gene) -> int:
    """Return the position of a value among the choices, -1 if it is not among them.

    Databases keep choices as JSON, in which tuples are lists and all keys are strings: a choice is
    the same before and after.
    """
    try:
        return int(distribution.to_internal_repr(value))
    except ValueError:
        choices = stored_choices(distribution.choices)
        (wanted,) = stored_choices([value])
        return choices.index(wanted) if wanted in choices else -1


def _choice(distribution: CategoricalDistribution, value: Gene) -> int:
    position = find_choice(distribution, value)
    if position < 0:
        raise ValueError(f"{value!r} is not among the choices {distribution.choices}.")
    return position


def stored_choices(choices: Sequence[Gene]) -> list[str]:
    """Return choices as Optuna's storages write them; what JSON cannot write stays in memory."""
    return [json.dumps(choice, default=repr) for choice in choices]


def n_cells(distribution: BaseDistribution) -> int | None:
    """Return the number of values of a distribution, None if it is continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is None:
        return None
    return round((distribution.high - distribution.low) / distribution.step) + 1


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
        firsts = _firsts(distribution)
        positions = positions if firsts is None else np.unique(firsts)
    return np.asarray((positions + 0.5) / cells)


def n_values(distribution: BaseDistribution) -> int | None:
    """Return the number of values that Optuna tells apart, None if it is continuous."""
    if isinstance(distribution, CategoricalDistribution):
        firsts = _firsts(distribution)
        return len(distribution.choices) if firsts is None else len(np.unique(firsts))
    return n_cells(distribution)


def _firsts(distribution: CategoricalDistribution) -> np.ndarray | None:
    """Return the position `(n,)` of the first choice that equals each; None if all differ.

    Python holds `1`, `1.0` and `True` equal, and Optuna keeps them all as the first of them.
    """
    choices = distribution.choices
    with suppress(TypeError):  # Such as of lists, which have no hash.
        if len(set(choices)) == len(choices):
            return None
    firsts = np.array([int(distribution.to_internal_repr(choice)) for choice in choices])
    return firsts if (np.diff(firsts) != 1).any() else None


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
        return _grid_point(distribution, _index(u, round((high - low) / step) + 1))
    if u in (0.0, 1.0):  # The bounds themselves: the exponential of a logarithm may be a bit off.
        return high if u else low
    if distribution.log:
        value = math.exp(_between(math.log(low), math.log(high), u))
    else:
        value = _between(low, high, u)
    return min(max(value, low), high)


def _grid_point(distribution: FloatDistribution, k: int) -> float:
    assert distribution.step is not None
    return min(distribution.low + k * distribution.step, distribution.high)


def _between(low: float, high: float, u: float) -> float:
    """Return the point at `u` between two numbers, whose difference may overflow."""
    span = high - low
    return low + u * span if math.isfinite(span) else low * (1.0 - u) + high * u

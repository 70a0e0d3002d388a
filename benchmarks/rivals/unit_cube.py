"""The unit cube, for optimizers that know no other search space, as Optuna samplers.

Each parameter of a space has one coordinate, whether a trial has it or not. The choices of a
categorical parameter own equal shares of its coordinate, in their order, as in DEHB.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from benchmarks.rivals.asking import AskingSampler

_BELOW_ONE = np.nextafter(1.0, 0.0)


class PointSampler(AskingSampler):
    """A sampler whose trials read their parameters off a point of the unit cube.

    Args:
        space: Every parameter that a trial may have.
    """

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self._coordinates = {name: index for index, name in enumerate(space)}

    @abstractmethod
    def point(self, number: int) -> Sequence[float] | np.ndarray:
        """Return the point of a trial, one coordinate for each parameter of the space."""

    def value(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """Return the point's value of a parameter."""
        return value_at(distribution, self.point(number)[self._coordinates[name]])


def value_at(distribution: BaseDistribution, u: float) -> Any:
    """Return the value of a parameter at a position of its coordinate, clipped to [0, 1)."""
    return _value(distribution, float(np.clip(u, 0.0, _BELOW_ONE)))


def _value(distribution: BaseDistribution, u: float) -> Any:
    """Return the value of a parameter at a position in [0, 1) of its range."""
    match distribution:
        case CategoricalDistribution():
            return distribution.choices[_share(u, len(distribution.choices))]
        case IntDistribution(log=True, low=low, high=high):
            # Half an integer beyond either end, so that the ends own full shares.
            value = round(math.exp(_between(math.log(low - 0.5), math.log(high + 0.5), u)))
            return min(max(value, low), high)
        case IntDistribution(low=low, high=high, step=step):
            return low + step * _share(u, (high - low) // step + 1)
        case FloatDistribution(low=low, high=high, step=float(step)):
            return min(low + _share(u, round((high - low) / step) + 1) * step, high)
        case FloatDistribution(log=True, low=low, high=high):
            return min(max(math.exp(_between(math.log(low), math.log(high), u)), low), high)
        case FloatDistribution(low=low, high=high):
            return min(_between(low, high, u), high)
    raise AssertionError(distribution)


def _share(u: float, n: int) -> int:
    """Return floor(u * n), exact for any n."""
    return int(u * 2**53) * n >> 53


def _between(low: float, high: float, u: float) -> float:
    return low + u * (high - low)

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

from benchmarks.rivals.asking import AskingSampler, from_number, n_steps

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
    u = float(np.clip(u, 0.0, _BELOW_ONE))
    return from_number(distribution, _number(distribution, u))


def _number(distribution: BaseDistribution, u: float) -> float:
    """Return the number of a parameter at a position in [0, 1); see `from_number`."""
    match distribution:
        case CategoricalDistribution():
            return _share(u, len(distribution.choices))
        case IntDistribution(log=True, low=low, high=high):
            # Half an integer beyond either end, so that the ends own full shares.
            return math.exp(_between(math.log(low - 0.5), math.log(high + 0.5), u))
        case FloatDistribution(log=True, low=low, high=high):
            return math.exp(_between(math.log(low), math.log(high), u))
        case FloatDistribution(low=low, high=high, step=None):
            return _between(low, high, u)
        case IntDistribution() | FloatDistribution():
            return _share(u, n_steps(distribution))
    raise AssertionError(distribution)


def _share(u: float, n: int) -> int:
    """Return floor(u * n), exact for any n."""
    return int(u * 2**53) * n >> 53


def _between(low: float, high: float, u: float) -> float:
    return low + u * (high - low)

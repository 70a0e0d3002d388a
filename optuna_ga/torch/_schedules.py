"""Factors of the learning rate over the epochs.

A schedule is called with the epochs trained so far, a fraction within an epoch, and the epochs of
the whole training. It is called before every step, so that it may change within an epoch.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from optuna_ga._checks import (
    as_float,
    check_at_least_zero,
    check_int,
    is_number,
    set_checked,
    shown,
)

Schedule: TypeAlias = Callable[[float, int], float]


def check_schedule(value: object) -> None:
    """Check that an argument is a schedule or None.

    Raises:
        TypeError: If it is neither, such as the class of a schedule.
    """
    if value is not None and (isinstance(value, type) or not callable(value)):
        raise TypeError(
            "`schedule` must be a function of epoch and epochs, such as `Cosine()`, or None, but "
            f"{shown(value)} was given."
        )
    if value is not None and not _takes_two(value):
        raise TypeError(
            "`schedule` must be a function that can be called with epoch and epochs, but "
            f"{shown(value)} cannot."
        )


def _takes_two(function: Callable[..., object]) -> bool:
    """Return whether a function takes two arguments, as far as its signature shows."""
    try:
        inspect.signature(function).bind(0.0, 1)
    except TypeError:
        return False
    except ValueError:  # Such as some of those written in C, which show none.
        pass
    return True


def checked_factor(schedule: Schedule, epoch: float, epochs: int) -> float:
    """Return what a schedule gives for an epoch.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is negative, infinite or NaN.
    """
    factor: object = schedule(epoch, epochs)
    if is_number(factor) and 0.0 <= (number := as_float(factor)) < math.inf:
        return number
    raise (ValueError if is_number(factor) else TypeError)(
        f"`schedule` must return a finite number of at least 0, but {shown(schedule)} returned "
        f"{shown(factor)} for epoch {epoch:g} of {epochs}."
    )


def check_factors(schedule: Schedule, first: int, epochs: int) -> None:
    """Check what a schedule gives at the beginning of each epoch, from the first one on.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is negative, infinite or NaN.
    """
    for epoch in range(first, first + epochs):
        checked_factor(schedule, float(epoch), epochs)


@dataclass(frozen=True)
class Constant:
    """The learning rate stays as it is.

    >>> Constant()(3.5, 10)
    1.0
    """

    def __call__(self, epoch: float, epochs: int) -> float:
        """Return the factor."""
        return 1.0


@dataclass(frozen=True)
class StepDecay:
    """The learning rate is multiplied by a factor after every so many epochs.

    >>> StepDecay(0.5, every=2)(5.9, 10)
    0.25

    Attributes:
        factor: The factor.
        every: Epochs between two multiplications.

    Raises:
        TypeError: If `factor` is not a number, or `every` is not an integer.
        ValueError: If `factor` is below 0, or `every` below 1.
    """

    factor: float
    every: int = 1

    def __post_init__(self) -> None:
        set_checked(
            self,
            factor=check_at_least_zero("factor", self.factor),
            every=check_int("every", self.every, minimum=1),
        )

    def __call__(self, epoch: float, epochs: int) -> float:
        """Return the factor, infinite if it is beyond all floats."""
        try:
            return float(self.factor ** (math.floor(epoch) // self.every))
        except OverflowError:
            return math.inf


@dataclass(frozen=True)
class Cosine:
    """The learning rate falls along half a cosine to 0, after a linear rise.

    A training that is resumed after its epochs are over learns nothing by it.

    >>> Cosine()(5.0, 10)
    0.5
    >>> Cosine(warm_up=1.0)(0.25, 10)
    0.25

    Attributes:
        warm_up: Epochs over which the learning rate rises.

    Raises:
        TypeError: If `warm_up` is not a number.
        ValueError: If it is below 0.
    """

    warm_up: float = 0.0

    def __post_init__(self) -> None:
        set_checked(self, warm_up=check_at_least_zero("warm_up", self.warm_up))

    def __call__(self, epoch: float, epochs: int) -> float:
        """Return the factor; 0 once the epochs are over."""
        if epoch >= epochs:
            return 0.0
        if epoch < self.warm_up:
            return epoch / self.warm_up
        share = (epoch - self.warm_up) / (epochs - self.warm_up)
        return 0.5 * (1.0 + math.cos(math.pi * share))

"""Suites `failures` and `bad-values`: functions of COCO where trials fail or have bad values.

Each has two kinds of tasks, on functions of five floats and of one float and four integers. In
`failures` a trial may have no value:

- `crash`: one trial in three fails by chance.
- `region`: every trial fails beyond a plane close to the best point, between 1 and 92 % of random
  points.

In `bad-values` every trial has a value:

- `chance`: one trial in five has a bad value by chance, the 0.95-quantile of random points, up to
  a fifth more or less.
- `diverge`: beyond a plane, which lies between the best point and a border of the space, 10^(30 d)
  is added to the loss, where d is the distance from the plane in widths of a parameter's range.

Seed s is instance s + 1. The seed, the task and a trial's number decide whether it fails by
chance. The score is the value of the best trial, less that of the optimum; while all trials have
failed, it is that of the first. Nothing may be tuned on the even functions. COCO is the package
`coco-experiment`, which only an objective needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
from numpy.random import Generator
from optuna import Trial
from optuna.distributions import BaseDistribution

from benchmarks.suites.bbob import CocoObjective
from benchmarks.suites.discrete import suggested
from benchmarks.suites.task import Suite, Task

FUNCTIONS = 1, 2, 7, 8, 9, 13, 14, 17, 18, 20, 21, 22
SPACES = {"float": "bbob", "mixint": "bbob-mixint"}
DIMENSION = 5
CHANCE, CRASH = 0.2, 1 / 3
N_RANDOM, _BAD_QUANTILE, _SPREAD = 400, 0.95, 0.2
TO_PLANE, _FROM_CENTRE, _POWERS = 0.05, 0.15, 30.0

# Returns a trial's value, of its function's value, its unit genes (D,) and a random generator.
Fault = Callable[[float, np.ndarray, Generator], float]
# Returns how far unit genes (D,) are beyond a plane, below 0 before it.
Beyond = Callable[[np.ndarray], float]
# Returns the fault of an objective, of which a random generator draws the constants.
MakeFault = Callable[["FailingObjective", Generator], Fault]


class FailingObjective:
    """One instance of a function, some of whose trials fail.

    Args:
        name: Name of the task.
        suite: COCO's name of the function's suite.
        function: Number of the function, 1 to 24.
        make_fault: Returns the fault of this objective.
        seed: One less than the number of the instance.
    """

    def __init__(
        self, name: str, suite: str, function: int, make_fault: MakeFault, seed: int
    ) -> None:
        self.function = CocoObjective(suite, function, DIMENSION, seed)
        self.space: Mapping[str, BaseDistribution] = self.function.space
        # NumPy takes keys that differ in zeros at the end for the same.
        self._key = seed, crc32(name.encode())
        self._fault = make_fault(self, np.random.default_rng((*self._key, 0)))

    def __call__(self, trial: Trial) -> float:
        """Return the value of a trial, NaN if it fails without one."""
        params = suggested(trial, self.space)
        rng = np.random.default_rng((*self._key, 1 + trial.number))
        return self._fault(self.score(params), self.units(params), rng)

    def score(self, params: Mapping[str, Any]) -> float:
        """Return the function's value less that of its optimum."""
        return self.function.score(params)

    def units(self, params: Mapping[str, Any]) -> np.ndarray:
        """Return parameters `(D,)` as positions in their ranges, 0 to 1."""
        return np.array([_unit(space, params[name]) for name, space in self.space.items()])

    def random_params(self, rng: Generator) -> dict[str, Any]:
        """Return parameters drawn at random."""
        return {name: _drawn(distribution, rng) for name, distribution in self.space.items()}


def _unit(distribution: Any, value: float) -> float:
    return float((value - distribution.low) / (distribution.high - distribution.low))


def _drawn(distribution: Any, rng: Generator) -> float | int:
    if distribution.step:
        return int(rng.integers(distribution.low, distribution.high, endpoint=True))
    return float(rng.uniform(distribution.low, distribution.high))


def bad_by_chance(random_values: Sequence[float]) -> Fault:
    """Return the fault by which some trials have a bad value by chance, like random points."""
    bad = float(np.quantile(random_values, _BAD_QUANTILE))

    def fault(value: float, units: np.ndarray, rng: Generator) -> float:
        fails, share = rng.random() < CHANCE, rng.uniform(1 - _SPREAD, 1 + _SPREAD)
        return bad * share if fails else value

    return fault


def fails_by_chance(value: float, units: np.ndarray, rng: Generator) -> float:
    """Fail by chance."""
    return math.nan if rng.random() < CRASH else value


def failing(beyond: Beyond) -> Fault:
    """Return the fault by which all trials fail beyond a plane."""
    return lambda value, units, rng: math.nan if beyond(units) > 0.0 else value


def diverging(beyond: Beyond) -> Fault:
    """Return the fault by which values are astronomical beyond a plane."""

    def fault(value: float, units: np.ndarray, rng: Generator) -> float:
        distance = beyond(units)
        return value + 10.0 ** (_POWERS * distance) if distance > 0.0 else value

    return fault


def chance(objective: FailingObjective, rng: Generator) -> Fault:
    """Return the fault by which some trials have a bad value by chance."""
    return bad_by_chance([objective.score(objective.random_params(rng)) for _ in range(N_RANDOM)])


def crash(objective: FailingObjective, rng: Generator) -> Fault:
    """Return the fault by which some trials fail by chance."""
    return fails_by_chance


def region(objective: FailingObjective, rng: Generator) -> Fault:
    """Return the fault by which all trials fail beyond a plane."""
    direction = unit_vector(len(objective.space), rng)
    boundary = direction @ objective.units(objective.function.best) + TO_PLANE
    return failing(lambda units: float(direction @ units - boundary))


def diverge(objective: FailingObjective, rng: Generator) -> Fault:
    """Return the fault by which losses are astronomical beyond a plane."""
    direction = unit_vector(len(objective.space), rng)
    if direction @ (objective.units(objective.function.best) - 0.5) > 0.0:
        direction = -direction
    return diverging(lambda units: float(direction @ (units - 0.5)) - _FROM_CENTRE)


def unit_vector(n: int, rng: Generator) -> np.ndarray:
    """Return a vector `(n,)` of length 1, every direction equally likely."""
    direction = rng.normal(size=n)
    return np.asarray(direction / np.linalg.norm(direction))


def _suite(name: str, **faults: MakeFault) -> Suite:
    return Suite(name, tuple(_tasks(faults)), n_trials=200, n_seeds=3, optimum=0.0)


def _tasks(faults: Mapping[str, MakeFault]) -> Iterator[Task]:
    for kind, make_fault in faults.items():
        for space, suite in SPACES.items():
            for function in FUNCTIONS:
                name = f"{kind}-{space}-f{function:02}"
                objective = partial(FailingObjective, name, suite, function, make_fault)
                yield Task(name, held_out=function % 2 == 0, objective=objective)


FAILURES = _suite("failures", crash=crash, region=region)
BAD_VALUES = _suite("bad-values", chance=chance, diverge=diverge)

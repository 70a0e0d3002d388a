"""Suite `failures`: functions of COCO some of whose trials fail, by chance or beyond a boundary.

There are three kinds of failures, each on functions of five floats and of one float and four
integers:

- `chance`: one trial in five has a bad value by chance, about that of the worst random point in
  twenty.
- `crash`: one trial in three fails by chance and has no value.
- `diverge`: beyond a plane, which lies between the best point and a border of the space, losses
  grow by 30 powers of ten for the width of a parameter's range.

Seed s is instance s + 1, and decides on the failures of each trial number. The score is the value
of the best trial, less that of the optimum. Nothing may be tuned on the even functions. COCO is
the package `coco-experiment`, which only an objective needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from optuna import Trial
from optuna.distributions import BaseDistribution

from benchmarks.suites.bbob import CocoObjective
from benchmarks.suites.discrete import suggested
from benchmarks.suites.task import Suite, Task

FUNCTIONS = 1, 2, 7, 8, 9, 13, 14, 17, 18, 20, 21, 22
SUITES = {"float": "bbob", "mixint": "bbob-mixint"}
DIMENSION = 5
CHANCE, CRASH = 0.2, 1 / 3
_N_RANDOM, _BAD_QUANTILE, _SPREAD = 400, 0.95, 0.2
_BOUNDARY, _POWERS = 0.15, 30.0

# A trial's value, of its function's value, its unit genes (D,) and its random generator.
Fault = Callable[[float, np.ndarray, Generator], float]


class FailingObjective:
    """One instance of a function, some of whose trials fail.

    Args:
        suite: COCO's name of its suite.
        function: Number of the function, 1 to 24.
        fault: Returns the fault of an objective and a random generator.
        seed: One less than the number of the instance.
    """

    def __init__(
        self,
        suite: str,
        function: int,
        fault: Callable[[FailingObjective, Generator], Fault],
        seed: int,
    ) -> None:
        self.function = CocoObjective(suite, function, DIMENSION, seed)
        self.space: Mapping[str, BaseDistribution] = self.function.space
        self._key = seed, function
        self._fault = fault(self, np.random.default_rng(self._key))

    def __call__(self, trial: Trial) -> float:
        """Return the value of a trial, NaN if it fails without one."""
        params = suggested(trial, self.space)
        rng = np.random.default_rng((*self._key, trial.number))
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


def chance(objective: FailingObjective, rng: Generator) -> Fault:
    """Return the fault by which some trials have a bad value by chance."""
    values = [objective.score(objective.random_params(rng)) for _ in range(_N_RANDOM)]
    bad = float(np.quantile(values, _BAD_QUANTILE))

    def fault(value: float, units: np.ndarray, rng: Generator) -> float:
        fails, share = rng.random() < CHANCE, rng.uniform(1 - _SPREAD, 1 + _SPREAD)
        return bad * share if fails else value

    return fault


def crash(objective: FailingObjective, rng: Generator) -> Fault:
    """Return the fault by which some trials fail by chance."""
    return lambda value, units, rng: math.nan if rng.random() < CRASH else value


def diverge(objective: FailingObjective, rng: Generator) -> Fault:
    """Return the fault by which losses are astronomical beyond a plane."""
    direction = rng.normal(size=len(objective.space))
    direction /= np.linalg.norm(direction)
    if direction @ (objective.units(objective.function.best) - 0.5) > 0.0:
        direction = -direction

    def fault(value: float, units: np.ndarray, rng: Generator) -> float:
        beyond = float(direction @ (units - 0.5)) - _BOUNDARY
        return value + 10.0 ** (_POWERS * beyond) if beyond > 0.0 else value

    return fault


FAULTS = {"chance": chance, "crash": crash, "diverge": diverge}

FAILURES = Suite(
    "failures",
    tuple(
        Task(
            f"{kind}-{space}-f{function:02}",
            held_out=function % 2 == 0,
            objective=partial(FailingObjective, suite, function, fault),
        )
        for kind, fault in FAULTS.items()
        for space, suite in SUITES.items()
        for function in FUNCTIONS
    ),
    n_trials=200,
    n_seeds=3,
    optimum=0.0,
)

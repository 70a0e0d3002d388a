"""Suite `bbob-biobj`: COCO's 55 pairs of functions, each in one of the dimensions 2, 5 and 10.

Seed s is instance s + 1. The score is COCO's: the hypervolume between the ideal point, of both
functions' optima, and the nadir point, of the other function's value at each optimum. Nothing may
be tuned on the even pairs. COCO is the package `coco-experiment`, which only an objective needs.

Source: Brockhoff et al. (2022), https://doi.org/10.1162/evco_a_00298.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from optuna import Trial
from optuna.distributions import BaseDistribution

from benchmarks.suites.bbob import coco_problem, floats_of
from benchmarks.suites.discrete import suggested
from benchmarks.suites.hypervolume import missing_hypervolume
from benchmarks.suites.task import Suite, Task

PAIRS = range(1, 56)
DIMENSIONS = (2, 5, 10)


class BiobjObjective:
    """One instance of a pair of functions.

    Args:
        pair: Number of the pair, 1 to 55.
        dimension: Number of variables.
        seed: One less than the number of the instance.

    Attributes:
        space: The parameters.
        bounds: The lower and the upper ends of their ranges `(2, dimension)`.
        best_points: Where each of the functions is lowest `(2, dimension)`.
    """

    n_objectives = 2

    def __init__(self, pair: int, dimension: int, seed: int) -> None:
        self._problem = coco_problem("bbob-biobj", pair, dimension, seed)
        self.space: Mapping[str, BaseDistribution] = floats_of(self._problem)
        self.bounds = np.array([self._problem.lower_bounds, self._problem.upper_bounds])
        functions = _functions(self._problem.name)
        self._ideal = np.array([float(function.best_value()) for function in functions])
        self.best_points = np.array([function.best_parameter() for function in functions])
        self._nadir = np.array(self._problem.largest_fvalues_of_interest)

    def __call__(self, trial: Trial) -> list[float]:
        """Return the values of both functions."""
        params = suggested(trial, self.space)
        return self.values([params[name] for name in self.space])

    def values(self, point: Sequence[float]) -> list[float]:
        """Return the values of both functions at a point `(dimension,)`."""
        return [float(value) for value in self._problem(point)]

    def score(self, values: np.ndarray) -> float:
        """Return the hypervolume that the values `(n, 2)` leave."""
        return missing_hypervolume(values, self._ideal, self._nadir)


def _functions(name: str) -> list[Any]:
    """Return both functions of a problem, which its name identifies."""
    from cocoex.bare_problem import BareProblem

    found = re.findall(r"bbob_f(\d+)_i(\d+)_d(\d+)", name)
    return [
        BareProblem("bbob", int(function), int(dimension), int(instance))
        for function, instance, dimension in found
    ]


def _task(pair: int) -> Task:
    # Neighbours of the held-out half, and of the other, differ in their dimensions.
    dimension = DIMENSIONS[(pair - 1) // 2 % len(DIMENSIONS)]
    return Task(
        f"f{pair:02}-d{dimension:02}",
        held_out=pair % 2 == 0,
        objective=partial(BiobjObjective, pair, dimension),
    )


BBOB_BIOBJ = Suite("bbob-biobj", tuple(map(_task, PAIRS)), n_trials=200, n_seeds=10, several=True)

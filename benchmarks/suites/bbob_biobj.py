"""Suite `bbob-biobj`: COCO's 55 pairs of functions, each in one of the dimensions 2, 5 and 10.

Seed s is instance s + 1. The score is COCO's: the hypervolume between the ideal point, of both
functions' optima, and the nadir point, of the other function's value at each optimum. Nothing may
be tuned on the even pairs. COCO is the package `coco-experiment`, which only an objective needs.

Source: Brockhoff et al. (2022), https://doi.org/10.1162/evco_a_00298.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

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
    """

    n_objectives = 2

    def __init__(self, pair: int, dimension: int, seed: int) -> None:
        self._problem = coco_problem("bbob-biobj", pair, dimension, seed)
        self.space: Mapping[str, BaseDistribution] = floats_of(self._problem)
        self._ideal = np.array(_lowest_values(self._problem.name))
        self._nadir = np.array(self._problem.largest_fvalues_of_interest)

    def __call__(self, trial: Trial) -> list[float]:
        """Return the values of both functions."""
        params = suggested(trial, self.space)
        return [float(value) for value in self._problem([params[name] for name in self.space])]

    def score(self, values: np.ndarray) -> float:
        """Return the hypervolume that the values `(n, 2)` leave."""
        return missing_hypervolume(values, self._ideal, self._nadir)


def _lowest_values(name: str) -> list[float]:
    """Return the lowest values of both functions of a problem, which its name identifies."""
    from cocoex.bare_problem import BareProblem

    found = re.findall(r"bbob_f(\d+)_i(\d+)_d(\d+)", name)
    return [
        float(BareProblem("bbob", int(function), int(dimension), int(instance)).best_value())
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

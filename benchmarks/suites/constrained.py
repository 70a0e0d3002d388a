"""Suite `constrained`: COCO's 54 functions with constraints, each in 2, 5 or 10 dimensions.

They are nine functions with six numbers of constraints each. Seed s is instance s + 1. The score
is the value of the best feasible trial; while there is none, it is beyond all values by the least
total violation. The optimum is not known. Nothing may be tuned on the even functions. COCO is the
package `coco-experiment`, which only an objective needs.

Source: Dufossé and Atamna (2022), https://doi.org/10.1145/3520304.3534065.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from optuna import Trial
from optuna.distributions import BaseDistribution

from benchmarks.suites.bbob import coco_problem, floats_of
from benchmarks.suites.discrete import suggested
from benchmarks.suites.task import Suite, Task

FUNCTIONS = range(1, 55)
DIMENSIONS = (2, 5, 10)
BEYOND = 1e12  # Of all values.


class ConstrainedObjective:
    """One instance of a function with constraints.

    Args:
        function: Number of the function, 1 to 54.
        dimension: Number of variables.
        seed: One less than the number of the instance.
    """

    def __init__(self, function: int, dimension: int, seed: int) -> None:
        self._problem = coco_problem("bbob-constrained", function, dimension, seed)
        self.space: Mapping[str, BaseDistribution] = floats_of(self._problem)

    def __call__(self, trial: Trial) -> float:
        """Return the function's value, and record the constraints with the trial."""
        point = self._point(suggested(trial, self.space))
        for number, value in enumerate(self._problem.constraint(point)):
            trial.set_constraint(f"c{number}", float(value))
        return float(self._problem(point))

    def violation(self, params: Mapping[str, Any]) -> float:
        """Return how much parameters violate the constraints in total."""
        return float(np.maximum(self._problem.constraint(self._point(params)), 0.0).sum())

    def score(self, params: Mapping[str, Any]) -> float:
        """Return the function's value; for infeasible parameters more, by the violation."""
        violation = self.violation(params)
        if violation > 0.0:
            return BEYOND * (1.0 + violation)
        return float(self._problem(self._point(params)))

    def _point(self, params: Mapping[str, Any]) -> list[float]:
        return [params[name] for name in self.space]


def _task(function: int) -> Task:
    # Of the nine functions and of the six numbers of constraints each has every dimension.
    kind, number = divmod(function - 1, 6)
    dimension = DIMENSIONS[(kind + number // 2) % len(DIMENSIONS)]
    return Task(
        f"f{function:02}-d{dimension:02}",
        held_out=function % 2 == 0,
        objective=partial(ConstrainedObjective, function, dimension),
    )


CONSTRAINED = Suite("constrained", tuple(map(_task, FUNCTIONS)), n_trials=200, n_seeds=5)

"""Suites `bbob` and `bbob-mixint`: the 24 functions of COCO, with floats alone or mostly integers.

Seed s is instance s + 1, which moves, turns and lifts the function. Nothing may be tuned on the
even functions. COCO is the package `coco-experiment`, which only an objective needs.

Source: Hansen et al. (2021), https://doi.org/10.1080/10556788.2020.1808977; Tušar et al. (2019),
https://doi.org/10.1145/3321707.3321868, for the integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np
from optuna import Trial
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from benchmarks.suites.discrete import suggested
from benchmarks.suites.task import Suite, Task

FUNCTIONS = range(1, 25)


class CocoObjective:
    """One instance of a function.

    Args:
        suite: COCO's name of its suite.
        function: Number of the function, 1 to 24.
        dimension: Number of variables, the integers among them first.
        seed: One less than the number of the instance.

    Attributes:
        space: The parameters.
        best: The best parameters.
    """

    def __init__(self, suite: str, function: int, dimension: int, seed: int) -> None:
        self._problem = coco_problem(suite, function, dimension, seed)
        integers = self._problem.number_of_integer_variables
        low, high = self._problem.lower_bounds, self._problem.upper_bounds
        self.space: Mapping[str, BaseDistribution] = {
            f"x{i}": IntDistribution(int(low[i]), int(high[i]))
            if i < integers
            else FloatDistribution(float(low[i]), float(high[i]))
            for i in range(dimension)
        }
        best = _best(function, dimension, seed + 1)
        best[:integers] = _nearest_integers(best[:integers], high[:integers])
        self.best: Mapping[str, float] = dict(zip(self.space, best.tolist(), strict=True))
        self._optimum = float(self._problem(best))
        assert self._problem.final_target_hit  # Within 1e-8 of the lowest value.

    def __call__(self, trial: Trial) -> float:
        """Return the function's value, which is at least that of the optimum."""
        return self._value(suggested(trial, self.space))

    def score(self, params: Mapping[str, Any]) -> float:
        """Return the function's value less that of its optimum."""
        # The optimum is rounded, so that a value may be lower by a rounding error.
        return max(0.0, self._value(params) - self._optimum)

    def _value(self, params: Mapping[str, Any]) -> float:
        return float(self._problem([params[name] for name in self.space]))


def _best(function: int, dimension: int, instance: int) -> np.ndarray:
    """Return where the optimum of a function of floats is, from COCO."""
    from cocoex.bare_problem import BareProblem

    problem = BareProblem("bbob", function, dimension, instance)
    return np.array(problem.best_parameter(), dtype=float)


def _nearest_integers(best: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the integers from 0 to `high` that stand for an optimum.

    COCO spreads them over [-4, 4], as far from its ends as from each other, and moves the function
    so that the nearest integer is the optimum.
    """
    reach = 4 * high / (high + 2)
    nearest = np.floor((best + reach) / (2 * reach) * high + 0.5)
    return np.asarray(np.clip(nearest, 0, high))


def coco_problem(suite: str, function: int, dimension: int, seed: int) -> Any:
    """Return a function of a suite of COCO, in the instance of a seed.

    Raises:
        ImportError: If COCO is not installed.
    """
    which = function, dimension, seed + 1
    return _coco_suite(suite, seed + 1).get_problem_by_function_dimension_instance(*which)


def floats_of(problem: Any) -> dict[str, BaseDistribution]:
    """Return the search space of one of COCO's problems of floats alone."""
    bounds = zip(problem.lower_bounds, problem.upper_bounds, strict=True)
    return {
        f"x{i}": FloatDistribution(float(low), float(high)) for i, (low, high) in enumerate(bounds)
    }


@cache
def _coco_suite(name: str, instance: int) -> Any:
    """Return COCO's suite with one instance of each function.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import cocoex
    except ImportError as error:
        raise ImportError(f"The suite {name!r} needs `pip install coco-experiment`.") from error
    return cocoex.Suite(name, f"instances: {instance}", "")


def _coco(name: str, dimensions: tuple[int, ...]) -> Suite:
    tasks = tuple(
        Task(
            f"f{function:02}-d{dimension:02}",
            held_out=function % 2 == 0,
            objective=partial(CocoObjective, name, function, dimension),
        )
        for dimension in dimensions
        for function in FUNCTIONS
    )
    return Suite(name, tasks, n_trials=400, n_seeds=10, optimum=0.0)


BBOB = _coco("bbob", (2, 3, 5, 10, 20))
BBOB_MIXINT = _coco("bbob-mixint", (5, 10))

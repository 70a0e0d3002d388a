"""Suite `pbo`: the 25 pseudo-Boolean functions of IOHprofiler, of 16 and 64 bits.

Seed s is instance s + 2, which flips and permutes the bits; instance 1 does not. Nothing may be
tuned on the even functions. The functions come from the package `ioh`.

Source: Doerr et al. (2020), https://doi.org/10.1016/j.asoc.2019.106027.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import ioh
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution

from benchmarks.suites.discrete import suggested
from benchmarks.suites.task import Suite, Task

FUNCTIONS = range(1, 26)
DIMENSIONS = 16, 64


class BitsObjective:
    """One instance of a function, to be minimized.

    Args:
        function: Number of the function, 1 to 25.
        dimension: Number of bits.
        seed: Two less than the number of the instance.
    """

    def __init__(self, function: int, dimension: int, seed: int) -> None:
        kind = ioh.ProblemClass.PBO
        self._problem = ioh.get_problem(function, seed + 2, dimension, kind)
        self.space: Mapping[str, BaseDistribution] = {
            f"x{i}": CategoricalDistribution((False, True)) for i in range(dimension)
        }

    def __call__(self, trial: Trial) -> float:
        """Return the negative value of the function."""
        return self.score(suggested(trial, self.space))

    def score(self, params: Mapping[str, Any]) -> float:
        """Return the negative value of the function."""
        return -float(self._problem([int(params[name]) for name in self.space]))


PBO = Suite(
    "pbo",
    tuple(
        Task(
            f"f{function:02}-d{dimension:02}",
            held_out=function % 2 == 0,
            objective=partial(BitsObjective, function, dimension),
        )
        for dimension in DIMENSIONS
        for function in FUNCTIONS
    ),
    n_trials=200,
    n_seeds=5,
)

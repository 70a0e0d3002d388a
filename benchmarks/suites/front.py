"""Suite `front`: ZDT, DTLZ and WFG, whose Pareto fronts are known, from the package `pymoo`.

The hypervolume is measured from the front's ideal point to a point a tenth beyond its nadir. Every
function has four more variables than objectives, WFG of three objectives five more. Nothing may be
tuned on the functions of `HELD_OUT`.

Source: Blank and Deb (2020), https://doi.org/10.1109/ACCESS.2020.2990567, and the papers cited
there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from optuna import Trial
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from benchmarks.suites.discrete import suggested
from benchmarks.suites.hypervolume import missing_hypervolume
from benchmarks.suites.task import Suite, Task

HELD_OUT = {"zdt2", "zdt4", "dtlz1", "dtlz4", "dtlz7", "wfg2", "wfg4", "wfg6", "wfg8"}
N_MORE = 4  # Variables beyond the number of objectives.


class Corners(NamedTuple):
    """The ideal and the nadir point of a front, each `(M,)`."""

    ideal: np.ndarray
    nadir: np.ndarray


class PymooObjective:
    """A function of pymoo with several objectives.

    Args:
        problem: The function, as pymoo has it.
        corners: The corners of its front.
    """

    def __init__(self, problem: Any, corners: Corners) -> None:
        self.n_objectives: int = problem.n_obj
        self._problem = problem
        ideal, nadir = corners
        self._ideal, self._reference = ideal, nadir + 0.1 * (nadir - ideal)
        distribution = IntDistribution if problem.vtype is int else FloatDistribution
        bounds = zip(problem.xl.tolist(), problem.xu.tolist(), strict=True)
        self.space: Mapping[str, BaseDistribution] = {
            f"x{i}": distribution(low, high) for i, (low, high) in enumerate(bounds)
        }

    def __call__(self, trial: Trial) -> list[float]:
        """Return the function's values."""
        params = suggested(trial, self.space)
        values = self._problem.evaluate(np.array([params[name] for name in self.space]))
        return [float(value) for value in values]

    def score(self, values: np.ndarray) -> float:
        """Return the hypervolume that the values `(n, M)` leave."""
        return missing_hypervolume(values, self._ideal, self._reference)


class FrontObjective(PymooObjective):
    """One function.

    Args:
        name: Its name in pymoo.
        n_objectives: The number of objectives.
        seed: Only chooses the samplers' draws.
    """

    def __init__(self, name: str, n_objectives: int, seed: int) -> None:
        from pymoo.problems import get_problem

        options = {"n_var": n_objectives + N_MORE}
        if not name.startswith("zdt"):
            options["n_obj"] = n_objectives
        if name.startswith("wfg"):  # Four for the position on the front, even many for distance.
            options |= {"n_var": 2 + 2 * n_objectives, "k": 4}
        super().__init__(get_problem(name, **options), corners(name, n_objectives))


def corners(name: str, n_objectives: int) -> Corners:
    """Return the corners of a function's front."""
    numbers = np.arange(1, n_objectives + 1)
    match name:
        case "dtlz1":
            return Corners(np.zeros(n_objectives), np.full(n_objectives, 0.5))
        case "dtlz7":
            # All but the last range over [0, x], where x / 2 * (1 + sin(3 pi x)) is greatest.
            x = np.linspace(0.0, 1.0, 100_001)
            gains = x / 2 * (1 + np.sin(3 * np.pi * x))
            ideal, nadir = np.zeros(n_objectives), np.full(n_objectives, x[gains.argmax()])
            ideal[-1] = 2 * (n_objectives - (n_objectives - 1) * gains.max())
            nadir[-1] = 2 * n_objectives
            return Corners(ideal, nadir)
        case "zdt3":
            return Corners(np.array([0.0, -0.7733690]), np.array([0.8518328, 1.0]))
        case "zdt6":
            return Corners(np.array([0.2807753, 0.0]), np.array([1.0, 0.9211653]))
    if name.startswith("wfg"):
        return Corners(np.zeros(n_objectives), 2.0 * numbers)
    return Corners(np.zeros(n_objectives), np.ones(n_objectives))


def _tasks() -> tuple[Task, ...]:
    functions = [(f"zdt{i}", 2) for i in (1, 2, 3, 4, 6)]
    functions += [(f"dtlz{i}", n) for i in (1, 2, 3, 4, 7) for n in (2, 3, 5)]
    functions += [(f"wfg{i}", n) for i in range(1, 10) for n in (2, 3)]
    return tuple(
        Task(f"{name}-m{n}", name in HELD_OUT, partial(FrontObjective, name, n))
        for name, n in functions
    )


FRONT = Suite("front", _tasks(), n_trials=200, n_seeds=10, several=True)

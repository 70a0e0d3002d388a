"""Suite `constrained-front`: functions with constraints and several objectives, of `pymoo`.

BNH, SRN, OSY, TNK and five designs of engineering have their own variables, two to seven; those of
the clutch are integers. CTP has two variables, MW and the constrained DTLZ have four more than
objectives. The hypervolume of the feasible trials is measured from the ideal point of the front to
a point a tenth beyond its nadir; while no trial is feasible, the score is beyond all others by the
least total violation. Nothing may be tuned on the functions of `HELD_OUT`.

Source: Blank and Deb (2020), https://doi.org/10.1109/ACCESS.2020.2990567, and the papers cited
there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from optuna import Trial

from benchmarks.suites.discrete import suggested
from benchmarks.suites.front import N_MORE, Corners, PymooObjective
from benchmarks.suites.task import Suite, Task

HELD_OUT = {"srn", "tnk", "welded_beam", "clutch", "wrm", "ctp1", "ctp3", "ctp5", "ctp7"} | {
    *("mw1", "mw3", "mw5", "mw7", "mw9", "mw11", "mw13", "c2dtlz2-m2", "c2dtlz2-m3")
}
# The ideal and the nadir point of each front, from the papers, or as two runs of pymoo's NSGA-II
# find them in 75,000 evaluations each.
CORNERS = {
    "bnh": ((0, 4), (136, 50)),
    "srn": ((10.1, -217.75), (223.6, 1.36)),
    "osy": ((-274, 4), (-41.7, 76.1)),
    "tnk": ((0.0416, 0.0416), (1.0385, 1.0385)),
    "truss2d": ((0.004, 8432.7), (0.0518, 100_000)),
    "welded_beam": ((2.38, 0.000439), (38.9, 0.0168)),
    "carside": ((23.58, 3.585, 10.61), (42.77, 4, 12.52)),
    "clutch": ((0.3136, 3.317), (1.397, 11.65)),
    "wrm": ((63_840, 40, 285_300, 183_700, 7), (74_830, 1350, 2_853_500, 7_158_000, 25_000)),
    "ctp1": ((0, 0.542), (1, 1)),
    "ctp2": ((0, 0.287), (0.986, 1)),
    "ctp3": ((0, 0.3), (0.976, 1.05)),
    "ctp4": ((0, 0.314), (0.988, 1.15)),
    "ctp5": ((0, 0.287), (1, 1)),
    "ctp6": ((0, 0.881), (1, 3.7)),
    "ctp7": ((0, 0), (1, 1)),
    "ctp8": ((0, 1.374), (0.823, 3.7)),
    "mw1": ((0, 0.15), (1, 1)),
    "mw2": ((0, 0), (1, 1)),
    "mw3": ((0, 0), (1, 1)),
    "mw4": ((0, 0, 0), (1, 1, 1)),
    "mw5": ((0, 0), (1, 1)),
    "mw6": ((0.016, 0), (1.1, 1.1)),
    "mw7": ((0, 0), (1.152, 1.152)),
    "mw8": ((0, 0, 0), (1.1, 1.1, 1)),
    "mw9": ((0, 0), (1.26, 1.303)),
    "mw10": ((0.232, 0), (1, 1.133)),
    "mw11": ((0.371, 0.332), (2.062, 2.035)),
    "mw12": ((0, 0), (1.317, 1.425)),
    "mw13": ((0, 0), (1.5, 4)),
    "mw14": ((0, 0, 0), (1.5, 1.5, 5.1)),
    "c1dtlz1-m2": ((0, 0), (0.5, 0.5)),
    "c1dtlz1-m3": ((0, 0, 0), (0.5, 0.5, 0.5)),
    "c2dtlz2-m2": ((0, 0), (1, 1)),
    "c2dtlz2-m3": ((0, 0, 0), (1, 1, 1)),
    "c3dtlz4-m2": ((0, 0), (2, 2)),
    "c3dtlz4-m3": ((0, 0, 0), (2, 2, 2)),
}


class ConstrainedFrontObjective(PymooObjective):
    """One function.

    Args:
        name: Its name in pymoo.
        seed: Only chooses the samplers' draws.
    """

    def __init__(self, name: str, seed: int) -> None:
        ideal, nadir = np.array(CORNERS[name], float)
        super().__init__(problem(name), Corners(ideal, nadir))

    def __call__(self, trial: Trial) -> list[float]:
        """Return the function's values, and record the constraints with the trial.

        The trial fails where some of them cannot be computed.
        """
        found = self._evaluated(suggested(trial, self.space))
        if np.isnan([*found["F"], *found["G"]]).any():
            return [math.nan] * self.n_objectives
        for number, value in enumerate(found["G"]):
            trial.set_constraint(f"c{number}", float(value))
        return [float(value) for value in found["F"]]

    def violation(self, params: Mapping[str, Any]) -> float:
        """Return how much parameters violate the constraints in total."""
        return float(np.maximum(self._evaluated(params)["G"], 0.0).sum())

    def _evaluated(self, params: Mapping[str, Any]) -> Mapping[str, np.ndarray]:
        point = np.array([params[name] for name in self.space])
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self._problem.evaluate(point, return_as_dictionary=True)
        return {name: found[name] for name in ("F", "G")}


def problem(name: str) -> Any:
    """Return a function of pymoo by its name."""
    from pymoo.problems import get_problem
    from pymoo.problems.multi.clutch import Clutch
    from pymoo.problems.multi.wrm import WRM

    match name:
        case "clutch":
            found = Clutch()
            found.n_ieq_constr = 8  # It computes no more, though it declares 19.
            return found
        case "wrm":
            return WRM()
    if name.startswith("mw"):
        n_objectives = 3 if name in ("mw4", "mw8", "mw14") else 2
        return get_problem(name, n_var=n_objectives + N_MORE)
    if "dtlz" in name:
        name, n_objectives = name[:-3], int(name[-1])
        return get_problem(name, n_obj=n_objectives, n_var=n_objectives + N_MORE)
    return get_problem(name)


CONSTRAINED_FRONT = Suite(
    "constrained-front",
    tuple(
        Task(name, name in HELD_OUT, partial(ConstrainedFrontObjective, name)) for name in CORNERS
    ),
    n_trials=200,
    n_seeds=5,
    several=True,
)

"""Suite `failures-biobj`: pairs of COCO's functions where trials fail or have a bad loss.

There are four kinds of tasks, on functions of five floats:

- `crash`: one trial in three fails by chance.
- `region`: every trial fails beyond a plane close to the best points.
- `chance`: one trial in five has a bad first loss by chance, the 0.95-quantile of random points,
  up to a fifth more or less.
- `diverge`: beyond that plane, 10^(30 d) is added to the first loss, where d is the distance from
  the plane in widths of a parameter's range.

The plane has both functions' best points on one side, the nearer a twentieth of a range from it.
Seed s is instance s + 1. The seed, the task and a trial's number decide whether it fails by
chance. The score is that of the suite `bbob-biobj`. Nothing may be tuned on the even pairs. COCO
is the package `coco-experiment`, which only an objective needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.random import Generator
from optuna import Trial

from benchmarks.suites.bbob_biobj import BiobjObjective
from benchmarks.suites.failures import (
    N_RANDOM,
    TO_PLANE,
    Fault,
    bad_by_chance,
    diverging,
    failing,
    fails_by_chance,
    unit_vector,
)
from benchmarks.suites.task import Suite, Task

PAIRS = 1, 2, 11, 12, 21, 22, 31, 32, 41, 42, 51, 52
DIMENSION = 5


class Surroundings(NamedTuple):
    """What a fault needs to know of an objective.

    Attributes:
        random_losses: The first losses of random points.
        direction: A unit vector `(5,)` in the unit cube.
        boundary: The position along it from which on points are beyond the plane.
    """

    random_losses: Sequence[float]
    direction: np.ndarray
    boundary: float

    def beyond(self, units: np.ndarray) -> float:
        """Return how far unit genes `(5,)` are beyond the plane, below 0 before it."""
        return float(self.direction @ units) - self.boundary


# Of the kinds of tasks: the fault of the first loss.
FAULTS: Mapping[str, Callable[[Surroundings], Fault]] = {
    "crash": lambda around: fails_by_chance,
    "region": lambda around: failing(around.beyond),
    "chance": lambda around: bad_by_chance(around.random_losses),
    "diverge": lambda around: diverging(around.beyond),
}


class FailingPair:
    """One instance of a pair of functions, some of whose trials fail.

    Args:
        name: Name of the task.
        pair: Number of the pair, 1 to 55.
        kind: The kind of its fault.
        seed: One less than the number of the instance.
    """

    n_objectives = 2

    def __init__(self, name: str, pair: int, kind: str, seed: int) -> None:
        self.functions = BiobjObjective(pair, DIMENSION, seed)
        self.space = self.functions.space
        self.score = self.functions.score
        # NumPy takes keys that differ in zeros at the end for the same.
        self._key = seed, crc32(name.encode())
        self.surroundings = self._drawn_surroundings(np.random.default_rng((*self._key, 0)))
        self._fault = FAULTS[kind](self.surroundings)

    def __call__(self, trial: Trial) -> Sequence[float]:
        """Return the losses of a trial, NaN if it fails."""
        values = self.functions(trial)
        units = self._units(np.array([trial.params[name] for name in self.space]))
        rng = np.random.default_rng((*self._key, 1 + trial.number))
        values[0] = self._fault(values[0], units, rng)
        return values

    def _drawn_surroundings(self, rng: Generator) -> Surroundings:
        low, high = self.functions.bounds
        points = rng.uniform(low, high, (N_RANDOM, DIMENSION))
        losses = [self.functions.values(point)[0] for point in points]
        direction = unit_vector(DIMENSION, rng)
        best = self._units(self.functions.best_points)
        return Surroundings(losses, direction, float((best @ direction).max()) + TO_PLANE)

    def _units(self, points: np.ndarray) -> np.ndarray:
        low, high = self.functions.bounds
        return np.asarray((points - low) / (high - low))


def _task(kind: str, pair: int) -> Task:
    name = f"{kind}-f{pair:02}"
    return Task(name, held_out=pair % 2 == 0, objective=partial(FailingPair, name, pair, kind))


FAILURES_BIOBJ = Suite(
    "failures-biobj",
    tuple(_task(kind, pair) for kind in FAULTS for pair in PAIRS),
    n_trials=200,
    n_seeds=3,
    several=True,
)

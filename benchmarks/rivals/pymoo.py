"""Algorithms of pymoo for several objectives as Optuna samplers, with a population of 20."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.sms import SMSEMOA
from pymoo.core.evaluator import Evaluator
from pymoo.core.individual import Individual
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.termination import NoTermination
from pymoo.problems.static import StaticProblem

from benchmarks.rivals.unit_cube import PointSampler

ALGORITHMS = {"NSGA2": NSGA2, "SMSEMOA": SMSEMOA}
POPULATION_SIZE = 20
_WORST = 1e20


class PymooSampler(PointSampler):
    """Asks pymoo for each trial's point in the unit cube, and returns the values to it.

    It minimizes. A generation's values are returned together; if a trial begins before, another
    generation is asked for. A trial without values counts as a very bad trial.

    Args:
        algorithm: A name of `ALGORITHMS`.
        space: Every parameter that a trial may have.
        n_objectives: The number of objectives.
        seed: Seed of all draws.
        **options: Options of the algorithm.
    """

    def __init__(
        self,
        algorithm: str,
        space: Mapping[str, BaseDistribution],
        n_objectives: int,
        *,
        seed: int,
        **options: Any,
    ) -> None:
        super().__init__(space)
        self._problem = Problem(n_var=len(space), n_obj=n_objectives, xl=0.0, xu=1.0)
        self._algorithm = ALGORITHMS[algorithm](pop_size=POPULATION_SIZE, **options)
        self._algorithm.setup(self._problem, termination=NoTermination(), seed=seed)
        self._waiting: list[tuple[Individual, list[Individual]]] = []  # With their generations.
        self._asked: dict[int, tuple[Individual, list[Individual]]] = {}  # By number of trial.
        self._values: dict[int, Sequence[float]] = {}  # By id of an individual.

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Take the next point of a generation."""
        if not self._waiting:
            generation = list(self._algorithm.ask())
            self._waiting = [(individual, generation) for individual in generation]
        self._asked[trial.number] = self._waiting.pop(0)

    def point(self, number: int) -> np.ndarray:
        """Return pymoo's point for a trial."""
        individual, _ = self._asked[number]
        return np.asarray(individual.X)

    def tell(self, number: int, values: Sequence[float] | None) -> None:
        """Return the values of a generation to pymoo once all its trials have ended."""
        individual, generation = self._asked.pop(number)
        self._values[id(individual)] = values or [_WORST] * self._problem.n_obj
        if any(id(member) not in self._values for member in generation):
            return
        losses = np.array([self._values.pop(id(member)) for member in generation])
        population = Population.create(*generation)
        Evaluator().eval(StaticProblem(self._problem, F=np.minimum(losses, _WORST)), population)
        self._algorithm.tell(infills=population)

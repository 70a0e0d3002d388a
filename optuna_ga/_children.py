"""Children that are new: candidates are bred, those that were tried are passed over.

What a child becomes depends on the seed, on its number, on the finished trials, and on those that
are running and have lower numbers. If one of these has not been asked for all of its parameters,
the rest is foreseen, since it follows from the same facts. So trials that start together become
the same, whichever is asked first and in whichever process.

Shapes: K candidates, E parents, D parameters.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._archive import Archive
from optuna_ga._draws import generator
from optuna_ga._generations import Generations
from optuna_ga._genes import Gene, from_unit, resolved
from optuna_ga._knowledge import Knowledge
from optuna_ga._variation import Plan

N_UNSCREENED = 8  # Candidates of which the first new one is taken.
_REMEMBERED_CHILDREN = 10_000  # What is forgotten beyond these is bred again.


@dataclass(frozen=True)
class Child:
    """What a trial becomes.

    Attributes:
        archive: The finished trials that were known.
        genes: Its genes on the unit scale, of every parameter that was known.
        plan: The plans of the candidates, of which it is one; None if it was drawn at random.
        candidate: Which of them it is.
        rows: The rows, in the archive, of the trials from which they are bred.
    """

    archive: Archive
    genes: Mapping[str, float] = field(default_factory=dict)
    plan: Plan | None = None
    candidate: int = 0
    rows: Sequence[int] = ()


class Children(ABC):
    """The children of one study. Safe to share between threads.

    Args:
        study: The study.
        generations: Its finished trials.
        seed: Seed of all draws.
        n_fittest: How many of the fittest trials are kept in order.
    """

    def __init__(
        self, study: Study, generations: Generations, *, seed: int, n_fittest: int
    ) -> None:
        self._generations = generations
        self._seed = seed
        self._knowledge = Knowledge(study.directions[0], n_fittest)
        self._children: dict[int, Child] = {}
        self._lock = threading.RLock()

    @abstractmethod
    def _parents_of(self, study: Study, archive: Archive, number: int) -> Sequence[int]:
        """Return the rows of the trials from which a trial is bred; fewer than two for none."""

    @abstractmethod
    def _plan(self, n_parents: int, rng: np.random.Generator) -> Plan:
        """Return the plans of a child's candidates."""

    @abstractmethod
    def _express(
        self,
        archive: Archive,
        plan: Plan,
        rows: Sequence[int],
        name: str,
        distribution: BaseDistribution,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Return one gene of all candidates `(K,)`."""

    @abstractmethod
    def _choose(self, knowledge: Knowledge, children: np.ndarray, plan: Plan) -> int:
        """Return the position of the best of new children `(K, D)`."""

    def gene(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Gene:
        """Return a trial's gene for one parameter."""
        with self._lock:
            child = self._child_of(study, trial)
            if name in child.genes and child.archive.distributions.get(name) == distribution:
                unit = child.genes[name]
            elif child.plan is not None:
                rng = generator(self._seed, trial.number, name)
                units = self._express(
                    child.archive, child.plan, child.rows, name, distribution, rng
                )
                unit = units[child.candidate]
            else:
                unit = self._draw(trial.number, name, distribution)
            return from_unit(distribution, unit)

    def parents(self, study: Study, trial: FrozenTrial) -> list[int]:
        """Return the numbers of a trial's parents, the fittest first; none if it has none."""
        with self._lock:
            child = self._child_of(study, trial)
            if child.plan is None:
                return []
            rows = [child.rows[position] for position in child.plan.parents(child.candidate)]
            return [child.archive.trials[row].number for row in rows]

    def forget(self, number: int) -> None:
        """Forget a trial that has ended."""
        with self._lock:
            self._children.pop(number, None)

    def _child_of(self, study: Study, trial: FrozenTrial) -> Child:
        if trial.number not in self._children:
            finished, running = self._generations.history(study, trial.number)
            knowledge = self._knowledge
            knowledge.update(
                finished, running, lambda number: self._become(study, knowledge, number).genes
            )
            self._become(study, knowledge, trial.number)
            if len(self._children) > _REMEMBERED_CHILDREN:  # Some are never told here.
                del self._children[min(self._children)]
        return self._children[trial.number]

    def _become(self, study: Study, knowledge: Knowledge, number: int) -> Child:
        """Return what a trial becomes, judging by what was known when it was first looked at."""
        if number not in self._children:
            rows = self._parents_of(study, knowledge.archive, number)
            child = self._breed(knowledge, number, rows) if len(rows) > 1 else None
            self._children[number] = child or self._at_random(knowledge, number)
        return self._children[number]

    def _breed(self, knowledge: Knowledge, number: int, rows: Sequence[int]) -> Child:
        """Return a child of these parents, or a random one where nothing bred is new."""
        archive = knowledge.archive
        plan = self._plan(len(rows), generator(self._seed, number))
        columns = [
            self._express(
                archive, plan, rows, name, distribution, generator(self._seed, number, name)
            )
            for name, distribution in archive.distributions.items()
        ]
        candidates = np.column_stack(columns)
        bred = np.flatnonzero(knowledge.new(candidates))
        children = candidates[bred]
        if len(bred) < (1 if len(candidates) == N_UNSCREENED else len(candidates) / 2):
            children = np.vstack([children, knowledge.untried(self._seed, number)])
        if not len(children):  # All has been tried.
            bred, children = np.arange(len(candidates)), candidates
        chosen = self._choose(knowledge, children, plan)
        genes = _by_name(archive, children[chosen])
        if chosen >= len(bred):
            return Child(archive, genes)
        return Child(archive, genes, plan, int(bred[chosen]), rows)

    def _at_random(self, knowledge: Knowledge, number: int) -> Child:
        """Return a child of generation 0, or one where there are no parents yet."""
        distributions = knowledge.archive.distributions
        if not distributions:
            return Child(knowledge.archive)
        drawn = [self._draw(number, name, found) for name, found in distributions.items()]
        children = np.array([drawn])
        if not knowledge.new(children).all():
            children = np.vstack([knowledge.untried(self._seed, number), children])
        return Child(knowledge.archive, _by_name(knowledge.archive, children[0]))

    def _draw(self, number: int, name: str, distribution: BaseDistribution) -> float:
        """Return a gene drawn at random."""
        unit = generator(self._seed, number, name).random()
        return float(resolved(distribution, np.array([unit]))[0])


def _by_name(archive: Archive, units: np.ndarray) -> dict[str, float]:
    """Return genes `(D,)` by their names."""
    return dict(zip(archive.distributions, units.tolist(), strict=True))

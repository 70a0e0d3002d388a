"""Children that are new: candidates are bred, those that were tried are passed over.

What a child becomes depends on the seed, on its number, on the finished trials that are known, and
on those that are running and have lower numbers. If one of these has not been asked for all of its
parameters, the rest is foreseen, since it follows from the same facts. So trials that start
together become the same, whichever is asked first and in whichever process, if all samplers have
the same seed. Genes that a trial has from elsewhere, because they were enqueued or because another
sampler fixes them, are part of what it becomes as soon as they are known.

Shapes: K candidates, E parents, D parameters.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._breeding.adaptive_operators import Plan
from optuna_ga._breeding.known_trials import Knowledge, overwritten
from optuna_ga._population.draws import generator
from optuna_ga._population.generations import Generations
from optuna_ga._population.genes import Gene, from_unit, resolved

N_UNSCREENED = 8  # Candidates, where no model chooses and the first new one is taken.
_REMEMBERED_CHILDREN = 10_000  # What is forgotten beyond these is bred again.


@dataclass(frozen=True)
class Child:
    """What a trial becomes.

    Attributes:
        genes: Its genes on the unit scale, of every parameter that was known.
        distributions: The distributions of these.
        plan: The plan that it follows, of one candidate; None if it was drawn at random.
        rows: The rows, in the archive, of the trials from which it is bred.
        mutated: The genes that were drawn afresh instead of inherited.
    """

    genes: Mapping[str, float]
    distributions: Mapping[str, BaseDistribution]
    plan: Plan | None = None
    rows: Sequence[int] = ()
    mutated: Sequence[str] = ()


class OutdatedError(Exception):
    """Trials have finished since the study was last looked at."""


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
        self._new_knowledge = partial(Knowledge, study.directions[0], n_fittest)
        self._knowledge = self._new_knowledge([])
        self._children: dict[int, Child] = {}
        self._lock = threading.RLock()

    @abstractmethod
    def _parents_of(self, study: Study, number: int) -> Sequence[int]:
        """Return the rows of the trials from which a trial is bred; fewer than two for none.

        Raises:
            OutdatedError: If one is not in the archive yet.
        """

    @abstractmethod
    def _plan(self, n_parents: int, rng: np.random.Generator) -> Plan:
        """Return the plans of a child's candidates."""

    @abstractmethod
    def _express(
        self,
        plan: Plan,
        rows: Sequence[int],
        number: int,
        distributions: Mapping[str, BaseDistribution],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return genes of all candidates `(D, K)`, and which of them are drawn afresh `(D, K)`.

        Each depends on its own name and distribution, not on which others are asked for.

        Args:
            plan: The candidates' plans.
            rows: The rows of the parents in the archive.
            number: The trial's number.
            distributions: The D parameters, by name.
        """

    @abstractmethod
    def _choose(self, children: np.ndarray, plan: Plan) -> int:
        """Return the position of the best of new children `(K, D)`."""

    def gene(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Gene:
        """Return a trial's gene for one parameter."""
        with self._lock:
            child = self._child_of(study, trial)
            return self._value(child, trial.number, name, distribution)

    def parents(self, study: Study, trial: FrozenTrial) -> list[int]:
        """Return the numbers of a trial's parents, the fittest first; none if it has none."""
        with self._lock:
            child = self._child_of(study, trial)
            if child.plan is None:
                return []
            kinds = child.distributions.values()
            choices = any(isinstance(kind, CategoricalDistribution) for kind in kinds)
            trials = self._knowledge.archive.trials
            positions = child.plan.parents(choices=choices)
            return [trials[child.rows[position]].number for position in positions]

    def mutated(self, study: Study, trial: FrozenTrial) -> list[str]:
        """Return the genes that a trial drew afresh, of those that it is expected to be asked."""
        with self._lock:
            return list(self._child_of(study, trial).mutated)

    def forget(self, number: int) -> None:
        """Forget a trial that has ended."""
        with self._lock:
            self._children.pop(number, None)

    def _value(self, child: Child, number: int, name: str, distribution: BaseDistribution) -> Gene:
        """Return a child's gene for one parameter, whether or not it was known."""
        if child.distributions.get(name) == distribution:
            unit = child.genes[name]
        elif child.plan is not None:
            genes, _ = self._express(child.plan, child.rows, number, {name: distribution})
            unit = genes[0, 0]
        else:
            unit = self._draw(number, name, distribution)
        return from_unit(distribution, unit)

    def _child_of(self, study: Study, trial: FrozenTrial) -> Child:
        if trial.number in self._children:
            return self._children[trial.number]
        child = None
        while child is None:
            try:
                self._learn(study, trial.number)
                child = self._become(study, trial)
            except OutdatedError:
                continue
        while len(self._children) > _REMEMBERED_CHILDREN:  # Workers that die never tell.
            del self._children[min(self._children)]
        return child

    def _learn(self, study: Study, number: int) -> None:
        """Take in what has become of the study, for a trial that is asked for its first gene."""
        finished, running = self._generations.history(study, number)
        if finished is not self._knowledge.finished:  # The study was deleted and created anew.
            self._knowledge = self._new_knowledge(finished)
            self._children.clear()
        for trial in self._knowledge.take_in():
            self._children.pop(trial.number, None)  # It may have run in another process.
        self._knowledge.foresee(running, lambda trial: self._become(study, trial).genes)

    def _become(self, study: Study, trial: FrozenTrial) -> Child:
        """Return what a trial becomes, judging by what was known when it was first looked at."""
        if trial.number not in self._children:
            rows = self._parents_of(study, trial.number)
            fixed = self._knowledge.enqueued(trial)
            child = self._new_child(trial.number, rows, fixed)
            if foreign := self._foreign(child, trial):
                has = self._knowledge.archive.encoded(foreign, trial.distributions)
                child = self._new_child(trial.number, rows, np.where(np.isnan(has), fixed, has))
            self._children[trial.number] = child
        return self._children[trial.number]

    def _foreign(self, child: Child, trial: FrozenTrial) -> dict[str, Gene]:
        """Return the parameters that a trial has got but would not get from the child.

        Another sampler chose these, or what is known has changed since they were drawn.
        """
        return {
            name: value
            for name, value in trial.params.items()
            if value != self._value(child, trial.number, name, trial.distributions[name])
        }

    def _new_child(self, number: int, rows: Sequence[int], fixed: np.ndarray) -> Child:
        """Return a child of these parents, or a random one where nothing bred is new.

        Args:
            number: The trial's number.
            rows: The rows of its parents in the archive.
            fixed: Genes `(D,)` that are given, NaN for those that are free.
        """
        if len(rows) < 2 or not len(fixed):
            return self._random_child(number, fixed)
        plan = self._plan(len(rows), generator(self._seed, number))
        distributions = self._knowledge.archive.distributions
        genes, drawn = self._express(plan, rows, number, distributions)
        candidates = overwritten(np.ascontiguousarray(genes.T), fixed)
        bred = np.flatnonzero(self._knowledge.new(candidates))
        children = candidates[bred]
        if len(bred) < (len(candidates) / 2 if plan.screened else 1):
            untried = self._knowledge.untried(self._seed, number, fixed)
            children = np.vstack([children, untried])
        if not len(children):  # All has been tried.
            bred, children = np.arange(len(candidates)), candidates
        chosen = self._choose(children, plan)
        if chosen >= len(bred):
            return self._child(children[chosen])
        which = int(bred[chosen])
        asked = self._knowledge.asked(candidates[which : which + 1])[0]
        mutated = drawn[:, which] & np.isnan(fixed) & ~np.isnan(asked)
        return replace(
            self._child(candidates[which]),
            plan=plan.only(which),
            rows=rows,
            mutated=sorted(
                name for name, is_fresh in zip(distributions, mutated, strict=True) if is_fresh
            ),
        )

    def _random_child(self, number: int, fixed: np.ndarray) -> Child:
        """Return a child of generation 0, or one where there are no parents yet."""
        distributions = self._knowledge.archive.distributions
        if not distributions:
            return Child({}, {})
        drawn = [self._draw(number, name, found) for name, found in distributions.items()]
        children = overwritten(np.array([drawn]), fixed)
        if not self._knowledge.new(children).all():
            untried = self._knowledge.untried(self._seed, number, fixed)
            children = np.vstack([untried, children])
        return self._child(children[0])

    def _child(self, units: np.ndarray) -> Child:
        """Return the child that has these genes `(D,)`."""
        distributions = dict(self._knowledge.archive.distributions)
        return Child(dict(zip(distributions, units.tolist(), strict=True)), distributions)

    def _draw(self, number: int, name: str, distribution: BaseDistribution) -> float:
        """Return a gene drawn at random."""
        unit = generator(self._seed, number, name).random()
        return float(resolved(distribution, np.array([unit]))[0])

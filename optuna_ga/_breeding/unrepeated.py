"""A breeder that repeats no trial: it takes the best new candidate of a `Proposer`.

The values of a failed trial may be tried once more if the proposer takes the failure for chance.

A trial's genes depend on the seed, on its number, on the finished trials that are known, and on
the running trials with lower numbers. A running trial counts as it is predicted to be, however
many of its parameters it has, since its genes follow from the same facts. So trials that start
together get the same genes, whichever asks first and in whichever process, if all samplers have
the same seed. Genes that a trial has from elsewhere, because they were enqueued or because another
sampler fixes them, are taken into account.

Only the newest running trials are known, 256 or a generation if that is more. So trials that dead
workers left running cost a bounded time, and a generation is the same in whichever order it asks.

Shapes: K candidates, D parameters. Genes are positions on the unit scale.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._breeding.breeder import Breeder, Origin, TrialMemory
from optuna_ga._breeding.known.known_trials import KnownTrials
from optuna_ga._breeding.known.untried import overwritten, untried_children
from optuna_ga._breeding.proposer import Candidates, OutdatedError, Proposer
from optuna_ga._population.choices import are_equal
from optuna_ga._population.generations import Generations
from optuna_ga._population.genes import Gene
from optuna_ga._population.unit_scale import from_unit

_MAX_RUNNING = 256

_logger = optuna.logging.get_logger("optuna.sampler")


@dataclass(frozen=True)
class Child:
    """The genes that a trial gets.

    Attributes:
        genes: A gene for every known parameter.
        distributions: The distributions of these parameters.
        bred: The candidate that was chosen; None if the trial is drawn at random.
        mutated: The genes that were drawn afresh instead of inherited.
    """

    genes: Mapping[str, float]
    distributions: Mapping[str, BaseDistribution]
    bred: Candidates | None = None
    mutated: Sequence[str] = ()


class UnrepeatedBreeder(Breeder):
    """Chooses among the candidates of a proposer, passing over repetitions of known trials.

    Args:
        study: The study.
        generations: Its finished trials.
        proposer: Breeds the candidates.
    """

    def __init__(self, study: Study, generations: Generations, proposer: Proposer) -> None:
        super().__init__(generations)
        self._proposer = proposer
        self._n_running = max(_MAX_RUNNING, proposer.population_size)
        self._new_known = partial(KnownTrials, study.directions, proposer.n_fittest)
        self._known = self._new_known([])
        self._is_whole = True  # What is known, unless an update was interrupted.
        self._children: TrialMemory[Child] = TrialMemory()
        self._has_ignored = False  # A trial with a value, the first of which is logged.
        self._unlogged: FrozenTrial | None = None
        self._lock = threading.RLock()

    def gene(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Gene:
        """Return a trial's gene for one parameter."""
        with self._lock:
            child = self._child_of(study, trial)
            value = self._value(child, trial.number, name, distribution)
            seed = self._proposer.seed
            value = self._known.unexhausted(value, trial, name, distribution, seed)
            unlogged, self._unlogged = self._unlogged, None
        if unlogged is not None:  # Without the lock, since handlers may wait.
            _log_ignored(unlogged)
        return value

    def origin(self, study: Study, trial: FrozenTrial) -> Origin:
        """Return the parents, the fittest first, and the mutated genes of known parameters."""
        with self._lock:
            child = self._child_of(study, trial)
            if child.bred is None:
                return Origin([])
            kinds = child.distributions.values()
            choices = any(isinstance(kind, CategoricalDistribution) for kind in kinds)
            trials = self._known.matrix.trials
            parents = [trials[row] for row in child.bred.parents(choices=choices)]
            return Origin(parents, child.mutated)

    def ignored(self, study: Study) -> list[FrozenTrial]:
        """Return the finished trials that the proposer ignores as outliers, by number."""
        with self._lock:
            self._take_in(study, len(study.get_trials(deepcopy=False)))
            matrix = self._known.matrix
            found = [matrix.trials[row] for row in self._proposer.outliers(matrix)]
        return sorted(found, key=lambda trial: trial.number)

    def forget(self, number: int) -> None:
        """Drop the genes of a trial that has ended."""
        with self._lock:
            self._children.pop(number, None)

    def _value(self, child: Child, number: int, name: str, distribution: BaseDistribution) -> Gene:
        """Return a child's gene for one parameter, whether or not the parameter was known."""
        if are_equal(child.distributions.get(name), distribution):
            return from_unit(distribution, child.genes[name])
        if name in child.distributions:
            self._known.matrix.columns.note_varying()
        if child.bred is not None:
            genes, _ = child.bred.genes(self._known.matrix, {name: distribution})
            unit = genes[0, 0]
        else:
            unit = self._proposer.random_gene(number, name, distribution)
        return from_unit(distribution, unit)

    def _child_of(self, study: Study, trial: FrozenTrial) -> Child:
        child = self._children.get(trial.number)
        while child is None:
            try:
                self._learn(study, trial.number)
                child = self._bred(study, trial)
            except OutdatedError:
                continue
        return child

    def _learn(self, study: Study, number: int) -> None:
        """Update the known trials, before a trial gets its first gene."""
        running = self._take_in(study, number)
        matrix = self._known.matrix
        outliers: Sequence[int] = ()
        if matrix.has_failures or number >= self._proposer.population_size:
            outliers = self._proposer.outliers(matrix)
        self._known.forgive([row for row in outliers if matrix.ranks[row] is None])
        if not self._has_ignored:
            ignored = (matrix.trials[row] for row in outliers if matrix.ranks[row] is not None)
            self._unlogged = next(ignored, None)
            self._has_ignored = self._unlogged is not None
        newest = running[-self._n_running :]
        with self._updating():
            self._known.predict(newest, lambda trial: self._bred(study, trial).genes)

    def _take_in(self, study: Study, number: int) -> list[FrozenTrial]:
        """Take in the finished trials, and return the running trials with lower numbers."""
        finished, running = self.generations.history(study, number)
        if finished is not self._known.finished:  # The study was deleted and created anew.
            self._known = self._new_known(finished)
            self._children.clear()
            self._has_ignored = False
        elif not self._is_whole:
            self._known = self._new_known(finished)
        with self._updating():
            arrived = self._known.take_in()
        for trial in arrived:
            self._children.pop(trial.number, None)  # It may have run in another process.
        return running

    @contextmanager
    def _updating(self) -> Iterator[None]:
        """Have all trials taken in anew next time if this is interrupted, as by Ctrl-C."""
        self._is_whole = False
        try:
            yield
        except OutdatedError:  # Nothing is half done.
            self._is_whole = True
            raise
        self._is_whole = True

    def _bred(self, study: Study, trial: FrozenTrial) -> Child:
        """Return the child that a trial becomes, given the trials known at its first gene."""
        child = self._children.get(trial.number)
        if child is not None:
            return child
        candidates = self._proposer.candidates(study, trial.number, self._known)
        fixed = self._known.given(study, trial)
        child = self._new_child(trial.number, candidates, fixed)
        if foreign := self._foreign(child, trial):
            has = self._known.matrix.columns.encoded(foreign, trial.distributions)
            child = self._new_child(trial.number, candidates, np.where(np.isnan(has), fixed, has))
        self._children[trial.number] = child
        return child

    def _foreign(self, child: Child, trial: FrozenTrial) -> dict[str, Gene]:
        """Return the parameters that a trial has, but with other values than the child's.

        Another sampler chose them, or more trials had finished when they were drawn.
        """
        return {
            name: value
            for name, value in trial.params.items()
            if value != self._value(child, trial.number, name, trial.distributions[name])
        }

    def _new_child(self, number: int, candidates: Candidates | None, fixed: np.ndarray) -> Child:
        """Return the best new candidate, or a random child if no candidate is new.

        Args:
            number: The trial's number.
            candidates: The candidates; None if the trial is to be drawn at random.
            fixed: Genes `(D,)` that are given, NaN for free genes.
        """
        if candidates is None or not len(fixed):
            return self._random_child(number, fixed)
        distributions = self._known.matrix.distributions
        genes, fresh = candidates.genes(self._known.matrix, distributions)
        bred = overwritten(np.ascontiguousarray(genes.T), fixed)
        new = np.flatnonzero(self._known.new(bred))
        children = bred[new]
        if len(new) < candidates.n_wanted:
            untried = untried_children(self._known, self._proposer.seed, number, fixed)
            children = np.vstack([children, untried])
        if not len(children):  # Everything has been tried.
            new, children = np.arange(len(bred)), bred
        chosen = candidates.best(self._known, children)
        if chosen >= len(new):
            return self._child(children[chosen])
        which = int(new[chosen])
        present = ~np.isnan(self._known.masked(bred[which : which + 1])[0])
        mutated = fresh[:, which] & np.isnan(fixed) & present
        names = sorted(
            name for name, is_fresh in zip(distributions, mutated, strict=True) if is_fresh
        )
        return self._child(bred[which], candidates.only(which), names)

    def _random_child(self, number: int, fixed: np.ndarray) -> Child:
        """Return a child of generation 0, or of a study without two parents."""
        distributions = self._known.matrix.distributions
        if not distributions:
            return Child({}, {})
        drawn = [
            self._proposer.random_gene(number, name, distribution)
            for name, distribution in distributions.items()
        ]
        children = overwritten(np.array([drawn]), fixed)
        if not self._known.new(children).all():
            untried = untried_children(self._known, self._proposer.seed, number, fixed)
            children = np.vstack([untried, children])
        return self._child(children[0])

    def _child(
        self, units: np.ndarray, bred: Candidates | None = None, mutated: Sequence[str] = ()
    ) -> Child:
        """Return the child that has these genes `(D,)`."""
        distributions = dict(self._known.matrix.distributions)
        genes = dict(zip(distributions, units.tolist(), strict=True))
        return Child(genes, distributions, bred, mutated)


def _log_ignored(trial: FrozenTrial) -> None:
    """Log that a trial with a value is ignored, the first of a study.

    At the default level, since the search leaves out a result that the user gave it.
    """
    values = ", ".join(f"{value:g}" for value in trial.values)
    which = (
        f"its value {values} is" if len(trial.values) == 1 else f"of its values {values} one is"
    )
    _logger.info(
        f"For now the sampler's model leaves out trial {trial.number}, since {which} far worse "
        "than it predicts from the other trials. The trial stays in the study and counts for the "
        "best value, and later results may bring it back to the model. There is nothing to do. "
        "Only the first is logged; `optuna_ga.ignored_trials(study)` returns all."
    )

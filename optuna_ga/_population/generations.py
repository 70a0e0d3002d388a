"""Generations: which trials belong to one, and which trials become the parents of the next.

P is the population size. The generation of a trial is `number // P`: Optuna numbers trials
atomically on every storage, so this needs no scan, no lock and no agreement between workers,
and `n_trials = P * n_generations` is exact.

The pool from which the parents of generation g are selected holds

1. the finished trials of g-1, failed trials included;
2. late trials: trials of generations before g-1 that had not finished when the first trial of g-1
   started, so that earlier pools may have missed them; see `study_trials`;
3. if these are fewer than P, because g-1 is still running, the latest older finished trials, up
   to P in total;
4. if fewer than two trials in the pool have a fitness, because g-1 failed or was interrupted, the
   latest P older trials with a fitness, so that the search resumes where it was.

A single process that runs trial after trial gets exactly generation g-1, unless g-1 failed. With
elitism the pool is every finished trial of the generations before g, with several objectives the
survivors among them; see `elites`. In population-based training
only trials from which training can resume have a fitness. A running trial is never waited for,
since its worker may be dead.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable
from itertools import islice

from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._optuna_internals import is_retry
from optuna_ga._population.elites import Fittest, Survivors
from optuna_ga._population.fitness import fittest, rank
from optuna_ga._population.study_trials import StudyTrials
from optuna_ga._records import recorded_unfinished

_CACHED_GENERATIONS = 16


class Generations:
    """The pools of one study's generations, and their parents. Safe to share between threads.

    Dropping the object costs time and changes nothing.

    Args:
        study: The study.
        population_size: Trials in a generation, P.
        n_parents: The most parents that a generation has, at least 2.
        elitism: Whether the pool is all earlier generations.
        may_be_parent: Whether a finished trial can be a parent if it has a fitness; None: any can.
    """

    def __init__(
        self,
        study: Study,
        *,
        population_size: int,
        n_parents: int,
        elitism: bool,
        may_be_parent: Callable[[FrozenTrial], bool] | None = None,
    ) -> None:
        self._may_be_parent = may_be_parent or (lambda trial: True)
        self._directions = study.directions
        self._population_size = population_size
        self._n_parents = n_parents
        self._elitism = elitism
        self._lock = threading.Lock()
        self._trials = StudyTrials()
        self._begin()

    def _begin(self) -> None:
        self._arrivals = self._trials.arrivals
        self._n_taken_in = 0  # Of the arrivals.
        self._is_whole = True  # No arrivals were being taken in when that was interrupted.
        self._usable: list[int] = []  # Numbers of trials with a fitness, ascending.
        self._elites = self._new_elites() if self._elitism else None
        self._parents: dict[int, tuple[int, list[FrozenTrial]]] = {}

    def _new_elites(self) -> Fittest | Survivors:
        if len(self._directions) > 1:
            return Survivors(self._population_size)
        # More than there are parents, since some may belong to the generation being bred.
        return Fittest(self._n_parents + self._population_size)

    def parents_of(self, generation: int, study: Study) -> list[FrozenTrial]:
        """Return the parents of a generation, the fittest first.

        They are the `n_parents` fittest of its pool, or fewer if fewer have a fitness; none for
        generation 0.
        """
        first = generation * self._population_size
        with self._lock:
            if not self._trials.are_finished(first):
                self._trials.read(study, first)
            self._take_in()
            n_changes, parents = self._parents.get(generation, (-1, []))
            if n_changes != self._trials.n_changes:
                parents = self._select(first)
                self._parents[generation] = self._trials.n_changes, parents
                if len(self._parents) > _CACHED_GENERATIONS:
                    del self._parents[min(self._parents)]
            return parents

    def note_start(self, study: Study, trial: FrozenTrial) -> list[int] | None:
        """Note the earlier trials that have not finished as a trial starts, if pools depend on it.

        Returns:
            Ascending numbers to record; None if there is nothing to record, as for a trial that
            is opened again.
        """
        number = trial.number
        if self._elitism or number % self._population_size:
            return None
        if recorded_unfinished(trial) is not None and not is_retry(trial):
            return None
        with self._lock:
            if self._trials.has_noted(number):
                return None
            self._read(study, number)
            return self._trials.note_start(number)

    def contradict(self, trial: FrozenTrial) -> bool:
        """Return whether a trial of this number has finished that started at another time."""
        known = self._trials.finished.get(trial.number)
        return known is not None and known.datetime_start != trial.datetime_start

    def usable(self, numbers: list[int], study: Study) -> list[FrozenTrial]:
        """Return those of the numbered trials that have finished and can be parents."""
        if not numbers:
            return []
        with self._lock:
            self._read(study, max(numbers) + 1)
            known = self._trials.finished
            finished = [known[number] for number in numbers if number in known]
            return [
                trial
                for trial in finished
                if rank(trial, self._directions) is not None and self._may_be_parent(trial)
            ]

    def history(self, study: Study, end: int) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
        """Return the finished trials, and the running trials below `end` by ascending number.

        The list of finished trials is the same object each time, and only grows, as long as the
        study is the same.
        """
        with self._lock:
            self._read(study, end)
            return self._arrivals, self._trials.running(end)

    def needed(
        self, study: Study, number: int, others: Iterable[int]
    ) -> tuple[set[int], list[FrozenTrial]]:
        """Return the numbers of trials that may yet become parents, and all finished trials.

        The former are the finished trials that the pool of the numbered trial's generation, of a
        later generation, or of the generation of one of `others` may hold. Parents that running
        trials have already chosen are not included: they may come from an earlier pool.
        """
        with self._lock:
            self._read(study, number + 1)
            size = self._population_size
            finished = sorted(self._trials.finished)
            kept = set(finished[bisect_left(finished, number // size * size - size) :])
            for first in {each // size * size for each in (number, *others)}:
                kept.update(self._trials.late(range(max(first - size, 0), first)))
                # P + 1: this fallback is used when the regular pool holds at most one usable
                # trial, which comes on top of the P older ones.
                for numbers, n in ((finished, size), (self._usable, size + 1)):
                    end = bisect_left(numbers, first)
                    kept.update(numbers[max(end - n, 0) : end])
            return kept, list(self._arrivals)

    def _read(self, study: Study, end: int) -> None:
        """Read the trials with numbers below `end`, and note which can be parents."""
        self._trials.read(study, end)
        self._take_in()

    def _take_in(self) -> None:
        """Note which of the arrivals can be parents, all anew if that was interrupted."""
        if self._arrivals is not self._trials.arrivals or not self._is_whole:
            self._begin()
        self._is_whole = False
        for trial in self._arrivals[self._n_taken_in :]:
            key = rank(trial, self._directions)
            if key is not None and self._may_be_parent(trial):
                insort(self._usable, trial.number)
                if self._elites is not None:
                    self._elites.add(key)
        self._n_taken_in = len(self._arrivals)
        self._is_whole = True

    def _select(self, first: int) -> list[FrozenTrial]:
        """Return the parents of the generation whose first trial has the number `first`."""
        if self._elites is not None:
            best = self._elites.best(self._n_parents, first)
            if best is not None:
                return [self._trials.finished[number] for number in best]
            numbers = [number for number in self._trials.finished if number < first]
        else:
            numbers = self._pool(range(max(first - self._population_size, 0), first))
        parents = self._fittest(numbers)
        if len(parents) < 2:
            parents = self._fittest({*numbers, *self._latest_usable(first)})
        return parents

    def _fittest(self, numbers: Iterable[int]) -> list[FrozenTrial]:
        trials = (self._trials.finished[number] for number in numbers)
        usable = filter(self._may_be_parent, trials)
        return fittest(usable, self._n_parents, self._directions)

    def _pool(self, previous: range) -> list[int]:
        numbers = [number for number in previous if number in self._trials.finished]
        numbers += self._trials.late(previous)
        if len(numbers) < self._population_size:
            numbers += self._latest_before(previous.start, numbers)
        return numbers

    def _latest_usable(self, first: int) -> list[int]:
        """Return the latest P trials with a fitness from the generations before g-1."""
        end = bisect_left(self._usable, first - self._population_size)
        return self._usable[max(end - self._population_size, 0) : end]

    def _latest_before(self, end: int, taken: Collection[int]) -> list[int]:
        """Return the latest finished trials before `end` that fill up the pool."""
        known = {*taken}
        earlier = reversed(range(end))
        latest = (n for n in earlier if n in self._trials.finished and n not in known)
        return list(islice(latest, self._population_size - len(taken)))

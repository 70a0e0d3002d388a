"""Generations: which trials belong to one, and which trials become the parents of the next.

P is the population size. The generation of a trial is `number // P`: Optuna numbers trials
atomically on every storage, so this needs no scan, no lock and no agreement between workers,
and `n_trials = P * n_generations` is exact.

The pool from which the parents of generation g are selected holds

1. the finished trials of g-1, failed trials included;
2. late trials: trials of generations before g-1 that had not finished when the first trial of g-1
   started, so that earlier pools may have missed them;
3. if these are fewer than P, because g-1 is still running, the latest older finished trials, up
   to P in total;
4. if fewer than two trials in the pool have a fitness, because g-1 failed or was interrupted, the
   latest P older trials with a fitness, so that the search resumes where it was.

A single process that runs trial after trial gets exactly generation g-1, unless g-1 failed. With
elitism the pool is every finished trial of the generations before g, with several objectives the
survivors among them; see `elites`. In population-based training
only trials from which training can resume have a fitness. A running trial is never waited for,
since its worker may be dead.

The process that starts the first trial of a generation notes which earlier trials it cannot see
finished, and records their numbers on that trial. So lateness is a matter of numbers and of order,
the same in every process and after a restart: clocks that differ or are set back, time zones,
daylight saving and databases that keep whole seconds do not matter. Only where this is not
recorded, because another sampler ran that trial or its process died as it began, times decide: a
trial is late if it completed when the first trial of g-1 (the lowest-numbered trial with a start
time) started or later.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from datetime import datetime

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._optuna_internals import is_retry, read_trials
from optuna_ga._population.elites import Fittest, Survivors
from optuna_ga._population.fitness import fittest, rank
from optuna_ga._records import recorded_unfinished

_CACHED_GENERATIONS = 16


class Generations:
    """The finished trials of one study, by generation. Safe to share between threads.

    Finished trials never change, so each is read once and kept. Dropping the object costs time
    and changes nothing.

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
        self._forget()

    def _forget(self) -> None:
        self._n_known = 0  # Trials with smaller numbers have been looked for.
        self._unfinished: dict[int, float | None] = {}  # Number to start time, if started.
        self._finished: dict[int, FrozenTrial] = {}
        self._arrivals: list[FrozenTrial] = []  # The same trials, in the order they were read.
        self._running: dict[int, FrozenTrial] = {}
        self._completions: list[tuple[float, int]] = []  # (time, number), ascending.
        self._usable: list[int] = []  # Numbers of trials with a fitness, ascending.
        self._elites = self._new_elites() if self._elitism else None
        self._unfinished_at: dict[int, list[int]] = {}  # By the number of a trial that started.
        self._changes = 0  # Counts the events that could change a pool.
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
            if not self._is_over(first):
                self._read(study, first)
            changes, parents = self._parents.get(generation, (-1, []))
            if changes != self._changes:
                parents = self._select(first)
                self._parents[generation] = self._changes, parents
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
            if number in self._unfinished_at:
                return None
            self._read(study, number)
            unfinished = sorted(earlier for earlier in self._unfinished if earlier < number)
            self._unfinished_at[number] = unfinished
            self._changes += 1
            return unfinished

    def contradict(self, trial: FrozenTrial) -> bool:
        """Return whether a trial of this number has finished that started at another time."""
        known = self._finished.get(trial.number)
        return known is not None and known.datetime_start != trial.datetime_start

    def usable(self, numbers: list[int], study: Study) -> list[FrozenTrial]:
        """Return those of the numbered trials that have finished and can be parents."""
        if not numbers:
            return []
        with self._lock:
            self._read(study, max(numbers) + 1)
            finished = [self._finished[number] for number in numbers if number in self._finished]
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
            running = [self._running[number] for number in sorted(self._running) if number < end]
            return self._arrivals, running

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
            finished = sorted(self._finished)
            kept = set(finished[bisect_left(finished, number // size * size - size) :])
            for first in {each // size * size for each in (number, *others)}:
                kept.update(self._late(range(max(first - size, 0), first)))
                # P + 1: this fallback is used when the regular pool holds at most one usable
                # trial, which comes on top of the P older ones.
                for numbers, n in ((finished, size), (self._usable, size + 1)):
                    end = bisect_left(numbers, first)
                    kept.update(numbers[max(end - n, 0) : end])
            return kept, list(self._arrivals)

    def _is_over(self, first: int) -> bool:
        """Return whether all trials with numbers below `first` are known to have finished."""
        return self._n_known >= first and all(number >= first for number in self._unfinished)

    def _read(self, study: Study, end: int) -> None:
        """Update the state of the trials with numbers below `end`."""
        for number in range(self._n_known, end):
            self._unfinished[number] = None
        self._n_known = max(self._n_known, end)
        pending = sorted(number for number in self._unfinished if number < end)
        witness = next(reversed(self._finished.values()), None)
        for trial in read_trials(
            study, pending if witness is None else [witness.number, *pending]
        ):
            if witness is not None and trial.number == witness.number:
                if trial.datetime_complete != witness.datetime_complete:
                    # A finished trial never changes: this is another study with the same id.
                    self._forget()
                    return self._read(study, end)
            elif trial.state.is_finished():
                self._add(trial)
            elif self._running.get(trial.number) is not trial:
                self._note_start(trial)

    def _note_start(self, trial: FrozenTrial) -> None:
        if trial.state == TrialState.RUNNING:
            before = self._running.get(trial.number)
            self._running[trial.number] = trial
            if before is not None and recorded_unfinished(before) != recorded_unfinished(trial):
                self._changes += 1
        start = _started(trial)
        if start != self._unfinished[trial.number]:
            self._unfinished[trial.number] = start
            self._changes += 1

    def _add(self, trial: FrozenTrial) -> None:
        assert trial.datetime_complete is not None
        completion = _seconds(trial.datetime_complete), trial.number
        key = rank(trial, self._directions)
        if key is not None and self._may_be_parent(trial):
            insort(self._usable, trial.number)
            if self._elites is not None:
                self._elites.add(key)
        insort(self._completions, completion)
        self._finished[trial.number] = trial
        self._arrivals.append(trial)
        self._running.pop(trial.number, None)
        del self._unfinished[trial.number]
        self._changes += 1

    def _select(self, first: int) -> list[FrozenTrial]:
        """Return the parents of the generation whose first trial has the number `first`."""
        if self._elites is not None:
            best = self._elites.best(self._n_parents, first)
            if best is not None:
                return [self._finished[number] for number in best]
            numbers = [number for number in self._finished if number < first]
        else:
            numbers = self._pool(range(max(first - self._population_size, 0), first))
        parents = self._fittest(numbers)
        if len(parents) < 2:
            parents = self._fittest({*numbers, *self._latest_usable(first)})
        return parents

    def _fittest(self, numbers: Iterable[int]) -> list[FrozenTrial]:
        trials = (self._finished[number] for number in numbers)
        usable = filter(self._may_be_parent, trials)
        return fittest(usable, self._n_parents, self._directions)

    def _pool(self, previous: range) -> list[int]:
        numbers = [number for number in previous if number in self._finished]
        numbers += self._late(previous)
        if len(numbers) < self._population_size:
            numbers += self._latest_before(previous.start, numbers)
        return numbers

    def _latest_usable(self, first: int) -> list[int]:
        """Return the latest P trials with a fitness from the generations before g-1."""
        end = bisect_left(self._usable, first - self._population_size)
        return self._usable[max(end - self._population_size, 0) : end]

    def _late(self, previous: range) -> list[int]:
        """Return the finished trials that had not finished when a generation's first started."""
        unfinished = self._unfinished_when_started(previous.start)
        if unfinished is not None:
            return [number for number in unfinished if number in self._finished]
        start = self._first_start(previous)
        if start is None:
            return []
        after = bisect_left(self._completions, (start, 0))
        return [number for _, number in self._completions[after:] if number < previous.start]

    def _unfinished_when_started(self, number: int) -> list[int] | None:
        """Return the trials that had not finished when a trial started; None if unknown."""
        if number in self._unfinished_at:
            return self._unfinished_at[number]
        trial = self._finished.get(number) or self._running.get(number)
        return None if trial is None else recorded_unfinished(trial)

    def _first_start(self, numbers: range) -> float | None:
        """Return the start time of the first of these trials that has one."""
        for number in numbers:
            trial = self._finished.get(number)
            start = self._unfinished.get(number) if trial is None else _started(trial)
            if start is not None:
                return start
        return None

    def _latest_before(self, end: int, taken: list[int]) -> list[int]:
        missing = self._population_size - len(taken)
        latest: list[int] = []
        known = {*taken}
        for number in range(end - 1, -1, -1):
            if len(latest) == missing:
                break
            if number in self._finished and number not in known:
                latest.append(number)
        return latest


def _started(trial: FrozenTrial) -> float | None:
    return None if trial.datetime_start is None else _seconds(trial.datetime_start)


def _seconds(time: datetime) -> float:
    try:
        return time.timestamp()
    except (OSError, OverflowError, ValueError):  # Out of the platform's range.
        return math.copysign(math.inf, time.year - 1970)

"""The trials of a study as they are read: which have finished, and which finished late.

The process that starts the first trial of a generation notes which earlier trials it cannot see
finished, and records their numbers on that trial. So lateness is a matter of numbers and of order,
the same in every process and after a restart: clocks that differ or are set back, time zones,
daylight saving and databases that keep whole seconds do not matter. Only where this is not
recorded, because another sampler ran that trial or its process died as it began, times decide: a
trial is late if it completed when the first trial of the generation (the lowest-numbered trial
with a start time) started or later.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from datetime import datetime

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._optuna_internals import read_trials
from optuna_ga._records import recorded_unfinished


class StudyTrials:
    """The trials of one study, read bit by bit. Not safe to share between threads.

    Finished trials never change, so each is read once and kept.

    Attributes:
        finished: The finished trials, by number.
        arrivals: The same trials, in the order they were read. The list only grows. It is another
            list once the study has turned out to be another one with the same id.
        n_changes: Counts what could change which trials are finished or late.
    """

    def __init__(self) -> None:
        self.n_changes = 0
        self._forget()

    def _forget(self) -> None:
        self.n_changes += 1
        self.finished: dict[int, FrozenTrial] = {}
        self.arrivals: list[FrozenTrial] = []
        self._n_known = 0  # Trials with smaller numbers have been looked for.
        self._unfinished: dict[int, float | None] = {}  # Number to start time, if started.
        self._running: dict[int, FrozenTrial] = {}
        self._completions: list[tuple[float, int]] = []  # (time, number), ascending.
        self._unfinished_at: dict[int, list[int]] = {}  # By the number of a trial that started.
        self._is_whole = True  # No trial was being taken over when a read was interrupted.

    def read(self, study: Study, end: int) -> None:
        """Update the state of the trials with numbers below `end`."""
        if not self._is_whole:
            self._forget()
        for number in range(self._n_known, end):
            self._unfinished[number] = None
        self._n_known = max(self._n_known, end)
        pending = sorted(number for number in self._unfinished if number < end)
        witness = self.arrivals[-1] if self.arrivals else None
        for trial in read_trials(
            study, pending if witness is None else [witness.number, *pending]
        ):
            if witness is not None and trial.number == witness.number:
                if trial.datetime_complete != witness.datetime_complete:
                    # A finished trial never changes: this is another study with the same id.
                    self._forget()
                    return self.read(study, end)
            elif self._running.get(trial.number) is not trial:
                self._is_whole = False
                self._take_over(trial)
                self._is_whole = True

    def are_finished(self, end: int) -> bool:
        """Return whether all trials with numbers below `end` are known to have finished."""
        are_known = self._is_whole and self._n_known >= end
        return are_known and all(number >= end for number in self._unfinished)

    def running(self, end: int) -> list[FrozenTrial]:
        """Return the running trials with numbers below `end`, by ascending number."""
        return [self._running[number] for number in sorted(self._running) if number < end]

    def has_noted(self, number: int) -> bool:
        """Return whether it was noted which trials had not finished as a trial started."""
        return number in self._unfinished_at

    def note_start(self, number: int) -> list[int]:
        """Note the earlier trials that have not finished as a trial starts, and return them."""
        unfinished = sorted(earlier for earlier in self._unfinished if earlier < number)
        self._unfinished_at[number] = unfinished
        self.n_changes += 1
        return unfinished

    def late(self, generation: range) -> list[int]:
        """Return the earlier trials that finished after a generation's first trial had started."""
        unfinished = self._unfinished_when_started(generation.start)
        if unfinished is not None:
            return [number for number in unfinished if number in self.finished]
        start = self._first_start(generation)
        if start is None:
            return []
        after = bisect_left(self._completions, (start, 0))
        return [number for _, number in self._completions[after:] if number < generation.start]

    def _take_over(self, trial: FrozenTrial) -> None:
        """Keep a finished trial, or what has changed in another one."""
        if trial.state.is_finished():
            self._add(trial)
            return
        if trial.state == TrialState.RUNNING:
            before = self._running.get(trial.number)
            self._running[trial.number] = trial
            if before is not None and recorded_unfinished(before) != recorded_unfinished(trial):
                self.n_changes += 1
        start = _started(trial)
        if start != self._unfinished[trial.number]:
            self._unfinished[trial.number] = start
            self.n_changes += 1

    def _add(self, trial: FrozenTrial) -> None:
        assert trial.datetime_complete is not None
        insort(self._completions, (_seconds(trial.datetime_complete), trial.number))
        self.finished[trial.number] = trial
        self.arrivals.append(trial)
        self._running.pop(trial.number, None)
        del self._unfinished[trial.number]
        self.n_changes += 1

    def _unfinished_when_started(self, number: int) -> list[int] | None:
        """Return the trials that had not finished when a trial started; None if unknown."""
        if number in self._unfinished_at:
            return self._unfinished_at[number]
        trial = self.finished.get(number) or self._running.get(number)
        return None if trial is None else recorded_unfinished(trial)

    def _first_start(self, numbers: range) -> float | None:
        """Return the start time of the first of these trials that has one."""
        for number in numbers:
            trial = self.finished.get(number)
            start = self._unfinished.get(number) if trial is None else _started(trial)
            if start is not None:
                return start
        return None


def _started(trial: FrozenTrial) -> float | None:
    return None if trial.datetime_start is None else _seconds(trial.datetime_start)


def _seconds(time: datetime) -> float:
    try:
        return time.timestamp()
    except (OSError, OverflowError, ValueError):  # Out of the platform's range.
        return math.copysign(math.inf, time.year - 1970)

"""Which trials could become parents, told naively from a study by the rules alone.

This reads what Optuna recorded, numbers, states, values and times, and not what the sampler
computed, so it checks the sampler and does not repeat it. A trial sees what had finished when it
started. What finished within a second before is left open: it may have been written later than it
says.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain

from optuna.trial import FrozenTrial, TrialState

_UNSURE = timedelta(seconds=1)


def parents(trial: FrozenTrial) -> list[int]:
    """Return the numbers of a trial's recorded parents."""
    numbers: list[int] = trial.user_attrs.get("ga_parents", [])
    return numbers


def usable(trial: FrozenTrial) -> bool:
    """Return whether a trial has a fitness."""
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def fitness(trial: FrozenTrial, maximize: bool = False) -> tuple[float, ...]:
    """Return the rank of a complete or pruned trial, smaller for the fitter."""
    sign = -1.0 if maximize else 1.0
    violation = sum(value for value in trial.constraints.values() if value > 0)
    if trial.state == TrialState.COMPLETE:
        assert trial.value is not None
        return violation, 0, 0, sign * trial.value, trial.number
    if trial.last_step is None:
        return violation, 2, 0, 0, trial.number
    report = trial.intermediate_values[trial.last_step]
    loss = math.inf if math.isnan(report) else sign * report
    return violation, 1, -trial.last_step, loss, trial.number


def finished_by(trials: Iterable[FrozenTrial], time: datetime) -> list[FrozenTrial]:
    """Return the trials that had finished at a time."""
    return [t for t in trials if t.datetime_complete is not None and t.datetime_complete <= time]


def passed_over(trials: Sequence[FrozenTrial], size: int, n_parents: int) -> int:
    """Return how many recorded parents were not among the best of all that had surely finished.

    That is what elitism promises: a finished trial that is fitter is a candidate for good.
    """
    count = 0
    for trial in trials:
        if not parents(trial):
            continue
        earlier = trials[: trial.number // size * size]
        assert trial.datetime_start is not None
        known = [t for t in finished_by(earlier, trial.datetime_start - _UNSURE) if usable(t)]
        keys = sorted(map(fitness, known))[:n_parents]
        if len(keys) == n_parents:
            count += sum(fitness(trials[number]) > keys[-1] for number in parents(trial))
    return count


def without_parents(trials: Sequence[FrozenTrial], size: int) -> int:
    """Return how many trials drew at random though two earlier ones had surely finished."""
    count = 0
    for trial in trials:
        if trial.datetime_start is None or parents(trial) or not trial.params:
            continue
        earlier = trials[: trial.number // size * size]
        known = finished_by(earlier, trial.datetime_start - _UNSURE)
        count += sum(map(usable, known)) >= 2
    return count


def never_candidates(trials: Sequence[FrozenTrial], size: int, elitism: bool) -> tuple[int, int]:
    """Return how many usable trials were in no later trial's pool, and of how many.

    This says what the rules come to under such a load; whether the sampler follows the rules is
    what `passed_over` and `from_outside` say. Trials that finished after the last trial of a later
    generation had begun do not count.
    """
    seen: set[int] = set()
    asking = [trial for trial in trials if trial.params and trial.datetime_start is not None]
    for trial in asking:
        at_start = pool(trials, trial.number, size, elitism, trial.datetime_start)
        seen.update(t.number for t in at_start)
    last = {trial.number // size: trial.datetime_start for trial in asking}
    judged = [
        trial
        for trial in trials
        if usable(trial)
        and any(
            generation > trial.number // size and start > trial.datetime_complete
            for generation, start in last.items()
            if start is not None and trial.datetime_complete is not None
        )
    ]
    return sum(trial.number not in seen for trial in judged), len(judged)


def from_outside(trials: Sequence[FrozenTrial], size: int, elitism: bool) -> int:
    """Return how many recorded parents were not in the trial's pool.

    Neither when it started, nor whenever the pool changed from a second before until its end.
    """
    count = 0
    completions = [t.datetime_complete for t in trials if t.datetime_complete is not None]
    for trial in trials:
        if not parents(trial) or trial.datetime_complete is None:
            continue
        assert trial.datetime_start is not None
        missing = set(parents(trial))
        earliest = trial.datetime_start - _UNSURE
        changes = (time for time in completions if earliest < time <= trial.datetime_complete)
        for time in chain([trial.datetime_start, earliest], changes):
            possible = pool(trials, trial.number, size, elitism, time)
            missing.difference_update(t.number for t in possible)
            if not missing:
                break
        count += len(missing)
    return count


def pool(
    trials: Sequence[FrozenTrial],
    number: int,
    size: int,
    elitism: bool,
    time: datetime | None = None,
    unfinished: Mapping[int, Collection[int]] | None = None,
) -> list[FrozenTrial]:
    """Return the pool of trial `number`, as it was at a time or, without one, as it is.

    Args:
        trials: All trials of the study.
        number: The trial's number.
        size: Trials in a generation.
        elitism: Whether the pool is all earlier generations.
        time: The time.
        unfinished: The earlier trials that had not finished when a trial started, by its number,
            where that is known; else the times say it.
    """
    first = number // size * size
    earlier = finished_by(trials[:first], time or datetime.max)
    if elitism:
        return earlier
    before = max(first - size, 0)
    late = _late(trials, range(before, first), unfinished or {})
    chosen = [t for t in earlier if t.number >= before or t.number in late]
    rest = [t for t in reversed(earlier) if t.number < before and t.number not in late]
    chosen += rest[: max(size - len(chosen), 0)]
    if sum(map(usable, chosen)) >= 2:
        return chosen
    return chosen + [t for t in earlier if t.number < before and usable(t)][-size:]


def _late(
    trials: Sequence[FrozenTrial], previous: range, unfinished: Mapping[int, Collection[int]]
) -> Collection[int]:
    if previous.start in unfinished:
        return unfinished[previous.start]
    starts = [t.datetime_start for t in trials[previous.start : previous.stop] if t.datetime_start]
    earlier = trials[: previous.start] if starts else []
    return {t.number for t in earlier if t.datetime_complete and t.datetime_complete >= starts[0]}

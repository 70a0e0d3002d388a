"""Every private name of Optuna that this package touches, so that an update breaks one file.

Optuna hands a sampler either a `Study` or, under Hyperband, a study-like object that shows a
single bracket and has few attributes. The names used here exist on both.
"""

from __future__ import annotations

import pickle
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from traceback import walk_tb
from typing import Any

from optuna import Trial, load_study
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler, PartialFixedSampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._checks import check_study

_FEW = 4
_FEW_IN_MEMORY = 64
_LISTED_AT_ONCE = 256  # Looking up a trial in memory takes as long as listing so many.
_EARLY_RESULT = "ga_early_result"
_EARLY_STOP = "ga_early_stop"
_REFUSALS = (
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    RecursionError,
    UpdateFinishedTrialError,
)


def locate(study: Study) -> tuple[BaseStorage, int]:
    """Return the storage and the study's id there, which together identify the study."""
    return study._storage, study._study_id


def only_direction(study: Study, taker: str, instead: str) -> StudyDirection:
    """Return the direction of a study with one objective.

    Args:
        study: The study.
        taker: What takes such studies only, for the message of the error.
        instead: A sentence for this message that says what to use with several objectives.

    Raises:
        TypeError: If it is not a study.
        ValueError: If it has several objectives.
    """
    check_study(study)
    directions = study.directions
    if len(directions) > 1:
        raise ValueError(
            f"{taker} takes one objective, but the study has {len(directions)}. {instead}"
        )
    return directions[0]


def read_trials(study: Study, numbers: Sequence[int]) -> Iterator[FrozenTrial]:
    """Yield the numbered trials that exist, from every bracket of a Hyperband study.

    Trials are looked up one by one where that is cheaper than listing the study: if there are few,
    or, in memory, few among many.

    Args:
        study: The study.
        numbers: The trials' numbers; the last is the highest.
    """
    storage, study_id = locate(study)
    few = _FEW
    if isinstance(storage, InMemoryStorage) and numbers:
        few = max(_FEW_IN_MEMORY, numbers[-1] // _LISTED_AT_ONCE)
    if len(numbers) <= few:
        for number in numbers:
            try:
                trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
            except KeyError:
                continue
            yield storage.get_trial(trial_id)
        return
    trials = study._get_trials(deepcopy=False)
    # A trial that another process is creating may be missing; then position is not number.
    none_is_missing = not trials or trials[-1].number == len(trials) - 1
    for number in numbers:
        position = (
            number if none_is_missing else bisect_left(trials, number, key=attrgetter("number"))
        )
        if position < len(trials) and trials[position].number == number:
            yield trials[position]


def enqueued_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters enqueued with a trial, whether or not they are suggested yet."""
    fixed = trial.system_attrs.get("fixed_params")
    return fixed if isinstance(fixed, dict) else {}


def given_params(study: Study, trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters whose values are given: enqueued, or fixed by the study's sampler."""
    return _unwrapped(study)[1] | enqueued_params(trial)


def free_sampler(study: Study) -> BaseSampler | None:
    """Return the study's sampler, or the one to which a `PartialFixedSampler` leaves the rest."""
    return _unwrapped(study)[0]


def _unwrapped(study: Study) -> tuple[BaseSampler | None, dict[str, Any]]:
    fixed: dict[str, Any] = {}
    sampler = getattr(study, "sampler", None)
    while isinstance(sampler, PartialFixedSampler):
        fixed = sampler._fixed_params | fixed
        sampler = sampler._base_sampler
    return sampler, fixed


def is_retry(trial: FrozenTrial) -> bool:
    """Return whether the trial repeats a trial whose heartbeat stopped."""
    return "failed_trial" in trial.system_attrs  # Written by Optuna's retry callback.


def stored(study: Study, trial: Trial | FrozenTrial) -> FrozenTrial:
    """Return a trial as it is in the storage now; Optuna hands samplers an older copy."""
    return study._storage.get_trial(trial._trial_id)


def write_on_trial(
    study: Study, trial: FrozenTrial, key: str, value: int | Sequence[int] | Sequence[str]
) -> None:
    """Write a user attribute of a running trial."""
    study._storage.set_trial_user_attr(trial._trial_id, key, value)


def write_hidden_on_trial(
    study: Study, trial: FrozenTrial, key: str, value: Sequence[int]
) -> None:
    """Write a system attribute of a running trial, which optuna-dashboard does not show."""
    study._storage.set_trial_system_attr(trial._trial_id, key, value)


def write_on_study(study: Study, key: str, value: int | str) -> None:
    """Write a user attribute of the study."""
    storage, study_id = locate(study)
    storage.set_study_user_attr(study_id, key, value)


def study_attr(study: Study, key: str) -> Any:
    """Return a user attribute of the study, None if it has none by this name."""
    storage, study_id = locate(study)
    return storage.get_study_user_attrs(study_id).get(key)


class ResumedTrial(Trial):
    """A running trial that is evaluated again, under its own number.

    It keeps its parameters, and ignores reports of steps that have one: Optuna would warn. Its
    pruner is shown the steps up to where this evaluation has come, not what came later before.

    Attributes:
        early_result: The value that `write_early_result` wrote; None if it wrote none.
        early_stop: Whether `write_early_stop` was called.
    """

    def __init__(self, study: Study, trial: FrozenTrial) -> None:
        super().__init__(study, trial._trial_id)
        self._reported = set(trial.intermediate_values)
        self._step = -1  # The last one that this evaluation has come to.
        self.early_result: Any = trial.system_attrs.get(_EARLY_RESULT)
        self.early_stop = trial.system_attrs.get(_EARLY_STOP) is True

    def report(self, value: float, step: int) -> None:
        """Report an intermediate value unless the step has one."""
        if step not in self._reported:
            super().report(value, step)
        self._step = max(step, self._step)

    def _get_latest_trial(self) -> FrozenTrial:
        """Return a copy of the trial, for the pruner."""
        latest = super()._get_latest_trial()
        reports = latest.intermediate_values
        latest.intermediate_values = {s: v for s, v in reports.items() if s <= self._step}
        return latest


def running_numbers(study: Study) -> list[int]:
    """Return the numbers of the running trials, those of all brackets of a Hyperband study."""
    running = study._get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [trial.number for trial in running]


def running_trials(study: Study) -> list[Trial]:
    """Return the running trials, ready to be evaluated again."""
    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    return [ResumedTrial(study, trial) for trial in running]


def write_early_result(trial: Trial, value: Any) -> None:
    """Write the result of a running trial that stays running, as a value that JSON can hold."""
    trial.study._storage.set_trial_system_attr(trial._trial_id, _EARLY_RESULT, value)


def early_result(trial: Trial) -> Any:
    """Return the value that `write_early_result` wrote before the trial was resumed, or None."""
    return trial.early_result if isinstance(trial, ResumedTrial) else None


def write_early_stop(trial: Trial) -> None:
    """Write on a running trial that its study was stopped while it ran."""
    trial.study._storage.set_trial_system_attr(trial._trial_id, _EARLY_STOP, True)


def was_stopped(trial: Trial) -> bool:
    """Return whether `write_early_stop` was called before the trial was resumed."""
    return isinstance(trial, ResumedTrial) and trial.early_stop


def is_storage_error(error: BaseException) -> bool:
    """Return whether a storage raised the error because it was out of reach.

    A storage also raises errors about the values that it is given; those blame the caller.
    """
    from sqlalchemy.exc import DataError  # SQLAlchemy takes long to import.

    if isinstance(error, _REFUSALS) or isinstance(error.__cause__, DataError):
        return False
    return _passed(error, BaseStorage)


def is_sampler_error(error: BaseException) -> bool:
    """Return whether a sampler raised the error."""
    return _passed(error, BaseSampler)


def _passed(error: BaseException, kind: type) -> bool:
    """Return whether the error passed a method of an object of this kind."""
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    return any(isinstance(frame.f_locals.get("self"), kind) for frame in frames)


@contextmanager
def optimization_loop(study: Study) -> Iterator[None]:
    """Let `study.stop()` work, as it does inside `study.optimize`.

    Raises:
        RuntimeError: If this thread is optimizing the study already.
    """
    if study._thread_local.in_optimize_loop:
        raise RuntimeError("The study is already being optimized in this thread.")
    study._thread_local.in_optimize_loop = True
    study._stop_flag = False
    try:
        yield
    finally:
        study._thread_local.in_optimize_loop = False


@contextmanager
def in_objective(study: Study) -> Iterator[None]:
    """Let `study.stop()` work in a worker's thread, for the loop of another thread.

    Optuna's per-thread cache of the trials is dropped first.
    """
    study._thread_local.cached_all_trials = None
    before = study._thread_local.in_optimize_loop
    study._thread_local.in_optimize_loop = True
    try:
        yield
    finally:
        study._thread_local.in_optimize_loop = before


def is_stopped(study: Study) -> bool:
    """Return whether `study.stop()` was called."""
    return study._stop_flag


def in_memory(study: Study) -> bool:
    """Return whether the study exists in this process only."""
    backend = _backend(study)
    if isinstance(backend, RDBStorage):
        url = backend.engine.url
        return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")
    return isinstance(backend, InMemoryStorage)


def packed(study: Study) -> bytes:
    """Return bytes from which another process opens the study, without this process's cache."""
    return pickle.dumps((_backend(study), study.study_name, study.sampler, study.pruner))


def _backend(study: Study) -> BaseStorage:
    """Return the study's storage without Optuna's cache in front of it."""
    storage = study._storage
    return storage._backend if isinstance(storage, _CachedStorage) else storage


def unpacked(study: bytes) -> Study:
    """Return the study that was packed, opened anew."""
    storage, name, sampler, pruner = pickle.loads(study)
    return load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)


def trial_id(trial: Trial) -> int:
    """Return the trial's id in its storage."""
    return trial._trial_id


def resumed_trial(study: Study, trial_id: int) -> ResumedTrial:
    """Return a trial that another process asked for."""
    study.get_trials(deepcopy=False, states=())  # A database takes parameters of listed trials.
    return ResumedTrial(study, study._storage.get_trial(trial_id))

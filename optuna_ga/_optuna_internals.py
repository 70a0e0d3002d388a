"""What the package reads from and writes to a study, in storage terms.

Optuna hands a sampler either a `Study` or, under Hyperband, an object like one that shows a
single bracket and has few attributes. The names used here exist on both; every private name of
Optuna that this package touches stands in this file.
"""

from __future__ import annotations

import pickle
from bisect import bisect_left
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any

from optuna import Trial, load_study
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

GENERATION = "ga_generation"
PARENTS = "ga_parents"
MUTATED = "ga_mutated"
POPULATION_SIZE = "ga_population_size"
CHECKPOINT = "ga_checkpoint"

_FEW = 4


def locate(study: Study) -> tuple[BaseStorage, int]:
    """Return the storage and the study's id there, which together identify the study."""
    return study._storage, study._study_id


def only_direction(study: Study) -> StudyDirection:
    """Return the direction of a study with one objective.

    Raises:
        ValueError: If it has several.
    """
    directions = study.directions
    if len(directions) > 1:
        raise ValueError(
            f"GASampler optimizes one objective, but the study has {len(directions)}. "
            "Use optuna.samplers.NSGAIISampler for several."
        )
    return directions[0]


def read_trials(study: Study, numbers: Collection[int]) -> Iterator[FrozenTrial]:
    """Yield those of the numbered trials that exist, in every bracket of a Hyperband study.

    One look at the study, whatever the count; but in memory, and where they are few, looking
    them up is cheaper than taking the list of all.
    """
    storage, study_id = locate(study)
    if isinstance(storage, InMemoryStorage) or len(numbers) <= _FEW:
        for number in numbers:
            try:
                trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
            except KeyError:
                continue
            yield storage.get_trial(trial_id)
        return
    trials = study._get_trials(deepcopy=False)
    for number in numbers:
        # A trial that another process is creating may be missing, so position is not number.
        position = bisect_left(trials, number, key=attrgetter("number"))
        if position < len(trials) and trials[position].number == number:
            yield trials[position]


def recorded_parents(study: Study, trial: FrozenTrial) -> list[int]:
    """Return the numbers of the parents that a trial got earlier, if it did.

    It did if it was half suggested when its process died, or if it retries such a trial. A trial
    that has parameters may have got them from another sampler object. What that one recorded is
    in the storage, but not in the copy of the trial that Optuna hands on.
    """
    if trial.params:
        trial = study._storage.get_trial(trial._trial_id)
    return parents_shown(trial)


def parents_shown(trial: FrozenTrial) -> list[int]:
    """Return the parents that a trial shows, unless they are of a study it was copied from."""
    parents: list[int] = trial.user_attrs.get(PARENTS, [])
    return list(parents) if all(number < trial.number for number in parents) else []


def enqueued_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters that were enqueued with a trial, whether or not it got them yet."""
    fixed: dict[str, Any] = trial.system_attrs.get("fixed_params", {})
    return fixed


def is_retry(trial: FrozenTrial) -> bool:
    """Return whether the trial repeats one whose heartbeat stopped."""
    return "failed_trial" in trial.system_attrs  # Where Optuna's retry callback notes it.


def record_on_trial(
    study: Study, trial: FrozenTrial, key: str, value: int | list[int] | list[str]
) -> None:
    """Write a user attribute of a running trial."""
    study._storage.set_trial_user_attr(trial._trial_id, key, value)


def record_on_study(study: Study, key: str, value: int) -> None:
    """Write a user attribute of the study unless it has this value already."""
    storage, study_id = locate(study)
    if storage.get_study_user_attrs(study_id).get(key) != value:
        storage.set_study_user_attr(study_id, key, value)


class ResumedTrial(Trial):
    """A running trial that is evaluated again, under its own number.

    It has the parameters that it got before, and passes over steps that it reported before,
    about which Optuna would warn.
    """

    def __init__(self, study: Study, trial: FrozenTrial) -> None:
        super().__init__(study, trial._trial_id)
        self._reported = set(trial.intermediate_values)

    def report(self, value: float, step: int) -> None:
        """Report an intermediate value unless the step has one."""
        if step not in self._reported:
            super().report(value, step)


def running_trials(study: Study) -> list[Trial]:
    """Return the running trials, ready to be evaluated again."""
    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    return [ResumedTrial(study, trial) for trial in running]


@contextmanager
def optimization_loop(study: Study) -> Iterator[None]:
    """Let `study.stop()` work, as it does inside of `study.optimize`.

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
    """Let a worker's thread evaluate a trial for the loop of another: `study.stop()` works.

    What Optuna remembers of the trials from one ask to the next, for each thread, starts anew.
    """
    study._thread_local.cached_all_trials = None
    before = study._thread_local.in_optimize_loop
    study._thread_local.in_optimize_loop = True
    try:
        yield
    finally:
        study._thread_local.in_optimize_loop = before


def is_stopped(study: Study, *, reset: bool = False) -> bool:
    """Return whether `study.stop()` was called, and forget it if wanted."""
    stopped = study._stop_flag
    if reset:
        study._stop_flag = False
    return stopped


def in_memory(study: Study) -> bool:
    """Return whether the study is in this process alone."""
    backend = _backend(study)
    if isinstance(backend, RDBStorage):
        url = backend.engine.url
        return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")
    return isinstance(backend, InMemoryStorage)


def packed(study: Study) -> bytes:
    """Return what another process needs to open the study, without what is cached of it here."""
    return pickle.dumps((_backend(study), study.study_name, study.sampler, study.pruner))


def _backend(study: Study) -> BaseStorage:
    """Return the study's storage without Optuna's cache in front of it."""
    storage = study._storage
    return storage._backend if isinstance(storage, _CachedStorage) else storage


def unpacked(study: bytes) -> Study:
    """Return the study that `packed` was given, opened anew."""
    storage, name, sampler, pruner = pickle.loads(study)
    return load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)


def stored(trial: Trial) -> FrozenTrial:
    """Return a trial as the storage has it, rather than as it was when it started."""
    return trial.study._storage.get_trial(trial._trial_id)


def trial_id(trial: Trial) -> int:
    """Return the trial's id in its storage."""
    return trial._trial_id


def resumed_trial(study: Study, trial_id: int) -> ResumedTrial:
    """Return a trial that another process has asked for."""
    study.get_trials(deepcopy=False, states=())  # A database takes parameters of listed trials.
    return ResumedTrial(study, study._storage.get_trial(trial_id))

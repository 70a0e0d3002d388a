"""An objective that is evaluated in a worker, and what the worker sends back."""

from __future__ import annotations

import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from copy import copy
from multiprocessing import connection, current_process, parent_process
from pathlib import Path
from threading import Lock, Thread, local
from time import sleep
from traceback import format_exception
from typing import Any, NamedTuple

from optuna import Trial, TrialPruned
from optuna.study import Study

from optuna_ga._checks import shown
from optuna_ga._optuna_internals import (
    in_objective,
    is_stopped,
    is_storage_error,
    resumed_trial,
    unpacked,
)
from optuna_ga._running.outcome import NoResult, interrupts, plain, text_of

Objective = Callable[[Trial], Any]

# Studies that a process keeps open at once; the oldest is dropped and opened again when needed.
MAX_OPEN_STUDIES = 4

_SECONDS_BETWEEN_LOOKS = 1.0  # At the driver.


class Evaluation(NamedTuple):
    """The outcome of one call of the objective.

    Attributes:
        result: The objective's return value, the exception that it raised, or a `NoResult`.
        stops: Whether the objective called `study.stop()` in another process.
    """

    result: Any
    stops: bool = False


def evaluation_of(future: Future[Evaluation]) -> Evaluation:
    """Return a future's evaluation; the objective's exceptions are results, others are not."""
    try:
        error = future.exception()
    except CancelledError as cancelled:
        error = cancelled
    return future.result() if error is None else Evaluation(NoResult(error))


def evaluate(objective: Objective, trial: Trial) -> Evaluation:
    """Evaluate a trial in a worker.

    Raises:
        BaseException: What says nothing about the trial: an exit, or a storage out of reach.
    """
    with in_objective(trial.study):
        try:
            result = objective(trial)
            several = isinstance(result, (list, tuple))
            return Evaluation([plain(value) for value in result] if several else plain(result))
        except Exception as error:
            if is_storage_error(error):
                raise
            return Evaluation(_error_of_trial(error))


def _error_of_trial(error: Exception) -> Exception:
    """Return an objective's error so that nobody takes it for one of the executor."""
    if not interrupts(error):
        return error
    own = RuntimeError(f"The objective raised {type(error).__name__}: {text_of(error)}")
    own.__cause__ = error
    return own


class ObjectiveFile(NamedTuple):
    """A pickled objective in a file."""

    path: str


class RemoteObjective:
    """The objective, evaluated in another process that keeps the study open between trials.

    Unpickling looks the object up by its key, so a process opens the study's storage only once:
    opening takes longer than a short trial, and would drop the sampler's memory of the study. An
    objective in a file is read once, too, however large it is and however many trials there are.
    """

    def __init__(
        self, key: str, objective: Objective | ObjectiveFile, study: bytes, driver: int
    ) -> None:
        self._key = key
        self._objective = objective
        self._packed = study
        self._driver = driver
        self._opened: tuple[Objective, Study] | None = None
        self._opening = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _cached_remote, (self._key, self._objective, self._packed, self._driver)

    def __call__(self, trial_id: int) -> Evaluation:
        """Evaluate the trial with this id; return the objective's exceptions.

        An exception that the parent process cannot unpickle would break the executor.
        """
        try:
            objective, study = self._open()
            # A copy: `study.stop()` is of this trial, not of others in other threads or later.
            study = copy(study)
            result, _ = evaluate(objective, resumed_trial(study, trial_id))
            return Evaluation(_sendable(result), stops=is_stopped(study))
        except Exception as error:
            raise _sendable_error(error) from None

    def prepare(self) -> None:
        """Open the study ahead of the first trial."""
        self._open()

    def _open(self) -> tuple[Objective, Study]:
        """Return the objective and the study, which are read and opened at the first call."""
        # Not the lock of all objects: in Dask, the thread that unpickles the next task, which
        # takes that lock, is needed to open a study in Dask's storage.
        with self._opening:
            if self._opened is None:
                _end_with(self._driver)
                _spare_threads_of_a_fork()
                objective = self._objective
                if isinstance(objective, ObjectiveFile):
                    objective = pickle.loads(Path(objective.path).read_bytes())
                study = unpacked(self._packed)
                study.sampler.reseed_rng()
                self._opened = objective, study
            return self._opened


def _end_with(driver: int) -> None:
    """End this process when its parent ends, if that is the driver, by its process id."""
    parent = parent_process()
    if parent is not None and parent.pid == driver:
        Thread(target=_exit_after, args=(parent.sentinel, os.getppid()), daemon=True).start()


@contextmanager
def forks_that_end() -> Iterator[None]:
    """Have processes that this thread forks end when this process ends.

    A pool forks all of its processes at its first task. One that never gets a task of its own
    would wait for ever, and would keep the pipes open by which others learn of the end.
    """
    before, _forks.driver = _forks.driver, os.getpid()
    try:
        yield
    finally:
        _forks.driver = before


class _Forks(local):
    """What a fork finds of the thread that forks it.

    Attributes:
        driver: The process to end with; None if the fork is to live on.
    """

    driver: int | None = None


_forks = _Forks()


def _watch_in_fork() -> None:
    driver, _forks.driver = _forks.driver, None
    if driver is not None:
        Thread(target=_exit_when_adopted, args=(driver,), daemon=True).start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watch_in_fork)


def _exit_when_adopted(parent: int) -> None:
    while os.getppid() == parent:
        sleep(_SECONDS_BETWEEN_LOOKS)
    os._exit(1)


def _spare_threads_of_a_fork() -> None:
    """Let PyTorch compute on one thread, if this process is a fork of a process that imported it.

    A fork has none of the other threads that its parent started, and PyTorch would wait for them
    for ever.
    """
    torch = sys.modules.get("torch")
    if torch is not None and type(current_process()).__name__ == "ForkProcess":
        torch.set_num_threads(1)


def _exit_after(sentinel: int, parent: int) -> None:
    """End this process when a parent's sentinel says so, or when it has another parent."""
    # Forks of a pool may keep each other's sentinels from being ready.
    while not connection.wait([sentinel], _SECONDS_BETWEEN_LOOKS) and os.getppid() == parent:
        pass
    os._exit(1)


_lock = Lock()
_remotes: OrderedDict[str, RemoteObjective] = OrderedDict()  # The latest used last.


def _cached_remote(
    key: str, objective: Objective | ObjectiveFile, study: bytes, driver: int
) -> RemoteObjective:
    """Return this process's remote objective with the key, a new one if there is none."""
    with _lock:
        remote = _remotes.pop(key, None) or RemoteObjective(key, objective, study, driver)
        _remotes[key] = remote
        if len(_remotes) > MAX_OPEN_STUDIES:
            _remotes.popitem(last=False)
        return remote


def _sendable(result: object) -> object:
    """Return the result, or a TypeError in its place if it cannot be sent to another process."""
    if isinstance(result, Exception):
        return _sendable_error(result)
    if _is_picklable(result):
        return result
    return TypeError(
        "`objective` must return a value that can be pickled and unpickled, but it returned "
        f"{shown(result)}."
    )


def _sendable_error(error: Exception) -> Exception:
    """Return the error, or a picklable substitute, with the worker's traceback as a note."""
    traceback = "".join(format_exception(error))
    if not _is_picklable(error):
        text = text_of(error)
        pruned = TrialPruned(text) if isinstance(error, TrialPruned) else None
        error = pruned or RuntimeError(f"{type(error).__name__}: {text}")
    if hasattr(error, "add_note"):  # Since Python 3.11.
        error.add_note(f"In a worker:\n{traceback}")
    return error


def _is_picklable(value: object) -> bool:
    """Return whether a value can be pickled and unpickled."""
    try:
        pickle.loads(pickle.dumps(value))
    except Exception:
        return False
    return True

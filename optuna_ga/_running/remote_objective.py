"""An objective that is evaluated in a worker, and what the worker sends back."""

from __future__ import annotations

import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from copy import copy
from multiprocessing import current_process
from pathlib import Path
from threading import Lock
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
from optuna_ga._running.with_driver import end_with

Objective = Callable[[Trial], Any]

# Studies that a process keeps open at once; the oldest is dropped and opened again when needed.
MAX_OPEN_STUDIES = 4


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
                end_with(self._driver)
                _spare_threads_of_a_fork()
                objective = self._objective
                if isinstance(objective, ObjectiveFile):
                    objective = pickle.loads(Path(objective.path).read_bytes())
                study = unpacked(self._packed)
                study.sampler.reseed_rng()
                self._opened = objective, study
            return self._opened


def _spare_threads_of_a_fork() -> None:
    """Let PyTorch compute on one thread, if this process is a fork of a process that imported it.

    A fork has none of the other threads that its parent started, and PyTorch would wait for them
    for ever.
    """
    torch = sys.modules.get("torch")
    if torch is not None and type(current_process()).__name__ == "ForkProcess":
        torch.set_num_threads(1)


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

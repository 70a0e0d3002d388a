"""An ordinary objective as the evaluation of a generation, over an executor's workers."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from traceback import format_exc
from typing import Any, NamedTuple
from uuid import uuid4

from optuna import Trial, TrialPruned
from optuna.study import Study

from optuna_ga._optuna_internals import (
    in_memory,
    in_objective,
    is_stopped,
    packed,
    resumed_trial,
    trial_id,
    unpacked,
)

Objective = Callable[[Trial], Any]

_KEPT = 4  # Studies that a worker keeps open.


class InParallel:
    """Evaluates the trials of a generation at the same time, for `optimize_generations`.

    Each trial is handed to `objective`, as `study.optimize` does it: what it suggests, reports
    and records is in the study, and it may prune, fail, or call `trial.study.stop()`. A generation
    ends when its last trial does. Since all of it is asked before and told after, in order, the
    study does not depend on the number of workers or on their speed, if the sampler is a
    `GASampler`. Other samplers are reseeded in each worker process, lest workers draw the same.

    Threads share the study. All other workers open its storage anew, once each, so it must be one
    that they can reach: a database or a journal. They need the objective and the package. An error
    that cannot be pickled arrives as a RuntimeError with its words. A worker that dies fails the
    trials that its executor gives up.

    Example:
        >>> import optuna
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from optuna_ga import GASampler, optimize_generations
        >>> study = optuna.create_study(sampler=GASampler(population_size=10, seed=0))
        >>> with ThreadPoolExecutor(4) as executor:
        ...     parallel = InParallel(lambda trial: trial.suggest_float("x", -1, 1) ** 2, executor)
        ...     optimize_generations(study, parallel, n_generations=5)
        >>> len(study.trials)
        50

    Args:
        objective: As for `study.optimize`. Other processes get a copy of it by pickling.
        executor: Any `concurrent.futures.Executor`, such as a `ProcessPoolExecutor`, that of a
            Dask client (`client.get_executor()`) or mpi4py's. It stays open.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: From `optimize_generations`, before it asks for a trial, if the executor's
            workers are no threads and the study is in memory, where they could not reach it.
    """

    def __init__(self, objective: Objective, executor: Executor) -> None:
        if not callable(objective):
            raise TypeError(f"`objective` must be callable, but {objective!r} was given.")
        if not isinstance(executor, Executor):
            raise TypeError(
                f"`executor` must be a `concurrent.futures.Executor`, but {executor!r} was given."
            )
        self._objective = objective
        self._executor = executor
        # The executor of other interpreters is derived from that of threads.
        self._shared = type(executor) is ThreadPoolExecutor
        self._lock = Lock()
        self._remotes: list[tuple[tuple[object, ...], _Remote]] = []

    def check(self, study: Study) -> None:
        """Raise an error if the workers could not reach the study.

        Raises:
            ValueError: If they could not.
        """
        if in_memory(study) and not self._shared:
            raise ValueError(
                "`executor` must be a `ThreadPoolExecutor`, since the study is in memory, where "
                f"other processes cannot reach it, but a {type(self._executor).__name__} was "
                "given. Give the study a storage: a database or a journal."
            )

    def __call__(self, trials: list[Trial]) -> Sequence[Any]:
        """Return what the objective returns or raises for each trial."""
        for study in {trial.study for trial in trials}:
            self.check(study)
        futures: list[Future[_Ended] | Exception] = []
        try:
            for trial in trials:
                futures.append(self._submit(trial))
            ended = [_wait(future) for future in futures]
        except BaseException:  # The user's interrupt: what has not begun never will.
            for future in futures:
                if isinstance(future, Future):
                    future.cancel()
            raise
        if any(one.stops for one in ended):
            with suppress(RuntimeError):  # Nobody is to stop if this is called from elsewhere.
                trials[0].study.stop()
        return [one.result for one in ended]

    def _submit(self, trial: Trial) -> Future[_Ended] | Exception:
        try:
            if self._shared:
                return self._executor.submit(_evaluate, self._objective, trial)
            return self._executor.submit(self._remote_of(trial.study), trial_id(trial))
        except Exception as error:  # The executor is broken: others of its trials may be done.
            return error

    def _remote_of(self, study: Study) -> _Remote:
        parts = (study, study.sampler, study.pruner)
        with self._lock:
            for known, remote in self._remotes:
                if all(a is b for a, b in zip(parts, known, strict=True)):
                    return remote
            remote = _Remote(uuid4().hex, self._objective, packed(study))
            self._remotes = [*self._remotes[1 - _KEPT :], (parts, remote)]
            return remote


class _Ended(NamedTuple):
    """What a trial's evaluation came to.

    Attributes:
        result: What the objective returned or raised.
        stops: Whether it asked, in another process, for the study to stop.
    """

    result: Any
    stops: bool = False


def _wait(future: Future[_Ended] | Exception) -> _Ended:
    if isinstance(future, Exception):
        return _Ended(future)
    try:
        error = future.exception()
    except CancelledError as cancelled:
        return _Ended(cancelled)
    return future.result() if error is None else _Ended(error)


def _evaluate(objective: Objective, trial: Trial) -> _Ended:
    """Evaluate a trial in a thread that shares the study, which is where a stop arrives."""
    with in_objective(trial.study):
        return _Ended(objective(trial))


class _Remote:
    """The objective and the study in another process.

    The process makes one of it when it first gets it, and keeps that one with the study open:
    opening a storage takes longer than many a trial, and what is remembered of the study is lost.
    """

    def __init__(self, key: str, objective: Objective, study: bytes) -> None:
        self._key = key
        self._objective = objective
        self._packed = study
        self._study: Study | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _kept, (self._key, self._objective, self._packed)

    def __call__(self, trial_id: int) -> _Ended:
        """Evaluate the trial with this id.

        Errors are results here, since one that the other side cannot read breaks executors.
        """
        try:
            study = self._open()
        except Exception as error:
            return _Ended(_readable_error(error))
        try:
            with in_objective(study):
                result = _readable(self._objective(resumed_trial(study, trial_id)))
        except Exception as error:
            result = _readable_error(error)
        return _Ended(result, stops=is_stopped(study, reset=True))

    def _open(self) -> Study:
        with _lock:
            if self._study is None:
                study = unpacked(self._packed)
                study.sampler.reseed_rng()
                self._study = study
            return self._study


_lock = Lock()
_remotes: OrderedDict[str, _Remote] = OrderedDict()


def _kept(key: str, objective: Objective, study: bytes) -> _Remote:
    """Return the one that this process keeps under the key, or a new one."""
    with _lock:
        remote = _remotes.pop(key, None) or _Remote(key, objective, study)
        _remotes[key] = remote
        if len(_remotes) > _KEPT:
            _remotes.popitem(last=False)
        return remote


def _readable(result: object) -> object:
    if not _travels(result):
        raise TypeError(f"`objective` returned what cannot be pickled and read again: {result!r}.")
    return result


def _readable_error(error: Exception) -> Exception:
    """Return the error, or one that says the same, with its traceback as a note."""
    if not _travels(error):
        known = TrialPruned(str(error)) if isinstance(error, TrialPruned) else None
        error = known or RuntimeError(f"{type(error).__name__}: {error}")
    if hasattr(error, "add_note"):  # From Python 3.11 on.
        error.add_note(f"In a worker:\n{format_exc()}")
    return error


def _travels(thing: object) -> bool:
    """Return whether the other side of a process can read it."""
    try:
        pickle.loads(pickle.dumps(thing))
    except Exception:
        return False
    return True

"""An ordinary objective as the evaluation of a generation, over an executor's workers."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import uuid4

from optuna import Trial
from optuna.study import Study

from optuna_ga._study import (
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
    that they can reach: a database or a journal. They need the objective and the package. A worker
    that dies fails the trials that its executor gives up.

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
        self._remote: tuple[Study, _Remote] | None = None

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
        futures: list[Future[_Ended] | BaseException] = [self._submit(trial) for trial in trials]
        try:
            ended = [_wait(future) for future in futures]
        except BaseException:  # The user's interrupt: what has not begun never will.
            for future in futures:
                if isinstance(future, Future):
                    future.cancel()
            raise
        if any(one.stops for one in ended):
            trials[0].study.stop()
        return [one.result for one in ended]

    def _submit(self, trial: Trial) -> Future[_Ended] | BaseException:
        try:
            if self._shared:
                return self._executor.submit(_evaluate, self._objective, trial)
            return self._executor.submit(self._remote_of(trial.study), trial_id(trial))
        except Exception as error:  # The executor is broken: others of its trials may be done.
            return error

    def _remote_of(self, study: Study) -> _Remote:
        if self._remote is None or self._remote[0] is not study:
            self._remote = study, _Remote(uuid4().hex, self._objective, packed(study))
        return self._remote[1]


class _Ended(NamedTuple):
    """What a trial's evaluation came to.

    Attributes:
        result: What the objective returned, or the error.
        stops: Whether it asked, in another process, for the study to stop.
    """

    result: Any
    stops: bool = False


def _wait(future: Future[_Ended] | BaseException) -> _Ended:
    if isinstance(future, BaseException):
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

    def __call__(self, number: int) -> _Ended:
        """Evaluate the trial with this id."""
        if self._study is None:
            self._study = unpacked(self._packed)
            self._study.sampler.reseed_rng()
        trial = resumed_trial(self._study, number)
        try:
            with in_objective(trial.study):
                result = self._objective(trial)
        except Exception as error:
            if _travels(error):
                raise
            raise RuntimeError(f"{type(error).__name__}: {error}") from None
        stops = is_stopped(self._study, reset=True)
        return _Ended(result, stops)


_remotes: OrderedDict[str, _Remote] = OrderedDict()


def _kept(key: str, objective: Objective, study: bytes) -> _Remote:
    """Return the one that this process keeps under the key, or a new one."""
    remote = _remotes.pop(key, None) or _Remote(key, objective, study)
    _remotes[key] = remote
    if len(_remotes) > _KEPT:
        _remotes.popitem(last=False)
    return remote


def _travels(error: Exception) -> bool:
    """Return whether an error can be sent; one that cannot be read would break the executor."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True

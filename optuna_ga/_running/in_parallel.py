"""`InParallel`: evaluates the trials of a generation on the workers of an executor."""

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

# Studies that a process keeps open at once; the oldest is dropped and opened again when needed.
_MAX_OPEN_STUDIES = 4


class InParallel:
    """Evaluates the trials of a generation at the same time, for `optimize_generations`.

    Each trial is passed to `objective` as `study.optimize` passes it: the objective may suggest,
    report, record, prune, fail, or call `trial.study.stop()`. A generation ends with its last
    trial. With a `GASampler` the study does not depend on the number of workers or their speed:
    a whole generation is asked for before its first trial is evaluated, and told in trial order
    after its last. Other samplers are reseeded in each worker process, so that no two workers
    draw the same numbers.

    Threads share the study. Other workers open its storage once each, so the storage must be one
    that they can reach, such as a database or a journal. They need the objective and this
    package. An exception that cannot be pickled arrives as a RuntimeError with its message. If a
    worker dies, the trials that its executor gives up fail.

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
        objective: The objective, as for `study.optimize`. Other processes get a pickled copy.
        executor: A `concurrent.futures.Executor`, such as a `ProcessPoolExecutor`, the executor of
            a Dask client (`client.get_executor()`) or of mpi4py. It stays open.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: From `optimize_generations`, before it asks for a trial, if the study is in
            memory and the executor is not a `ThreadPoolExecutor`.
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
        # Not `isinstance`: the InterpreterPoolExecutor is a subclass, but shares no memory.
        self._shares_memory = type(executor) is ThreadPoolExecutor
        self._lock = Lock()
        self._remotes: list[tuple[tuple[object, ...], _RemoteObjective]] = []

    def check(self, study: Study) -> None:
        """Check that the workers can reach the study.

        Raises:
            ValueError: If the study is in the memory of this process, and the workers are not.
        """
        if in_memory(study) and not self._shares_memory:
            raise ValueError(
                "`executor` must be a `ThreadPoolExecutor`, since the study is in memory, where "
                f"other processes cannot reach it, but a {type(self._executor).__name__} was "
                "given. Give the study a storage that they can reach: a database or a journal."
            )

    def __call__(self, trials: list[Trial]) -> Sequence[Any]:
        """Evaluate the trials; return the value or exception of each trial, in the same order."""
        for study in {trial.study for trial in trials}:
            self.check(study)
        futures: list[Future[_Evaluation] | Exception] = []
        try:
            for trial in trials:
                futures.append(self._submit(trial))
            evaluations = [_wait(future) for future in futures]
        except BaseException:  # An interrupt, such as Ctrl-C: do not start the other trials.
            for future in futures:
                if isinstance(future, Future):
                    future.cancel()
            raise
        if any(evaluation.stops for evaluation in evaluations):
            # Outside an optimization loop `study.stop()` raises, and there is nothing to stop.
            with suppress(RuntimeError):
                trials[0].study.stop()
        return [evaluation.result for evaluation in evaluations]

    def _submit(self, trial: Trial) -> Future[_Evaluation] | Exception:
        try:
            if self._shares_memory:
                return self._executor.submit(_evaluate, self._objective, trial)
            return self._executor.submit(self._remote_of(trial.study), trial_id(trial))
        except Exception as error:  # A broken executor: earlier trials may still have results.
            return error

    def _remote_of(self, study: Study) -> _RemoteObjective:
        """Return the study's remote objective, a new one if the sampler or pruner was replaced."""
        parts = (study, study.sampler, study.pruner)
        with self._lock:
            for known, remote in self._remotes:
                if all(a is b for a, b in zip(parts, known, strict=True)):
                    return remote
            remote = _RemoteObjective(uuid4().hex, self._objective, packed(study))
            self._remotes = [*self._remotes[1 - _MAX_OPEN_STUDIES :], (parts, remote)]
            return remote


class _Evaluation(NamedTuple):
    """The outcome of one call of the objective.

    Attributes:
        result: The objective's return value, or the exception that it raised.
        stops: Whether the objective called `study.stop()` in another process.
    """

    result: Any
    stops: bool = False


def _wait(future: Future[_Evaluation] | Exception) -> _Evaluation:
    if isinstance(future, Exception):
        return _Evaluation(future)
    try:
        error = future.exception()
    except CancelledError as cancelled:
        return _Evaluation(cancelled)
    return future.result() if error is None else _Evaluation(error)


def _evaluate(objective: Objective, trial: Trial) -> _Evaluation:
    """Evaluate a trial in a thread, where `study.stop()` reaches the study directly."""
    with in_objective(trial.study):
        return _Evaluation(objective(trial))


class _RemoteObjective:
    """The objective, evaluated in another process that keeps the study open between trials.

    Unpickling looks the object up by its key, so a process opens the study's storage only once:
    opening takes longer than a short trial, and would drop the sampler's memory of the study.
    """

    def __init__(self, key: str, objective: Objective, study: bytes) -> None:
        self._key = key
        self._objective = objective
        self._packed = study
        self._study: Study | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _cached_remote, (self._key, self._objective, self._packed)

    def __call__(self, trial_id: int) -> _Evaluation:
        """Evaluate the trial with this id; return an exception instead of raising it.

        An exception that the parent process cannot unpickle would break the executor.
        """
        try:
            study = self._open()
        except Exception as error:
            return _Evaluation(_picklable_error(error))
        try:
            with in_objective(study):
                result = _picklable(self._objective(resumed_trial(study, trial_id)))
        except Exception as error:
            result = _picklable_error(error)
        return _Evaluation(result, stops=is_stopped(study, reset=True))

    def _open(self) -> Study:
        with _lock:
            if self._study is None:
                study = unpacked(self._packed)
                study.sampler.reseed_rng()
                self._study = study
            return self._study


_lock = Lock()
_remotes: OrderedDict[str, _RemoteObjective] = OrderedDict()  # The latest used last.


def _cached_remote(key: str, objective: Objective, study: bytes) -> _RemoteObjective:
    """Return this process's remote objective with the key, a new one if there is none."""
    with _lock:
        remote = _remotes.pop(key, None) or _RemoteObjective(key, objective, study)
        _remotes[key] = remote
        if len(_remotes) > _MAX_OPEN_STUDIES:
            _remotes.popitem(last=False)
        return remote


def _picklable(result: object) -> object:
    """Return the result.

    Raises:
        TypeError: If the result cannot be sent to another process.
    """
    if not _is_picklable(result):
        raise TypeError(
            "`objective` must return a value that can be pickled and unpickled, but it returned "
            f"{result!r}."
        )
    return result


def _picklable_error(error: Exception) -> Exception:
    """Return the error, or a picklable substitute, with the worker's traceback as a note."""
    if not _is_picklable(error):
        pruned = TrialPruned(str(error)) if isinstance(error, TrialPruned) else None
        error = pruned or RuntimeError(f"{type(error).__name__}: {error}")
    if hasattr(error, "add_note"):  # Since Python 3.11.
        error.add_note(f"In a worker:\n{format_exc()}")
    return error


def _is_picklable(value: object) -> bool:
    """Return whether a value can be pickled and unpickled."""
    try:
        pickle.loads(pickle.dumps(value))
    except Exception:
        return False
    return True

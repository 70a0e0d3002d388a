"""`InParallel`: evaluates the trials of a generation on the workers of an executor."""

from __future__ import annotations

import concurrent.futures
import os
import pickle
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from contextlib import suppress
from multiprocessing import connection, parent_process
from pathlib import Path
from tempfile import mkstemp
from threading import Lock, Thread
from traceback import format_exception
from typing import Any, NamedTuple
from uuid import uuid4

from optuna import Trial, TrialPruned
from optuna.study import Study

from optuna_ga._optuna_internals import (
    in_memory,
    in_objective,
    is_stopped,
    is_storage_error,
    packed,
    resumed_trial,
    trial_id,
    unpacked,
)
from optuna_ga._running.outcome import NoResult, interrupts, plain

Objective = Callable[[Trial], Any]

# Studies that a process keeps open at once; the oldest is dropped and opened again when needed.
_MAX_OPEN_STUDIES = 4
_MAX_VAIN_RESTARTS = 3  # New executors in a row that return no result.
# Its workers share no memory, though it is a ThreadPoolExecutor. Since Python 3.14.
_INTERPRETERS: Any = getattr(concurrent.futures, "InterpreterPoolExecutor", ())


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
    package. The processes of a `ProcessPoolExecutor` read the objective from a file, once each;
    other executors send it with each trial, so let it load large data where it runs. An exception
    that cannot be pickled arrives as a RuntimeError with its message.

    Each result is kept as it comes, whichever trial is done first. An error of the executor or
    of the storage (a killed worker, a cancelled future, a lost connection) is no result: its
    trial stays running, and the error is raised once the other trials are done. Run again to
    evaluate what is missing; if `executor` is a function, a new executor does so at once. The
    processes of a `ProcessPoolExecutor` end if the driver is killed.

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
            a Dask client (`client.get_executor()`) or of mpi4py. It stays open. Or a function
            that returns a new executor, such as `lambda: ProcessPoolExecutor(8)`: the trials that
            an executor gave up are then evaluated by a new one. If three in a row return no
            result, the error is raised.

    Raises:
        TypeError: If an argument has the wrong type. From `optimize_generations`, before it asks
            for a trial, if the objective or the study's storage cannot be sent to a worker.
        ValueError: From `optimize_generations`, before it asks for a trial, if the study is in
            memory and the executor is not a `ThreadPoolExecutor`.
    """

    def __init__(self, objective: Objective, executor: Executor | Callable[[], Executor]) -> None:
        if not callable(objective):
            raise TypeError(f"`objective` must be callable, but {objective!r} was given.")
        self._objective = objective
        self._make = executor if callable(executor) else None
        self._executor = _executor(executor if self._make is None else self._make())
        self._lock = Lock()
        self._file: _Pickled | None = None
        self._remotes: list[tuple[tuple[object, ...], _RemoteObjective]] = []

    def check(self, study: Study) -> None:
        """Check that the workers can reach the study and receive the objective.

        Raises:
            ValueError: If the study is in the memory of this process, and the workers are not.
            TypeError: If the objective or the study's storage cannot be pickled.
        """
        if self._shares_memory:
            return
        if in_memory(study):
            raise ValueError(
                "`executor` must be a `ThreadPoolExecutor`, since the study is in memory, where "
                f"other processes cannot reach it, but a {type(self._executor).__name__} was "
                "given. Give the study a storage that they can reach: a database or a journal."
            )
        self._remote_of(study)

    def __call__(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Any]]:
        """Start the trials; return an iterator over pairs of trial and result, as they come."""
        for study in {trial.study for trial in trials}:
            self.check(study)
        return self._results(self._submit(trials))

    @property
    def _shares_memory(self) -> bool:
        return isinstance(self._executor, ThreadPoolExecutor) and not isinstance(
            self._executor, _INTERPRETERS
        )

    def _submit(self, trials: Sequence[Trial]) -> dict[Future[_Evaluation], Trial]:
        futures: dict[Future[_Evaluation], Trial] = {}
        try:
            for trial in trials:
                futures[self._future(trial)] = trial
        except BaseException:  # An interrupt, such as Ctrl-C: do not start the other trials.
            _cancel(futures)
            raise
        return futures

    def _future(self, trial: Trial) -> Future[_Evaluation]:
        try:
            if self._shares_memory:
                return self._executor.submit(_evaluate, self._objective, trial)
            return self._executor.submit(self._remote_of(trial.study), trial_id(trial))
        except Exception as error:  # A broken executor: earlier trials may still have results.
            failed: Future[_Evaluation] = Future()
            failed.set_exception(error)
            return failed

    def _results(self, futures: dict[Future[_Evaluation], Trial]) -> Iterator[tuple[Trial, Any]]:
        """Yield trials and results as they come; give lost trials to a new executor, if any."""
        n_vain = 0
        while futures:
            lost: list[tuple[Trial, NoResult]] = []
            for trial, result in self._completed(futures):
                if isinstance(result, NoResult):
                    lost.append((trial, result))
                else:
                    yield trial, result
            n_vain = n_vain + 1 if len(lost) == len(futures) else 0
            ended = any(not isinstance(result.error, Exception) for _, result in lost)
            if self._make is None or ended or n_vain > _MAX_VAIN_RESTARTS:
                yield from lost
                return
            if lost:
                self._executor.shutdown(wait=False, cancel_futures=True)
                self._executor = _executor(self._make())
            futures = self._submit([trial for trial, _ in lost])

    def _completed(self, futures: dict[Future[_Evaluation], Trial]) -> Iterator[tuple[Trial, Any]]:
        try:
            for future in as_completed(futures):
                trial = futures[future]
                evaluation = _wait(future)
                if evaluation.stops:
                    # Outside an optimization loop `study.stop()` raises, and nothing is to stop.
                    with suppress(RuntimeError):
                        trial.study.stop()
                yield trial, evaluation.result
        finally:
            _cancel(futures)

    def _remote_of(self, study: Study) -> _RemoteObjective:
        """Return the study's remote objective, a new one if the sampler or pruner was replaced.

        A worker opens a new one, to find out whether it can.

        Raises:
            TypeError: If the objective or the storage cannot be pickled.
        """
        parts = (study, study.sampler, study.pruner)
        with self._lock:
            for known, remote in self._remotes:
                if all(a is b for a, b in zip(parts, known, strict=True)):
                    return remote
            try:
                objective = self._to_be_sent()
                remote = _RemoteObjective(uuid4().hex, objective, packed(study), os.getpid())
                self._executor.submit(remote.prepare).result()
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise TypeError(
                    "`objective` and the study's storage must be such that workers can receive "
                    f"pickled copies of them, but this failed: {error}"
                ) from error
            self._remotes = [*self._remotes[1 - _MAX_OPEN_STUDIES :], (parts, remote)]
            return remote

    def _to_be_sent(self) -> Objective | _Pickled:
        """Return the objective, or the file from which processes of this machine read it."""
        if not isinstance(self._executor, ProcessPoolExecutor):
            return self._objective
        if self._file is None:
            handle, path = mkstemp(prefix="optuna_ga_")
            weakref.finalize(self, os.unlink, path)
            os.close(handle)
            with Path(path).open("wb") as file:
                pickle.dump(self._objective, file)
            self._file = _Pickled(path)
        return self._file


def _executor(given: Any) -> Executor:
    if not isinstance(given, Executor):
        raise TypeError(
            f"`executor` must be a `concurrent.futures.Executor`, but {given!r} was given. A "
            "function that returns an executor will do, too."
        )
    return given


def _cancel(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.cancel()


class _Evaluation(NamedTuple):
    """The outcome of one call of the objective.

    Attributes:
        result: The objective's return value, the exception that it raised, or a `NoResult`.
        stops: Whether the objective called `study.stop()` in another process.
    """

    result: Any
    stops: bool = False


def _wait(future: Future[_Evaluation]) -> _Evaluation:
    """Return a future's evaluation; the objective's exceptions are results, others are not."""
    try:
        error = future.exception()
    except CancelledError as cancelled:
        error = cancelled
    return future.result() if error is None else _Evaluation(NoResult(error))


def _evaluate(objective: Objective, trial: Trial) -> _Evaluation:
    """Evaluate a trial in a worker.

    Raises:
        BaseException: What says nothing about the trial: an exit, or a storage out of reach.
    """
    with in_objective(trial.study):
        try:
            result = objective(trial)
            several = isinstance(result, (list, tuple))
            return _Evaluation([plain(value) for value in result] if several else plain(result))
        except Exception as error:
            if is_storage_error(error):
                raise
            return _Evaluation(_error_of_trial(error))


def _error_of_trial(error: Exception) -> Exception:
    """Return an objective's error so that nobody takes it for one of the executor."""
    if not interrupts(error):
        return error
    own = RuntimeError(f"The objective raised {type(error).__name__}: {error}")
    own.__cause__ = error
    return own


class _Pickled(NamedTuple):
    """A pickled objective in a file."""

    path: str


class _RemoteObjective:
    """The objective, evaluated in another process that keeps the study open between trials.

    Unpickling looks the object up by its key, so a process opens the study's storage only once:
    opening takes longer than a short trial, and would drop the sampler's memory of the study. An
    objective in a file is read once, too, however large it is and however many trials there are.
    """

    def __init__(
        self, key: str, objective: Objective | _Pickled, study: bytes, driver: int
    ) -> None:
        self._key = key
        self._objective = objective
        self._packed = study
        self._driver = driver
        self._opened: tuple[Objective, Study] | None = None
        self._opening = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _cached_remote, (self._key, self._objective, self._packed, self._driver)

    def __call__(self, trial_id: int) -> _Evaluation:
        """Evaluate the trial with this id; return the objective's exceptions.

        An exception that the parent process cannot unpickle would break the executor.
        """
        try:
            objective, study = self._open()
            result, _ = _evaluate(objective, resumed_trial(study, trial_id))
            return _Evaluation(_sendable(result), stops=is_stopped(study, reset=True))
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
                objective = self._objective
                if isinstance(objective, _Pickled):
                    objective = pickle.loads(Path(objective.path).read_bytes())
                study = unpacked(self._packed)
                study.sampler.reseed_rng()
                self._opened = objective, study
            return self._opened


def _end_with(driver: int) -> None:
    """End this process when its parent ends, if that is the driver, by its process id."""
    parent = parent_process()
    if parent is not None and parent.pid == driver:
        Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


_lock = Lock()
_remotes: OrderedDict[str, _RemoteObjective] = OrderedDict()  # The latest used last.


def _cached_remote(
    key: str, objective: Objective | _Pickled, study: bytes, driver: int
) -> _RemoteObjective:
    """Return this process's remote objective with the key, a new one if there is none."""
    with _lock:
        remote = _remotes.pop(key, None) or _RemoteObjective(key, objective, study, driver)
        _remotes[key] = remote
        if len(_remotes) > _MAX_OPEN_STUDIES:
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
        f"{result!r}."
    )


def _sendable_error(error: Exception) -> Exception:
    """Return the error, or a picklable substitute, with the worker's traceback as a note."""
    traceback = "".join(format_exception(error))
    if not _is_picklable(error):
        pruned = TrialPruned(str(error)) if isinstance(error, TrialPruned) else None
        error = pruned or RuntimeError(f"{type(error).__name__}: {error}")
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

"""`InParallel`: evaluates the trials of a generation on the workers of an executor."""

from __future__ import annotations

import concurrent.futures
import os
import pickle
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import mkstemp
from threading import RLock
from typing import Any
from uuid import uuid4

from optuna import Trial
from optuna.study import Study

from optuna_ga._checks import check_callable, kind_of, shown
from optuna_ga._optuna_internals import in_memory, packed, trial_id
from optuna_ga._running.futures import as_they_end, cancel, wait_for_a_worker
from optuna_ga._running.outcome import NoResult, interrupts
from optuna_ga._running.remote_objective import (
    MAX_OPEN_STUDIES,
    Evaluation,
    Objective,
    ObjectiveFile,
    RemoteObjective,
    evaluate,
    evaluation_of,
)
from optuna_ga._running.rounds import Rounds
from optuna_ga._running.with_driver import forks_that_end

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

    Executors of other machines send the storage's address over the network, in clear unless the
    executor encrypts. Leave the password out of it, and let each worker read its own: PostgreSQL's
    client takes it from the variable PGPASSWORD or from ~/.pgpass, PyMySQL from the file that
    `?read_default_file=~/.my.cnf` at the end of the address names.

    Each result is kept as it comes, whichever trial is done first. An error of the executor or
    of the storage (a killed worker, a cancelled future, a lost connection) is no result: its
    trial stays running, and the error is raised once the other trials are done. Run again to
    evaluate what is missing; if `executor` is a function, a new executor does so at once. If the
    driver is killed, the processes of a `ProcessPoolExecutor` end, except processes that have had
    no trial, if they were not forked or the pool ran other tasks before.

    A forked process has none of its parent's threads, for which libraries such as PyTorch wait for
    ever. PyTorch therefore computes on one thread in forked workers if the driver has imported it.
    For other libraries, and for more threads, give the pool the context "forkserver" or "spawn".

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
            that returns a new executor, such as `lambda: ProcessPoolExecutor(8)`. Trials that an
            executor gave up are evaluated by a new one. A trial during which two broke is then
            evaluated alone by one of its own; if it breaks two of these, an error names it once
            the other trials are done. If seven new executors in a row return no result, the error
            is raised. The executor ends when `optimize_generations` ends.

    Raises:
        TypeError: If an argument has the wrong type. From `optimize_generations`, before it asks
            for a trial, if the objective or the study's storage cannot be sent to a worker.
        ValueError: From `optimize_generations`, before it asks for a trial, if the study is in
            memory and the executor is not a `ThreadPoolExecutor`.
    """

    def __init__(self, objective: Objective, executor: Executor | Callable[[], Executor]) -> None:
        check_callable("objective", objective)
        self._objective = objective
        self._make = executor if callable(executor) else None
        # Checked now; the executor of a function is made anew after a search has ended it.
        self._current: Executor | None = _executor(self._make() if self._make else executor)
        self._n_users = 0  # Searches and generations under way.
        self._lock = RLock()
        self._file: ObjectiveFile | None = None
        self._remotes: list[tuple[tuple[object, ...], RemoteObjective]] = []

    def check(self, study: Study) -> None:
        """Check that the workers can reach the study and receive the objective.

        Raises:
            ValueError: If the study is in the memory of this process, and the workers are not.
            TypeError: If the objective or the study's storage cannot be pickled.
        """
        if _shares_memory(self._executor):
            return
        if in_memory(study):
            raise ValueError(
                "`executor` must be a `ThreadPoolExecutor`, since the study is in memory, where "
                f"other processes cannot reach it, but {kind_of(self._executor)} was given. "
                "Give the study a storage that they can reach: a database or a journal."
            )
        self._remote_of(study)

    def __call__(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Any]]:
        """Return an iterator that starts the trials and yields trial and result, as they come."""
        for study in {trial.study for trial in trials}:
            self.check(study)
        return self._results(trials)

    @contextmanager
    def search(self, study: Study) -> Iterator[None]:
        """Be a search on a study: check it, and end an executor made here with the last search.

        Raises:
            ValueError: As `check`.
            TypeError: As `check`.
        """
        with self._used():
            try:
                self.check(study)
                yield
            finally:
                with self._lock:
                    if self._make is not None and self._n_users == 1:
                        self._end(self._current)

    @contextmanager
    def _used(self) -> Iterator[None]:
        is_counted = False  # Ctrl-C may come as the lock is released.
        try:
            with self._lock:
                self._n_users += 1
                is_counted = True
            yield
        finally:
            if is_counted:
                with self._lock:
                    self._n_users -= 1

    @property
    def _executor(self) -> Executor:
        with self._lock:
            if self._current is None:
                assert self._make is not None
                self._current = _executor(self._make())
            return self._current

    def _end(self, executor: Executor | None) -> None:
        """End an executor if it is still the current one; the next is made when it is needed."""
        with self._lock:
            if executor is None or executor is not self._current:
                return
            self._current = None
        _shut_down(executor)

    def _future(self, executor: Executor, trial: Trial) -> Future[Evaluation]:
        try:
            if _shares_memory(executor):
                return executor.submit(evaluate, self._objective, trial)
            return _submit(executor, self._remote_of(trial.study), trial_id(trial))
        except Exception as error:  # A broken executor: earlier trials may still have results.
            failed: Future[Evaluation] = Future()
            failed.set_exception(error)
            return failed

    def _results(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Any]]:
        """Yield trials and results as they come.

        Raises:
            BrokenExecutor: Whatever ends this early, such as an error of the function that makes
                executors: it is the result of no trial.
        """
        try:
            yield from self._results_of_rounds(trials)
        except Exception as error:
            if interrupts(error):
                raise
            raise BrokenExecutor(f"No executor evaluates the trials: {error!r}") from error

    def _results_of_rounds(self, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Any]]:
        """Yield trials and results as they come; give lost trials to new executors, if any."""
        rounds = Rounds(trials, has_more=self._make is not None)
        while rounds.waiting:
            together, is_alone = rounds.start()
            with self._used(), self._executor_for(together[0], is_alone) as (executor, n_workers):
                lost = yield from self._completed(executor, together)
                if lost and self._make is not None:
                    self._end(executor)
            yield from rounds.end(together, lost, n_workers)

    @contextmanager
    def _executor_for(self, trial: Trial, is_alone: bool) -> Iterator[tuple[Executor, int | None]]:
        """Yield an executor for a round, and how many trials it can break by: see `Rounds.end`.

        A trial that is alone has an executor that no other search uses, whose worker is known to
        start. Threads are broken by no trial.
        """
        if not is_alone or self._make is None:
            executor = self._executor
            n_workers = getattr(executor, "_max_workers", None)
            yield executor, 0 if _shares_memory(executor) else n_workers
            return
        executor = _executor(self._make())
        try:
            yield executor, int(self._starts(executor, trial.study))
        finally:
            _shut_down(executor)

    def _starts(self, executor: Executor, study: Study) -> bool:
        """Return whether a worker of an executor, which no trial has used, opens the study."""
        try:
            wait_for_a_worker(_submit(executor, self._remote_of(study).prepare))
        except Exception:  # It is that of the trial, too, which is evaluated on the same executor.
            return False
        return True

    def _completed(
        self, executor: Executor, trials: Sequence[Trial]
    ) -> Generator[tuple[Trial, Any], None, dict[int, NoResult]]:
        """Start the trials and yield results as they come; start no further one if interrupted.

        Returns:
            What the executor left without a result, by trial numbers.
        """
        futures: dict[Future[Evaluation], Trial] = {}
        lost: dict[int, NoResult] = {}
        try:
            for trial in trials:
                futures[self._future(executor, trial)] = trial
            for future in as_they_end(futures):
                trial, evaluation = futures[future], evaluation_of(future)
                if evaluation.stops:
                    _stop(trial.study)
                if isinstance(evaluation.result, NoResult):
                    lost[trial.number] = evaluation.result
                else:
                    yield trial, evaluation.result
        finally:
            cancel(futures)
        return lost

    def _remote_of(self, study: Study) -> RemoteObjective:
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
                remote = RemoteObjective(uuid4().hex, objective, packed(study), os.getpid())
                wait_for_a_worker(_submit(self._executor, remote.prepare))
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise TypeError(
                    "`objective` and the study's storage must be such that workers can receive "
                    f"pickled copies of them, but this failed: {error}"
                ) from error
            self._remotes = [*self._remotes[1 - MAX_OPEN_STUDIES :], (parts, remote)]
            return remote

    def _to_be_sent(self) -> Objective | ObjectiveFile:
        """Return the objective, or the file from which processes of this machine read it."""
        if not isinstance(self._executor, ProcessPoolExecutor):
            return self._objective
        if self._file is None:
            handle, path = mkstemp(prefix="optuna_ga_")
            # A forked worker may have collected its copy of this object first.
            weakref.finalize(self, Path(path).unlink, missing_ok=True)
            os.close(handle)
            with Path(path).open("wb") as file:
                pickle.dump(self._objective, file)
            self._file = ObjectiveFile(path)
        return self._file


def search_with(evaluate: object, study: Study) -> AbstractContextManager[None]:
    """Return the search of an `InParallel`; any other function needs no preparation."""
    return evaluate.search(study) if isinstance(evaluate, InParallel) else nullcontext()


def _stop(study: Study) -> None:
    with suppress(RuntimeError):  # Raised outside an optimization loop, where nothing is to stop.
        study.stop()


def _shares_memory(executor: Executor) -> bool:
    is_of_threads = isinstance(executor, ThreadPoolExecutor)
    return is_of_threads and not isinstance(executor, _INTERPRETERS)


def _submit(executor: Executor, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    with forks_that_end() if isinstance(executor, ProcessPoolExecutor) else nullcontext():
        return executor.submit(function, *arguments)


def _shut_down(executor: Executor) -> None:
    try:
        executor.shutdown(wait=False, cancel_futures=True)
    except TypeError:  # Dask's has one argument only.
        executor.shutdown(wait=False)


def _executor(given: Any) -> Executor:
    if not isinstance(given, Executor):
        raise TypeError(
            f"`executor` must be a `concurrent.futures.Executor`, but {shown(given)} was given. A "
            "function that returns an executor will do, too."
        )
    return given

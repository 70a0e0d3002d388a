"""Errors, interrupts and dying workers cost no other trial its result."""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import mkstemp
from typing import Any

import optuna
import pytest
import torch
from optuna import Trial, TrialPruned
from optuna.storages import InMemoryStorage

from optuna_ga import InParallel, optimize_generations
from optuna_ga._running import in_parallel
from optuna_ga._running.futures import as_they_end
from optuna_ga._running.rounds import BrokenByTrialError
from tests.logs import messages_of
from tests.processes import FRESH
from tests.running.evaluations import (
    COMPLETE,
    FAIL,
    PRUNED,
    RUNNING,
    ending_in_every_way,
    journal,
    states,
)
from tests.studies import OpenDatabase, of_four, run, sphere, story


class UnreadableError(Exception):
    """An error that can be pickled but not unpickled."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{code}: {why}")


def raising_an_unreadable_error(trial: Trial) -> float:
    """Fail in trial 2."""
    if trial.number == 2:
        raise UnreadableError(7, "cannot be read")
    return sphere(trial)


class WordlessError(UnreadableError):
    """An error that can neither be unpickled nor be shown."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no str")


def raising_a_wordless_error(trial: Trial) -> float:
    """Fail in trial 2."""
    if trial.number == 2:
        raise WordlessError(7, "cannot be shown")
    return sphere(trial)


def dying_in_trial_two(trial: Trial) -> float:
    """Kill the worker in trial 2."""
    if trial.number == 2:
        os._exit(1)
    return sphere(trial)


class UnreadablePruned(TrialPruned):
    """A pruning that can be pickled but not unpickled."""

    def __init__(self, step: int, why: str) -> None:
        super().__init__(f"{step}: {why}")


class UnreadableFloat(float):
    """A number that can be pickled but not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return UnreadableFloat, (1, 2, 3)


def unreadable_results(trial: Trial) -> float:
    """Prune trial 1 and return a number in trial 2, neither of which can be unpickled."""
    if trial.number == 1:
        raise UnreadablePruned(3, "too slow")
    return UnreadableFloat(2.0) if trial.number == 2 else sphere(trial)


def test_a_result_that_cannot_be_read_costs_no_other(processes: Executor, tmp_path: Path) -> None:
    """A pruned trial stays pruned, and such a number raises an error that says so."""
    study = journal(tmp_path)
    with pytest.raises(TypeError, match="must return a value that can be pickled"):
        optimize_generations(study, InParallel(unreadable_results, processes), 5)

    assert states(study) == [COMPLETE, PRUNED, FAIL, COMPLETE]


def test_an_error_says_where_it_was_raised(processes: Executor, tmp_path: Path) -> None:
    """Its note holds the worker's traceback."""
    study = journal(tmp_path)
    with pytest.raises(OSError) as caught:
        optimize_generations(study, InParallel(ending_in_every_way, processes), 5)

    notes = getattr(caught.value, "__notes__", ["in ending_in_every_way"])  # From Python 3.11 on.
    assert "in ending_in_every_way" in notes[0]


def test_a_caught_error_is_logged_with_its_traceback(executor: Executor, tmp_path: Path) -> None:
    """It shows the line of the objective, wherever this ran."""
    study = journal(tmp_path)
    with messages_of("optuna.generations", logging.WARNING) as messages:
        optimize_generations(study, InParallel(ending_in_every_way, executor), 1, catch=OSError)

    if sys.version_info >= (3, 11) or isinstance(executor, ThreadPoolExecutor):
        assert 'raise OSError("no space left")' in messages[0]
    assert messages[0].startswith("Trial 0 failed with parameters")


def test_an_error_of_one_trial_costs_no_other(executor: Executor, tmp_path: Path) -> None:
    """It is raised once all results of its generation are recorded."""
    study = journal(tmp_path)
    with pytest.raises(OSError, match="no space left"):
        optimize_generations(study, InParallel(ending_in_every_way, executor), 5)

    assert states(study) == [FAIL, PRUNED, COMPLETE, FAIL]


def test_an_error_that_cannot_be_unpickled_is_quoted(processes: Executor, tmp_path: Path) -> None:
    """A `RuntimeError` quotes it, since unpickling it would break the executor."""
    study = journal(tmp_path)
    with pytest.raises(RuntimeError, match="UnreadableError: 7: cannot be read"):
        optimize_generations(study, InParallel(raising_an_unreadable_error, processes), 5)

    assert states(study) == [COMPLETE, COMPLETE, FAIL, COMPLETE]


def test_an_error_without_words_is_a_failure(executor: Executor, tmp_path: Path) -> None:
    """It is no error of the executor, wherever it is raised."""
    study = journal(tmp_path)
    optimize_generations(study, InParallel(raising_a_wordless_error, executor), 1, catch=Exception)

    assert states(study) == [COMPLETE, COMPLETE, FAIL, COMPLETE]


def test_a_dying_worker_costs_no_trial(tmp_path: Path) -> None:
    """Its trial is no failure; another executor continues to the study of an undisturbed run."""
    study = journal(tmp_path)
    with (
        ProcessPoolExecutor(1, FRESH) as mortal,
        pytest.raises(BrokenProcessPool, match="terminated abruptly"),
    ):
        optimize_generations(study, InParallel(dying_in_trial_two, mortal), 5, catch=Exception)
    assert states(study) == [RUNNING] * 4

    calls: list[int] = []
    with ThreadPoolExecutor(2) as threads:
        optimize_generations(study, InParallel(counted(calls), threads), 2)
    assert story(study) == story(run(of_four(), 8))
    assert sorted(calls) == [2, 3, 4, 5, 6, 7]


def counted(calls: list[int]) -> Callable[[Trial], float]:
    """Return an objective that keeps the numbers of its trials."""

    def objective(trial: Trial) -> float:
        calls.append(trial.number)
        return sphere(trial)

    return objective


def dying_once_in_trial_two(trial: Trial) -> float:
    """Kill the worker the first time that trial 2 is evaluated."""
    if trial.number == 2 and "died" not in trial.study.user_attrs:
        trial.study.set_user_attr("died", True)
        os._exit(1)
    return sphere(trial)


def test_a_new_executor_takes_over_from_a_broken_one(tmp_path: Path) -> None:
    """A function that makes executors lets the driver go on by itself; the log says so."""
    study = journal(tmp_path)
    parallel = InParallel(dying_once_in_trial_two, one_process)
    with messages_of("optuna.generations", logging.WARNING) as messages:
        optimize_generations(study, parallel, 3)

    assert study.user_attrs["died"]
    assert story(study) == story(run(of_four(), 12))
    (message,) = messages
    assert "left trials 2, 3 without a result: BrokenProcessPool(" in message


class Deadly:
    """An objective that kills its worker in some trials, and keeps a count of its calls.

    Args:
        folder: The folder for the counts.
        deadly: The numbers of the trials.
    """

    def __init__(self, folder: Path, *deadly: int) -> None:
        self._folder = folder
        self._deadly = deadly

    def __call__(self, trial: Trial) -> float:
        value = sphere(trial)
        with (self._folder / str(trial.number)).open("a") as file:
            file.write(".")
        if trial.number in self._deadly:
            time.sleep(0.1)  # Its neighbour has begun.
            os.kill(os.getpid(), signal.SIGKILL)
        if trial.number in range(4):
            time.sleep(0.3)
        return value

    def calls(self, number: int) -> int:
        """Return how often a trial was evaluated."""
        return len((self._folder / str(number)).read_text())


def failing_in(*numbers: int) -> Callable[[Trial], float]:
    """Return an objective that fails in some trials."""

    def objective(trial: Trial) -> float:
        value = sphere(trial)
        if trial.number in numbers:
            raise MemoryError
        return value

    return objective


def two_processes() -> ProcessPoolExecutor:
    """Return two worker processes."""
    return ProcessPoolExecutor(2, FRESH)


@pytest.mark.parametrize("deadly", [(2,), (1, 2), (0, 1, 2, 3)])
def test_a_trial_that_kills_its_worker_each_time_is_found(
    tmp_path: Path, deadly: tuple[int, ...]
) -> None:
    """All others have their results; once it is failed, the study is as if it had raised."""
    study, objective = journal(tmp_path), Deadly(tmp_path, *deadly)
    with (
        messages_of("optuna.generations", logging.WARNING) as messages,
        pytest.raises(BrokenExecutor, match=f"Trial {deadly[0]} broke 4 executors, the last 2"),
    ):
        optimize_generations(study, InParallel(objective, two_processes), 3)
    listed = ", ".join(map(str, deadly))
    named = f"trial {listed}" if len(deadly) == 1 else f"trials {listed}"
    assert f"run again to evaluate {named} and to continue" in messages[-1]
    assert f"To go on without {named}, call `study.tell({deadly[0]}, " in messages[-1]
    # An executor may break before a worker has begun the other trial that it was given.
    assert objective.calls(deadly[0]) >= 3
    assert all(2 <= objective.calls(number) <= 4 for number in deadly)

    for number in deadly:
        study.tell(number, state=FAIL)
    optimize_generations(study, InParallel(objective, two_processes), 3)
    whole = run(of_four(), 0)
    whole.optimize(failing_in(*deadly), n_trials=12, catch=MemoryError)
    assert story(study) == story(whole)
    others = {0, 1, 2, 3}.difference(deadly)
    assert max((objective.calls(number) for number in others), default=0) <= 3
    assert [objective.calls(number) for number in range(4, 12)] == [1] * 8


def test_a_trial_that_kills_its_worker_each_time_is_named_at_each_run(tmp_path: Path) -> None:
    """The next run evaluates nothing but this trial."""
    study, objective = journal(tmp_path), Deadly(tmp_path, 1)
    for n_calls in (4, 8):
        with pytest.raises(BrokenExecutor, match="Trial 1 broke 4 executors") as caught:
            optimize_generations(study, InParallel(objective, one_process), 3)
        notes = getattr(caught.value, "__notes__", ["study.tell(1, "])  # From Python 3.11 on.
        assert "study.tell(1, " in notes[-1]
        assert objective.calls(1) == n_calls

    assert [objective.calls(number) for number in (0, 2, 3)] == [1] * 3


def test_trials_of_workers_that_do_not_start_are_not_accused(tmp_path: Path) -> None:
    """The error is that of the pools: no trial has been evaluated by them."""
    gone = tmp_path / "gone"

    def processes() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, FRESH, initializer=while_there, initargs=(gone,))

    study, objective = journal(tmp_path), Vanishing(gone)
    with pytest.raises(BrokenExecutor) as caught:
        optimize_generations(study, InParallel(objective, processes), 3)

    assert not isinstance(caught.value, BrokenByTrialError)
    gone.unlink()
    objective.dies = False
    optimize_generations(study, InParallel(objective, processes), 3)
    assert story(study) == story(run(of_four(), 12))


def while_there(gone: Path) -> None:
    """Fail to start once a file is there."""
    if gone.exists():
        raise OSError("The GPU is lost.")


class Vanishing:
    """An objective whose trial 2 kills its worker and keeps others from starting."""

    def __init__(self, gone: Path) -> None:
        self._gone = gone
        self.dies = True

    def __call__(self, trial: Trial) -> float:
        value = sphere(trial)
        if trial.number == 2 and self.dies:
            self._gone.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return value


def test_a_search_is_not_accused_of_what_another_one_does(tmp_path: Path) -> None:
    """Two share an `InParallel`, whose executors the trials of one of them break."""
    parallel = InParallel(InStudy("bad"), two_processes)
    studies = [journal(tmp_path, study_name=name) for name in ("bad", "good")]
    with ThreadPoolExecutor(2) as threads:
        bad, good = (threads.submit(optimize_generations, s, parallel, 2) for s in studies)
        assert isinstance(bad.exception(), BrokenByTrialError)
        assert good.exception() is None

    assert story(studies[1]) == story(run(of_four(), 8))


class InStudy:
    """An objective whose first trial in a study kills its worker."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, trial: Trial) -> float:
        value = sphere(trial)
        time.sleep(0.05)
        if trial.study.study_name == self._name and trial.number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return value


def one_process() -> ProcessPoolExecutor:
    """Return one worker process."""
    return ProcessPoolExecutor(1, FRESH)


def test_a_file_of_the_objective_may_be_gone_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forked worker that collects garbage removes it, too."""
    monkeypatch.setattr(in_parallel, "mkstemp", partial(mkstemp, dir=tmp_path))
    raised: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    parallel = InParallel(sphere, one_process)
    optimize_generations(journal(tmp_path), parallel, 1)
    (file,) = tmp_path.glob("optuna_ga_*")
    file.unlink()
    del parallel
    gc.collect()

    assert raised == []


def test_an_executor_of_a_function_ends_with_the_search(tmp_path: Path) -> None:
    """Its processes end, and another search has one of its own."""
    study, made = journal(tmp_path), []

    def make() -> ProcessPoolExecutor:
        made.append(one_process())
        return made[-1]

    parallel = InParallel(sphere, make)
    for n, first in [(2, True), (3, False)]:
        optimize_generations(study, parallel, n)
        with pytest.raises(RuntimeError, match="after shutdown"):
            made[-1].submit(int)
        assert len(made) == 2 - first

    assert story(study) == story(run(of_four(), 12))


def test_searches_share_an_executor_of_a_function() -> None:
    """It ends with the last of them."""
    made: list[ThreadPoolExecutor] = []

    def make() -> ThreadPoolExecutor:
        made.append(ThreadPoolExecutor(2))
        return made[-1]

    def outer(trial: Trial) -> float:
        study = optuna.create_study(sampler=of_four())
        optimize_generations(study, parallel, 1)
        return study.best_value

    parallel = InParallel(sphere, make)
    study = optuna.create_study(sampler=of_four())
    optimize_generations(study, lambda trials: map(outer, trials), 1)
    with parallel.search(study):
        optimize_generations(study, lambda trials: map(outer, trials), 2)

    assert len(made) == 4 + 1
    with pytest.raises(RuntimeError, match="after shutdown"):
        made[-1].submit(int)


class WithoutCancelling(ThreadPoolExecutor):
    """An executor that ends as that of a Dask client."""

    def shutdown(self, wait: bool = True) -> None:  # type: ignore[override]
        super().shutdown(wait)


def test_an_executor_may_know_no_cancelling() -> None:
    """It ends, and the search has all results."""
    study, made = optuna.create_study(sampler=of_four()), WithoutCancelling(2)
    optimize_generations(study, InParallel(sphere, lambda: made), 2)

    assert states(study) == [COMPLETE] * 8
    with pytest.raises(RuntimeError, match="after shutdown"):
        made.submit(int)


def test_cancelled_futures_of_an_executor_that_was_shut_down_end() -> None:
    """Nobody is notified of them, so that waiting alone would not end."""
    may_end = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        calls: list[Future[Any]] = [executor.submit(may_end.wait), executor.submit(int)]
        results = as_they_end(calls)
        threading.Timer(0.1, executor.shutdown, (False,), {"cancel_futures": True}).start()
        cancelled = next(results)
        may_end.set()

        assert cancelled is calls[1]
        assert [each.result() for each in results] == [True]


class Cancelling(Executor):
    """An executor that cancels every trial."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if args:
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_result(fn())
        return future


def test_executors_that_fail_again_and_again_end_the_run(tmp_path: Path) -> None:
    """After seven in vain the error is raised, and the trials stay running."""
    study, made = journal(tmp_path), []

    def make() -> Any:
        made.append(Cancelling())
        return made[-1]

    with pytest.raises(CancelledError):
        optimize_generations(study, InParallel(sphere, make), 2, catch=Exception)
    assert states(study) == [RUNNING] * 4
    assert len(made) == 8


def test_a_closed_executor_leaves_the_trials_to_another(tmp_path: Path) -> None:
    """Its error says how to continue, which gives the study of an undisturbed run."""
    study = journal(tmp_path)
    with ThreadPoolExecutor(1) as executor:
        parallel = InParallel(sphere, executor)
    with pytest.raises(RuntimeError, match="after shutdown") as caught:
        optimize_generations(study, parallel, 1)
    notes = getattr(caught.value, "__notes__", ["run again"])  # From Python 3.11 on.
    assert "run again" in notes[-1]

    with ThreadPoolExecutor(1) as executor:
        optimize_generations(study, InParallel(sphere, executor), 1)
    assert story(study) == story(run(of_four(), 4))


def test_what_cannot_be_pickled_is_found_before_the_first_trial(
    processes: Executor, tmp_path: Path
) -> None:
    """The error names the objective, and the processes stay usable."""
    study = journal(tmp_path)
    with pytest.raises(TypeError, match=r"`objective` and the study's storage .* pickled"):
        optimize_generations(study, InParallel(lambda trial: sphere(trial), processes), 1)
    assert not study.trials

    optimize_generations(study, InParallel(sphere, processes), 1)
    assert states(study) == [COMPLETE] * 4


def test_a_storage_that_cannot_be_pickled_is_found_before_the_first_trial(
    processes: Executor, tmp_path: Path
) -> None:
    """Here it holds a function, as a heartbeat's callback is."""
    study = journal(tmp_path)
    vars(study._storage)["callback"] = lambda: None
    with pytest.raises(TypeError, match=r"`objective` and the study's storage .* pickled"):
        optimize_generations(study, InParallel(sphere, processes), 1)

    assert not study.trials


def with_a_gradient(trial: Trial) -> torch.Tensor:
    """Return a loss that was not detached."""
    return torch.tensor(sphere(trial), dtype=torch.float64, requires_grad=True) * 1.0


def test_a_loss_may_have_a_gradient(executor: Executor, tmp_path: Path) -> None:
    """It is converted where it was computed."""
    study = journal(tmp_path)
    optimize_generations(study, InParallel(with_a_gradient, executor), 2)

    assert story(study) == story(run(of_four(), 8))


def with_a_broken_pool_of_its_own(trial: Trial) -> float:
    """Use an executor that breaks in trial 1."""
    if trial.number == 1:
        raise BrokenProcessPool("mine")
    return sphere(trial)


def test_a_broken_executor_of_the_objective_is_a_failure(
    executor: Executor, tmp_path: Path
) -> None:
    """The executor that evaluates trials is whole, so the trial has failed."""
    study = journal(tmp_path)
    objective = InParallel(with_a_broken_pool_of_its_own, executor)
    with pytest.raises(RuntimeError, match="The objective raised BrokenProcessPool: mine"):
        optimize_generations(study, objective, 2)

    assert states(study) == [COMPLETE, FAIL, COMPLETE, COMPLETE]


def losing_its_storage(trial: Trial) -> float:
    """Lose the connection to the storage while trial 1 reports."""
    value = sphere(trial)
    if trial.number == 1:
        trial.storage = Unreachable()
        trial.report(value, 0)
    return value


class Unreachable(InMemoryStorage):
    """A storage that cannot be reached."""

    def set_trial_intermediate_value(self, *args: Any) -> None:
        raise ConnectionResetError("server closed the connection")


def test_a_lost_storage_is_no_failure_of_the_trial(processes: Executor, tmp_path: Path) -> None:
    """The trial stays running, as if its worker had been killed; `catch` changes nothing."""
    study = journal(tmp_path)
    with pytest.raises(ConnectionResetError, match="server closed the connection"):
        optimize_generations(study, InParallel(losing_its_storage, processes), 5, catch=OSError)
    assert states(study) == [RUNNING] * 4

    optimize_generations(study, InParallel(sphere, processes), 1)
    assert story(study) == story(run(of_four(), 4))


def setting_what_json_cannot_hold(trial: Trial) -> float:
    """Give the storage a value that it refuses."""
    trial.set_user_attr("what", object())
    return sphere(trial)


def test_what_a_storage_refuses_fails_the_trial(executor: Executor, tmp_path: Path) -> None:
    """The storage is in reach; the objective is at fault."""
    study = journal(tmp_path)
    with pytest.raises(TypeError, match="JSON"):
        optimize_generations(study, InParallel(setting_what_json_cannot_hold, executor), 1)

    assert states(study) == [FAIL] * 4


def reporting_a_huge_step(trial: Trial) -> float:
    """Report a step that no database can hold."""
    trial.report(1.0, 2**70)
    return sphere(trial)


def setting_what_is_nested_too_deeply(trial: Trial) -> float:
    """Give the storage a list that cannot be encoded."""
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    trial.set_user_attr("what", nested)
    return sphere(trial)


@pytest.mark.parametrize(
    ("objective", "error"),
    [(reporting_a_huge_step, OverflowError), (setting_what_is_nested_too_deeply, RecursionError)],
)
def test_what_a_database_cannot_hold_fails_the_trial(
    objective: Callable[[Trial], float],
    error: type[Exception],
    executor: Executor,
    open_database: OpenDatabase,
) -> None:
    """The same trials would end the search again and again otherwise."""
    study = optuna.create_study(sampler=of_four(), storage=open_database())
    optimize_generations(study, InParallel(objective, executor), 1, catch=error)

    assert states(study) == [FAIL] * 4


class RecordingThread(ThreadPoolExecutor):
    """A single thread, and the futures of what was handed to it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.futures.append(super().submit(fn, *args, **kwargs))
        return self.futures[-1]


class InterruptedWhileSubmitting(Executor):
    """An executor whose user presses Ctrl-C while it takes its third trial."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if not args:
            future.set_result(fn())
            return future
        if len(self.futures) == 2:
            raise KeyboardInterrupt
        self.futures.append(future)
        return future


def test_an_interrupt_cancels_what_was_handed_over(tmp_path: Path) -> None:
    """Here only half of the generation was submitted."""
    study, executor = journal(tmp_path), InterruptedWhileSubmitting()
    with pytest.raises(KeyboardInterrupt):
        optimize_generations(study, InParallel(sphere, executor), 2)

    assert [future.cancelled() for future in executor.futures] == [True, True]
    assert states(study) == [RUNNING] * 4


@pytest.mark.parametrize("result", ["value", "nothing", "pruned", "none"])
def test_ctrl_c_begins_no_further_trial_and_costs_none(heeded_sigint: None, result: str) -> None:
    """A single thread is interrupted in trial 1: trial 0 keeps its result, 2 and 3 wait."""
    calls: list[int] = []
    thread = RecordingThread()

    def objective(trial: Trial) -> Any:
        calls.append(trial.number)
        value = sphere(trial)
        if trial.number == 1 and len(calls) == 2:
            wait_until(lambda: "ga_early_result" in study.trials[0].system_attrs)
            os.kill(os.getpid(), signal.SIGINT)
            wait_until(thread.futures[3].cancelled)
        if trial.number == 0:
            return ended(result, value)
        return value

    study = optuna.create_study(sampler=of_four())
    with thread, pytest.raises(KeyboardInterrupt):
        optimize_generations(study, InParallel(objective, thread), 3)
    assert calls == [0, 1]
    assert states(study) == [RUNNING] * 4

    with ThreadPoolExecutor(1) as threads:
        optimize_generations(study, InParallel(objective, threads), 3)
    assert calls == [0, 1, *range(1, 12)]
    whole = optuna.create_study(sampler=of_four())
    whole.optimize(lambda t: ended(result, sphere(t)) if t.number == 0 else sphere(t), 12)
    assert story(study) == story(whole)


def ended(how: str, value: float) -> Any:
    """Return a value, infinity or None, or raise a TrialPruned."""
    if how == "pruned":
        raise TrialPruned("too slow")
    return {"value": value, "nothing": math.inf, "none": None}[how]


def never_ending(folder: Path, trial: Trial) -> float:
    """Say in a folder which process evaluates the trial, which takes all day."""
    (folder / f"worker {os.getpid()}").touch()
    time.sleep(86_400)
    return 0.0


def drive(folder: Path, method: str, n_workers: int = 2, is_used: bool = False) -> None:
    """Evaluate trials that never end in workers, which may have had another task."""
    executor = ProcessPoolExecutor(n_workers, get_context(method))
    if is_used:
        executor.submit(int).result()
    objective = partial(never_ending, folder)
    optimize_generations(journal(folder), InParallel(objective, executor), 1)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_end_with_a_killed_driver(tmp_path: Path, method: str) -> None:
    """Nobody waits for their results any more."""
    driver = FRESH.Process(target=drive, args=(tmp_path, method))
    driver.start()
    wait_until(lambda: len(list(tmp_path.glob("worker *"))) == 2)
    driver.kill()
    driver.join()

    workers = [int(path.name.split()[1]) for path in tmp_path.glob("worker *")]
    wait_until(lambda: not any(map(is_alive, workers)))


@pytest.mark.parametrize("is_used", [False, True])
def test_workers_without_a_trial_end_with_a_killed_driver(tmp_path: Path, is_used: bool) -> None:
    """They do not keep the others alive; in a pool that was used before, they may stay."""
    driver = FRESH.Process(target=drive, args=(tmp_path, "fork", 7, is_used))
    driver.start()
    wait_until(lambda: len(list(tmp_path.glob("worker *"))) == 4)
    children = Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text()
    workers = [*map(int, children.split())]
    busy = [int(path.name.split()[1]) for path in tmp_path.glob("worker *")]
    assert len(workers) == 7
    driver.kill()
    driver.join()

    try:
        wait_until(lambda: not any(map(is_alive, busy if is_used else workers)))
    finally:
        for worker in filter(is_alive, workers):
            os.kill(worker, signal.SIGKILL)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fail after a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    """Return whether a process runs; one that nobody has reaped does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_executor_that_was_given_stays_open() -> None:
    """After an interruption the same object evaluates what is missing."""
    calls: list[int] = []

    def objective(trial: Trial) -> float:
        calls.append(trial.number)
        if calls.count(1) == 1 and trial.number == 1:
            raise SystemExit
        return sphere(trial)

    study = optuna.create_study(sampler=of_four())
    with ThreadPoolExecutor(1) as executor:
        parallel = InParallel(objective, executor)
        with pytest.raises(SystemExit):
            optimize_generations(study, parallel, 2)
        optimize_generations(study, parallel, 2)

        assert executor.submit(int).result() == 0
    assert sorted(calls) == [0, 1, 1, *range(2, 8)]
    assert story(study) == story(run(of_four(), 8))


class BreakingAtFirst(Executor):
    """An executor in this process that may break at the first trial.

    Args:
        breaks: Whether it does.
    """

    def __init__(self, breaks: bool) -> None:
        self._breaks = breaks
        self.n_trials = 0
        self.has_ended = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.n_trials += bool(args)
        if args and self._breaks:
            future.set_exception(BrokenExecutor("broken"))
        else:
            future.set_result(fn(*args))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.has_ended = True


def test_every_executor_of_a_function_ends(tmp_path: Path) -> None:
    """Also those of trials that are evaluated alone, after two executors have broken."""
    study, made = journal(tmp_path), list[BreakingAtFirst]()

    def make() -> BreakingAtFirst:
        made.append(BreakingAtFirst(len(made) < 2))
        return made[-1]

    optimize_generations(study, InParallel(sphere, make), 1)

    assert [executor.n_trials for executor in made] == [4, 4, 1, 1, 1, 1]
    assert all(executor.has_ended for executor in made)
    assert story(study) == story(run(of_four(), 4))


def test_a_broken_executor_that_nobody_replaces_is_followed_by_a_hint(tmp_path: Path) -> None:
    """A function that makes executors would find the trial that breaks them."""
    parallel = InParallel(sphere, BreakingAtFirst(True))
    with (
        messages_of("optuna.generations", logging.WARNING) as messages,
        pytest.raises(BrokenExecutor),
    ):
        optimize_generations(journal(tmp_path), parallel, 1)

    assert ["give `InParallel` a function" in message for message in messages] == [True, False]


class Gone(ThreadPoolExecutor):
    """An executor whose cluster is gone."""

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
        raise BrokenExecutor("gone")


def test_an_executor_that_cannot_be_made_is_no_result() -> None:
    """As of a cluster that restarts: the next run evaluates the trials."""
    executors: Iterator[Any] = iter([Gone(1), OSError("no scheduler"), ThreadPoolExecutor(2)])

    def make() -> Any:
        made = next(executors)
        if isinstance(made, OSError):
            raise made
        return made

    study = optuna.create_study(sampler=of_four())
    parallel = InParallel(sphere, make)
    with pytest.raises(BrokenExecutor, match="no scheduler"):
        optimize_generations(study, parallel, 2, catch=Exception)
    assert states(study) == [RUNNING] * 4

    optimize_generations(study, parallel, 2)
    assert story(study) == story(run(of_four(), 8))


class InterruptingLock:
    """A lock that Ctrl-C comes after, once it is released."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.interrupts = True

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
        if self.interrupts:
            self.interrupts = False
            raise KeyboardInterrupt


def test_an_executor_ends_with_the_search_after_one_that_was_interrupted_early() -> None:
    """The interrupted one no longer counts among its users."""
    executor = ThreadPoolExecutor(1)
    parallel: Any = InParallel(sphere, lambda: executor)
    parallel._lock = InterruptingLock()
    study = optuna.create_study(sampler=of_four())
    with pytest.raises(KeyboardInterrupt):
        optimize_generations(study, parallel, 1)
    optimize_generations(study, parallel, 1)

    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(print)

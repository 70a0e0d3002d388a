"""Errors, interrupts and dying workers cost no other trial its result."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from optuna import Trial, TrialPruned

from optuna_ga import InParallel, optimize_generations
from tests.running.evaluations import COMPLETE, FAIL, PRUNED, ending_in_every_way, journal, states
from tests.studies import sphere


class UnreadableError(Exception):
    """An error that can be pickled but not unpickled."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{code}: {why}")


def raising_an_unreadable_error(trial: Trial) -> float:
    """Fail in trial 2."""
    if trial.number == 2:
        raise UnreadableError(7, "cannot be read")
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


def test_a_dying_worker_fails_unfinished_trials_alone(tmp_path: Path) -> None:
    """No trial is left running, results before count, and another executor resumes."""
    study = journal(tmp_path)
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as mortal,
        pytest.raises(RuntimeError, match="terminated abruptly"),
    ):
        optimize_generations(study, InParallel(dying_in_trial_two, mortal), 5)
    assert states(study) == [COMPLETE, COMPLETE, FAIL, FAIL]

    with ThreadPoolExecutor(2) as threads:
        optimize_generations(study, InParallel(sphere, threads), 2)
    assert states(study)[4:] == [COMPLETE] * 4


def test_a_closed_executor_is_an_error_and_leaves_no_trial_running(tmp_path: Path) -> None:
    """It fails the generation, as any error of the evaluation does."""
    study = journal(tmp_path)
    with ThreadPoolExecutor(1) as executor:
        parallel = InParallel(sphere, executor)
    with pytest.raises(RuntimeError, match="after shutdown"):
        optimize_generations(study, parallel, 1)

    assert states(study) == [FAIL] * 4


class Interrupting(Executor):
    """An executor whose user presses Ctrl-C while its third trial runs."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.futures.append(future)
        if len(self.futures) == 3:
            future.exception = self._interrupt  # type: ignore[method-assign]
        elif len(self.futures) < 3:
            future.set_result(fn(*args, **kwargs))
        return future

    def _interrupt(self, timeout: float | None = None) -> None:
        raise KeyboardInterrupt


def test_an_interrupt_begins_no_further_trial(tmp_path: Path) -> None:
    """The generation fails, as it does without an executor."""
    study, executor = journal(tmp_path), Interrupting()
    with pytest.raises(KeyboardInterrupt):
        optimize_generations(study, InParallel(sphere, executor), 2)

    assert executor.futures[3].cancelled()
    assert states(study) == [FAIL] * 4


class InterruptedWhileSubmitting(Interrupting):
    """An executor whose user presses Ctrl-C while it takes its third trial."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if len(self.futures) == 2:
            raise KeyboardInterrupt
        self.futures.append(Future())
        return self.futures[-1]


def test_an_interrupt_cancels_what_was_handed_over(tmp_path: Path) -> None:
    """Here only half of the generation was submitted."""
    study, executor = journal(tmp_path), InterruptedWhileSubmitting()
    with pytest.raises(KeyboardInterrupt):
        optimize_generations(study, InParallel(sphere, executor), 2)

    assert [future.cancelled() for future in executor.futures] == [True, True]
    assert states(study) == [FAIL] * 4

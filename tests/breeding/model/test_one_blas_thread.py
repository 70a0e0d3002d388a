"""The models compute on one thread, and leave the user's numbers of threads alone."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import optuna
import pytest
from optuna import Trial
from threadpoolctl import threadpool_info, threadpool_limits

from optuna_ga import GASampler, ignored_trials
from optuna_ga._breeding.model import surrogate
from optuna_ga._breeding.model.one_blas_thread import _n_threads, one_blas_thread


def n_threads() -> set[int]:
    """Return the numbers of threads of the libraries of linear algebra."""
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]])
def test_a_search_computes_on_one_thread(
    directions: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objectives, whose networks may be large, have as many as before."""
    by_model: list[set[int]] = []
    in_objective: list[set[int]] = []
    fitted: Any = vars(surrogate)["fitted"]

    def noted(*arguments: Any) -> Any:
        by_model.append(n_threads())
        return fitted(*arguments)

    def objective(trial: Trial) -> list[float]:
        x, y = trial.suggest_float("x", -1.0, 1.0), trial.suggest_float("y", -1.0, 1.0)
        in_objective.append(n_threads())
        return [x**2 + y**2, x][: len(directions)]

    monkeypatch.setattr(surrogate, "fitted", noted)
    study = optuna.create_study(directions=directions, sampler=GASampler.adaptive(seed=0))
    with threadpool_limits(2, "blas"):
        study.optimize(objective, n_trials=45)  # The later stage begins after thirty.
        ignored_trials(study)
        after = n_threads()

    assert len(by_model) > 5
    assert by_model == [{1}] * len(by_model)
    assert in_objective == [{2}] * 45
    assert after == {2}


def test_who_computes_longest_restores_the_numbers() -> None:
    """Threads may enter and leave in any order."""
    with threadpool_limits(2, "blas"):
        first, second = one_blas_thread(), one_blas_thread()
        with first:
            second.__enter__()
        during = n_threads()
        second.__exit__(None, None, None)
        after = n_threads()

    assert (during, after) == ({1}, {2})


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_waits_for_no_thread_of_its_parent() -> None:
    """The thread that holds the lock is not in the fork."""
    has_entered, may_leave = threading.Event(), threading.Event()

    def hold() -> None:
        with _n_threads._lock:
            has_entered.set()
            may_leave.wait(20.0)

    thread = threading.Thread(target=hold)
    thread.start()
    has_entered.wait()
    child = os.fork()
    if not child:
        threading.Timer(10.0, os._exit, [1]).start()
        with one_blas_thread():
            np.ones((3, 3)) @ np.ones(3)
        os._exit(0)
    may_leave.set()
    thread.join()

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

"""One study of one sampler on one objective, with simulated workers."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable
from time import process_time
from typing import Any, NamedTuple, TypeVar, cast

import optuna
from optuna import Trial
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from benchmarks.rows import Row
from benchmarks.samplers import ABLATIONS, SAMPLERS, Search
from benchmarks.suites import load_suite
from benchmarks.suites.task import Objective

Returned = TypeVar("Returned")

# Numbers of finished trials after which the best is scored.
CHECKPOINTS = (
    *(5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100),
    *(120, 140, 160, 180, 200, 250, 300, 350, 400, 500, 600, 700, 800, 900, 1000),
)


class Outcome(NamedTuple):
    """The result of a study.

    Attributes:
        best: Score of the trial with the lowest value so far, by number of finished trials.
        sampler_s: CPU seconds spent in asking for trials and parameters and in recording values.
    """

    best: dict[int, float]
    sampler_s: float


def run_study(
    objective: Objective, sampler: BaseSampler, n_trials: int, n_workers: int
) -> Outcome:
    """Return the outcome of a new study in memory.

    Each worker always runs a trial, until no trial is left to begin; the oldest ends first.

    Args:
        objective: The objective to minimize.
        sampler: The sampler.
        n_trials: Number of trials.
        n_workers: Trials that run at a time. With one the sampler knows all earlier values.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler, pruner=NopPruner())
    stopwatch = _Stopwatch()
    running: deque[tuple[Trial, float]] = deque()
    least, answer, scored, best = math.inf, None, None, {}
    score = math.nan
    for n_finished in range(1, n_trials + 1):
        while len(running) < min(n_workers, n_trials - n_finished + 1):
            running.append(_evaluated(study, objective, stopwatch))
        trial, value = running.popleft()
        _tell(study, trial, value, stopwatch)
        if answer is None or value < least:
            answer, least = trial, value if value < least else least
        if n_finished in CHECKPOINTS:
            if scored is not answer:
                scored, score = answer, objective.score(answer.params)
            best[n_finished] = score
    return Outcome(best, stopwatch.seconds)


def row_of(
    suite: str, task_name: str, sampler: str, n_workers: int, seed: int, n_trials: int
) -> Row:
    """Return the result columns of a study's row."""
    task = next(task for task in load_suite(suite).tasks if task.name == task_name)
    objective = task.objective(seed)
    search = Search(seed, n_trials=n_trials, space=objective.space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # Once for each study is too often.
        made = {**SAMPLERS, **ABLATIONS}[sampler](search)
        outcome = run_study(objective, made, n_trials, n_workers)
    best = {f"best_{n}": f"{outcome.best[n]:.6g}" if n <= n_trials else "" for n in CHECKPOINTS}
    return best | {"sampler_s": f"{outcome.sampler_s:.4g}"}


class _Stopwatch:
    """Total CPU seconds of calls, which other work on the machine hardly changes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[..., Returned]) -> Callable[..., Returned]:
        """Return the function, with its calls timed."""

        def call(*args: Any, **options: Any) -> Returned:
            start = process_time()
            try:
                return function(*args, **options)
            finally:
                self.seconds += process_time() - start

        return call


class _TimedTrial:
    """A trial with its methods timed, since many samplers draw a parameter in its suggestion."""

    def __init__(self, trial: Trial, stopwatch: _Stopwatch) -> None:
        self._trial = trial
        self._stopwatch = stopwatch

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._trial, name)
        return self._stopwatch.timed(found) if callable(found) else found


def _evaluated(
    study: optuna.Study, objective: Objective, stopwatch: _Stopwatch
) -> tuple[Trial, float]:
    """Return a new trial with its value, which is not recorded yet."""
    trial = stopwatch.timed(study.ask)()
    return trial, objective(cast("Trial", _TimedTrial(trial, stopwatch)))


def _tell(study: optuna.Study, trial: Trial, value: float, stopwatch: _Stopwatch) -> None:
    tell = stopwatch.timed(study.tell)
    if math.isnan(value):
        tell(trial, state=TrialState.FAIL)
    else:
        tell(trial, value)

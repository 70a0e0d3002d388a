"""One study of one sampler on one objective, with simulated workers."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from time import process_time
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import optuna
from optuna import Trial
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from benchmarks.rows import Row
from benchmarks.samplers import ABLATIONS, RIVALS, SAMPLERS, SEVERAL_SAMPLERS, STAGES, Search
from benchmarks.suites import load_suite
from benchmarks.suites.task import Objective, SeveralObjectives

Returned = TypeVar("Returned")

BEYOND = 1e6  # Of all scores of feasible trials with several objectives.

# Numbers of finished trials after which the answer is scored.
CHECKPOINTS = (
    *(5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100),
    *(120, 140, 160, 180, 200, 250, 300, 350, 400, 500, 600, 700, 800, 900, 1000),
)


class Outcome(NamedTuple):
    """The result of a study.

    Attributes:
        best: Score of the answer so far, by number of finished trials.
        sampler_s: CPU seconds spent in asking for trials and parameters and in recording values.
    """

    best: dict[int, float]
    sampler_s: float


def run_study(
    objective: Objective | SeveralObjectives,
    sampler: BaseSampler,
    n_trials: int,
    n_workers: int,
    *,
    by_generations: bool = False,
) -> Outcome:
    """Return the outcome of a new study in memory.

    Each worker always runs a trial, until no trial is left to begin; the oldest ends first.
    By generations the workers begin together, when all trials before have ended.

    Args:
        objective: The objective to minimize, or several.
        sampler: The sampler.
        n_trials: Number of trials.
        n_workers: Trials that run at a time. With one the sampler knows all earlier values.
        by_generations: Whether trials begin in generations of `n_workers`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    answer = _answer(objective)
    study = optuna.create_study(
        study_name="study",  # Hyperband's brackets depend on it.
        sampler=sampler,
        pruner=getattr(objective, "pruner", NopPruner()),
        directions=["minimize"] * n_objectives(objective),
    )
    stopwatch = _Stopwatch()
    running: deque[tuple[Trial, Sequence[float] | None]] = deque()
    best = {}
    for n_finished in range(1, n_trials + 1):
        if not (by_generations and running):
            while len(running) < min(n_workers, n_trials - n_finished + 1):
                running.append(_evaluated(study, objective, stopwatch))
        trial, values = running.popleft()
        _tell(study, trial, values, stopwatch)
        if values is not None:
            answer.note(trial, values)
        if n_finished in CHECKPOINTS:
            best[n_finished] = answer.score()
    return Outcome(best, stopwatch.seconds)


def n_objectives(objective: Objective | SeveralObjectives) -> int:
    """Return the number of values that an objective has."""
    return getattr(objective, "n_objectives", 1)


class _BestTrial:
    """The answer to one objective: the trial that looks best so far, scored without noise.

    With constraints, that of an objective with a method `violation`, feasible trials look better.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._violation = getattr(objective, "violation", lambda params: 0.0)
        self._best: Trial | None = None
        self._least = math.inf, math.inf
        self._scored: Trial | None = None
        self._score = math.nan

    def note(self, trial: Trial, values: Sequence[float]) -> None:
        """Note a trial that has finished."""
        (value,) = values
        key = self._violation(trial.params), math.inf if math.isnan(value) else value
        if self._best is None or key < self._least:
            self._best, self._least = trial, key

    def score(self) -> float:
        """Return the score of the best trial, infinite while all are pruned."""
        if self._best is None:
            return math.inf
        if self._scored is not self._best:
            self._scored, self._score = self._best, self._objective.score(self._best.params)
        return self._score


class _AllTrials:
    """The answer to several objectives: the values of all trials that have any.

    With constraints, those of an objective with a method `violation`, the values of the feasible
    trials; while there is none, the score is beyond all others by the least violation.
    """

    def __init__(self, objective: SeveralObjectives) -> None:
        self._objective = objective
        self._violation = getattr(objective, "violation", lambda params: 0.0)
        self._least = math.inf
        self._values: list[Sequence[float]] = []

    def note(self, trial: Trial, values: Sequence[float]) -> None:
        """Note a trial that has finished."""
        if any(map(math.isnan, values)):
            return
        violation = self._violation(trial.params)
        self._least = min(self._least, violation)
        if violation == 0.0:
            self._values.append(values)

    def score(self) -> float:
        """Return the score of the values."""
        if 0.0 < self._least < math.inf:
            return BEYOND * (1.0 + self._least)
        values = np.array(self._values).reshape(-1, self._objective.n_objectives)
        return self._objective.score(values)


def _answer(objective: Objective | SeveralObjectives) -> _BestTrial | _AllTrials:
    if n_objectives(objective) > 1:
        return _AllTrials(cast("SeveralObjectives", objective))
    return _BestTrial(cast("Objective", objective))


def row_of(
    suite: str,
    task_name: str,
    sampler: str,
    n_workers: int,
    seed: int,
    n_trials: int,
    by_generations: bool = False,
) -> Row:
    """Return the result columns of a study's row.

    By generations a generation has a trial for each worker, where there are several.
    """
    task = next(task for task in load_suite(suite).tasks if task.name == task_name)
    objective = task.objective(seed)
    search = Search(
        seed,
        population_size=n_workers if by_generations and n_workers > 1 else None,
        n_trials=n_trials,
        n_workers=n_workers,
        space=objective.space,
        n_objectives=n_objectives(objective),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # Once for each study is too often.
        known = {**SAMPLERS, **SEVERAL_SAMPLERS, **RIVALS, **ABLATIONS, **STAGES}
        outcome = run_study(
            objective, known[sampler](search), n_trials, n_workers, by_generations=by_generations
        )
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
    """A trial with its methods timed, since many samplers draw a parameter in its suggestion.

    Methods of pruners are not.
    """

    def __init__(self, trial: Trial, stopwatch: _Stopwatch) -> None:
        self._trial = trial
        self._stopwatch = stopwatch

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._trial, name)
        is_timed = callable(found) and name not in ("report", "should_prune")
        return self._stopwatch.timed(found) if is_timed else found


def _evaluated(
    study: optuna.Study, objective: Objective | SeveralObjectives, stopwatch: _Stopwatch
) -> tuple[Trial, Sequence[float] | None]:
    """Return a new trial with its values, None if it is pruned; they are not recorded yet."""
    trial = stopwatch.timed(study.ask)()
    try:
        values = objective(cast("Trial", _TimedTrial(trial, stopwatch)))
    except optuna.TrialPruned:
        return trial, None
    return trial, values if isinstance(values, Sequence) else [values]


def _tell(
    study: optuna.Study, trial: Trial, values: Sequence[float] | None, stopwatch: _Stopwatch
) -> None:
    tell = stopwatch.timed(study.tell)
    if values is None:
        tell(trial, state=TrialState.PRUNED)
    elif any(map(math.isnan, values)):
        tell(trial, state=TrialState.FAIL)
    else:
        tell(trial, values)

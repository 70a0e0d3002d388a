"""Evaluations of generations, and studies to evaluate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
from optuna import Study, Trial, TrialPruned
from optuna.samplers import NSGAIISampler, RandomSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import optimize_generations
from tests.studies import of_four, sphere

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
RUNNING = TrialState.RUNNING
REPORTS = 3


def spheres(trials: Sequence[Trial]) -> list[Any]:
    """Evaluate a generation, one trial after another."""
    return [sphere(trial) for trial in trials]


def backwards(trials: Sequence[Trial]) -> list[Any]:
    """Evaluate a generation, beginning with its last trial."""
    return spheres(trials[::-1])[::-1]


def in_threads(trials: Sequence[Trial]) -> list[Any]:
    """Evaluate a generation, all trials at once."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(sphere, trials))


def with_reports(trials: Sequence[Trial]) -> list[Any]:
    """Evaluate a generation and report some values of each trial on the way."""
    for trial in trials:
        for step in range(REPORTS):
            trial.report(sphere(trial) + step, step)
    return spheres(trials)


class Recorder:
    """Evaluates generations, and keeps the numbers of the trials of each call."""

    def __init__(self, evaluate: Callable[[list[Trial]], Sequence[Any]] = spheres) -> None:
        self.calls: list[list[int]] = []
        self._evaluate = evaluate

    def __call__(self, trials: list[Trial]) -> Sequence[Any]:
        self.calls.append([trial.number for trial in trials])
        return self._evaluate(trials)


def random_study(**options: Any) -> Study:
    """Return a study whose sampler knows no generations."""
    return optuna.create_study(sampler=RandomSampler(seed=0), **options)


def after_results(study: Study, *results: Any, **options: Any) -> Study:
    """Return the study after one generation with these results."""
    options = {"population_size": len(results), **options}
    optimize_generations(study, lambda trials: results, 1, **options)
    return study


def states(study: Study) -> list[TrialState]:
    """Return the state of every trial."""
    return [trial.state for trial in study.trials]


def values(study: Study) -> list[list[float] | None]:
    """Return the values of every trial."""
    return [trial.values for trial in study.trials]


def stop_at(number: int) -> Callable[[Study, FrozenTrial], None]:
    """Return a callback that stops the study after this trial."""

    def observe(study: Study, trial: FrozenTrial) -> None:
        if trial.number == number:
            study.stop()

    return observe


def several_objectives() -> Study:
    """Return a study with two objectives and four trials in a generation."""
    sampler = NSGAIISampler(population_size=4, seed=0)
    return optuna.create_study(sampler=sampler, directions=["minimize", "maximize"])


def journal(folder: Path, **options: Any) -> Study:
    """Return a new study that other processes can open."""
    storage = JournalStorage(JournalFileBackend(f"{folder}/journal.log"))
    return optuna.create_study(storage=storage, **{"sampler": of_four(), **options})


def ending_in_every_way(trial: Trial) -> float:
    """Fail, prune, diverge or complete, by the trial's number."""
    value = sphere(trial)
    ending = trial.number % 5
    if ending == 0:
        raise OSError("no space left")
    if ending == 1:
        trial.report(value, 7)
        raise TrialPruned("too slow")
    return {2: math.inf, 3: math.nan}.get(ending, value)

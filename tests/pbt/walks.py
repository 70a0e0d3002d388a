"""Population-based training of the smallest model: a position on a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna import Study, Trial

from optuna_ga import Checkpoints, GASampler, optimize_generations, parent_to_continue
from tests.studies import run


def files(folder: Path) -> set[str]:
    """Return the names of the files in a folder."""
    return {path.name for path in folder.iterdir()}


def story_without_keys(study: Study) -> list[Any]:
    """Return the trials without the keys of their states."""
    return [
        (
            trial.number,
            trial.state,
            trial.params,
            trial.values,
            {k: v for k, v in trial.user_attrs.items() if k != "ga_checkpoint"},
        )
        for trial in study.trials
    ]


def by_generations(objective: Any) -> Study:
    """Return a study of five generations in a single thread."""
    study = optuna.create_study(sampler=sampler())
    optimize_generations(study, one_by_one(objective), 5)
    return study


def sampler(population_size: int = 4, **options: Any) -> GASampler:
    """Return a sampler whose trials continue their parents."""
    return GASampler.population_based_training(population_size, **{"seed": 0, **options})


class Walk:
    """An objective that takes a step from its parent's position towards a goal.

    Args:
        checkpoints: Where trials save their positions.
        first: Whether to ask for the parent before the first suggestion.
    """

    def __init__(self, checkpoints: Checkpoints, first: bool = True) -> None:
        self.checkpoints = checkpoints
        self.first = first
        self.continued: dict[int, int | None] = {}

    def __call__(self, trial: Trial) -> float:
        if not self.first:
            trial.suggest_float("step", -1.0, 1.0)
        state = self.checkpoints.load_parent(trial)
        parent = parent_to_continue(trial)
        self.continued[trial.number] = None if parent is None else parent.number
        x: float = 0.0 if state is None else state["x"]
        x += trial.suggest_float("step", -1.0, 1.0)
        self.checkpoints.save(trial, {"x": x})
        return abs(x - 3.0)


def walk(n_trials: int = 24, first: bool = True, **options: Any) -> tuple[Study, Walk]:
    """Return a study of walks, and its objective."""
    objective = Walk(Checkpoints(), first)
    study = run(sampler(**options), n_trials, objective)
    return study, objective


def one_by_one(objective: Callable[[Trial], Any]) -> Callable[[list[Trial]], Sequence[Any]]:
    """Return an evaluation of generations that calls the objective for each trial."""
    return lambda trials: [objective(trial) for trial in trials]

"""Samplers that repeat no trial, however trials overlap."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from optuna import Trial
from optuna.trial import TrialState

from optuna_ga import GASampler
from tests.breeding.samplers import (
    KINDS,
    Make,
    ask_together,
    cheap,
    of_every_kind,
    points,
    stepped,
)
from tests.studies import Objective, run, sphere


def logarithmic(trial: Trial) -> float:
    """Return a value of a space of 12 points."""
    return trial.suggest_int("n", 1, 4, log=True) + trial.suggest_int("m", 2, 4, log=True)


def branching(trial: Trial) -> float:
    """Return a value of a space of 13 points, of which 9 are in one branch and 4 in another."""
    if trial.suggest_categorical("c", ("a", "b")) == "a":
        x = trial.suggest_float("x", 0.0, 1.0, step=0.5)
        return x + trial.suggest_int("n", 1, 3, log=True)
    return float(trial.suggest_int("m", 0, 3))


GRID: dict[Objective, set[tuple[object, ...]]] = {
    stepped: set(product((0.0, 0.5, 1.0), (0, 1), ("a", "bb"))),
    logarithmic: set(product((1, 2, 3, 4), (2, 3, 4))),
    branching: {*product("a", (0.0, 0.5, 1.0), (1, 2, 3)), *product("b", (0, 1, 2, 3))},
}


@of_every_kind
@pytest.mark.parametrize("objective", GRID)
def test_no_trial_repeats_another_until_all_has_been_tried(
    make: Make, objective: Objective
) -> None:
    """The first trials of a small space are all of its points; then the search goes on."""
    grid = GRID[objective]
    tried = points(run(make(4, seed=0), len(grid) + 4, objective))

    assert set(tried[: len(grid)]) == grid
    assert set(tried[len(grid) :]) <= grid


@pytest.mark.parametrize("objective", GRID)
def test_the_papers_algorithm_repeats_trials(objective: Objective) -> None:
    """`avoid_duplicates` is off by default."""
    grid = GRID[objective]

    assert len(set(points(run(GASampler(4, seed=0), len(grid), objective)))) < len(grid)


@of_every_kind
@pytest.mark.parametrize("objective", GRID)
def test_trials_that_run_together_do_not_repeat_each_other(
    make: Make, objective: Objective
) -> None:
    """Eight trials suggest before the first of them has a result."""
    study = run(make(4, seed=0), len(GRID[objective]) - 8, objective)
    for trial, value in ask_together(study, 8, objective):
        study.tell(trial, value)

    assert set(points(study)) == GRID[objective]


@cheap
def test_trials_of_dead_workers_are_not_repeated(make: Make) -> None:
    """A trial that never finishes counts as tried, and stops no other."""
    study = run(make(4, seed=0), 3, stepped)
    ask_together(study, 3, stepped)
    study.optimize(stepped, n_trials=8)

    assert len(set(points(study)[:12])) == 12
    assert [t.number for t in study.trials if t.state == TrialState.RUNNING] == [3, 4, 5]


@of_every_kind
def test_trials_of_four_threads_do_not_repeat_each_other(make: Make) -> None:
    """Each thread avoids the points of the other threads' running trials."""
    study = run(make(4, seed=0), 1, stepped)
    study.optimize(stepped, n_trials=11, n_jobs=4)

    assert set(points(study)) == GRID[stepped]


def layers(trial: Trial) -> float:
    """Return a value of a space of 39 points, of up to three layers of up to three units."""
    n_layers = trial.suggest_int("n_layers", 1, 3)
    return float(sum(trial.suggest_int(f"units {k}", 1, 3) for k in range(n_layers)))


@cheap
def test_no_trial_repeats_another_where_branches_are_barely_known(make: Make) -> None:
    """A child with more or fewer parameters than predicted is no repeat either."""
    searches = [points(run(make(5, seed=seed), 15, layers)) for seed in range(6, 10)]

    assert [len(set(search)) for search in searches] == [15] * 4


def test_trials_that_are_asked_together_differ_in_a_continuous_space() -> None:
    """The model does not send eight workers to the same place."""
    study = run(KINDS["screened"](seed=0), 15)
    genes = np.array([list(t.params.values()) for t, _ in ask_together(study, 8, sphere)])
    distances = np.abs(genes[:, None] - genes).max(axis=2)[~np.eye(8, dtype=bool)]

    assert distances.min() > 1e-6
    assert distances.max() > 0.1


@pytest.mark.parametrize("value", [0, 1, "yes", None, np.True_])
def test_avoid_duplicates_is_a_bool(value: Any) -> None:
    """`avoid_duplicates` must be True or False."""
    with pytest.raises(TypeError, match=r"^`avoid_duplicates` must be True") as raised:
        GASampler(avoid_duplicates=value)

    assert f"but {value!r} was given." in str(raised.value)

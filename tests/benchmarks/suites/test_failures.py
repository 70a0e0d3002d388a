"""The suites `failures` and `bad-values`: values of COCO's functions, and how many trials fail."""

from __future__ import annotations

import math
from typing import Any, cast

import cocoex
import numpy as np
import optuna
import pytest
from optuna import Trial
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial
from sklearn.svm import LinearSVC

from benchmarks.suites.failures import BAD_VALUES, FAILURES, FailingObjective
from tests.benchmarks.suites.objectives import linear_fit

N_TRIALS = 400
TASKS = *FAILURES.tasks, *BAD_VALUES.tasks


def objective_of(kind: str, space: str = "float", seed: int = 1) -> FailingObjective:
    """Return the objective of a task for tuning."""
    (task,) = (task for task in TASKS if task.name == f"{kind}-{space}-f07")
    assert not task.held_out
    objective: FailingObjective = task.objective(seed)
    return objective


def sampled(objective: FailingObjective) -> tuple[list[Any], np.ndarray]:
    """Return the parameters of random trials and their values, NaN for those that failed."""
    values = []

    def recorded(trial: Trial) -> float:
        values.append(objective(trial))
        return values[-1]

    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.optimize(recorded, n_trials=N_TRIALS)
    return [trial.params for trial in study.trials], np.array(values)


def test_each_kind_and_space_has_half_of_its_functions_held_out() -> None:
    """Four kinds, two spaces, six functions each."""
    held_out = [task.name for task in TASKS if task.held_out]

    assert len(FAILURES.tasks) == len(BAD_VALUES.tasks) == 48
    assert len(held_out) == 48
    assert len({name[:-4] for name in held_out}) == 8


@pytest.mark.parametrize("space", ["float", "mixint"])
@pytest.mark.parametrize("kind", ["crash", "region", "chance", "diverge"])
def test_the_best_point_has_the_score_0_and_fails_by_chance_only(kind: str, space: str) -> None:
    """Its value is its score unless it fails by chance."""
    objective = objective_of(kind, space)
    best = objective.function.best
    values = [objective(cast("Trial", FixedTrial({**best}, number))) for number in range(50)]

    assert objective.score(best) == pytest.approx(0.0, abs=1e-8)
    assert np.mean(np.isclose(values, 0.0, atol=1e-8)) >= (
        0.5 if kind in ("crash", "chance") else 1.0
    )


def test_values_are_those_of_coco() -> None:
    """Less the optimum, where a trial does not fail."""
    objective = objective_of("crash")
    suite = cocoex.Suite("bbob", "instances: 2", "dimensions: 5")
    problem = suite.get_problem_by_function_dimension_instance(7, 5, 2)
    params, values = sampled(objective)
    expected = np.array([problem([*each.values()]) for each in params])
    differences = (expected - values)[~np.isnan(values)]

    assert np.ptp(differences) == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize(("kind", "share"), [("chance", 0.2), ("crash", 1 / 3)])
def test_trials_fail_by_chance_as_often_as_the_suite_says(kind: str, share: float) -> None:
    """Within three standard errors; whether a trial fails depends on its number and the seed."""
    objective = objective_of(kind)
    params, values = sampled(objective)
    failed = values != [objective.score(each) for each in params]  # NaN differs too.

    assert failed.mean() == pytest.approx(share, abs=3 * math.sqrt(share * (1 - share) / N_TRIALS))
    assert np.array_equal(values, sampled(objective_of(kind))[1], equal_nan=True)
    assert not np.array_equal(values, sampled(objective_of(kind, seed=2))[1], equal_nan=True)


def test_bad_values_are_about_those_of_the_worst_random_point_in_twenty() -> None:
    """Up to a fifth more or less."""
    objective = objective_of("chance")
    params, values = sampled(objective)
    scores = np.array([objective.score(each) for each in params])
    bad = values[values != scores]

    assert bad.max() / bad.min() == pytest.approx(1.5, rel=0.1)
    assert np.mean(scores > np.median(bad)) == pytest.approx(0.05, abs=0.04)


def test_losses_beyond_the_plane_grow_by_powers_of_ten() -> None:
    """The logarithm of what is added is a linear function of the position, with slope 30."""
    objective = objective_of("diverge")
    params, values = sampled(objective)
    added = values - [objective.score(each) for each in params]
    beyond = added > 1e3  # So that rounding does not show.
    units = np.array([objective.units(each) for each in params])
    slope, error = linear_fit(units[beyond], np.log10(added[beyond]))

    assert 0.1 < beyond.mean() < 0.6
    assert error < 1e-6
    assert slope == pytest.approx(30.0)


def test_all_trials_fail_beyond_a_plane_close_to_the_best_point() -> None:
    """A twentieth of a range from it, so that many trials fail; a linear classifier finds it."""
    objective = objective_of("region")
    params, values = sampled(objective)
    units = np.array([objective.units(each) for each in params])
    failed = np.isnan(values)
    # A plane that separates both, found by scikit-learn, and its distance from the best point.
    plane = LinearSVC(C=1e6, max_iter=200_000).fit(units, failed)
    distance = plane.decision_function([objective.units(objective.function.best)])

    assert 0.1 < failed.mean() < 0.9
    assert plane.score(units, failed) == 1.0
    assert -distance.item() / np.linalg.norm(plane.coef_) == pytest.approx(0.05, abs=0.03)

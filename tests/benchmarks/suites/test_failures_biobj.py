"""The suite `failures-biobj`: values of COCO's pairs of functions, and which trials are bad."""

from __future__ import annotations

import math
from typing import cast

import cocoex
import numpy as np
import pytest
from optuna import Trial
from optuna.trial import FixedTrial
from sklearn.svm import LinearSVC

from benchmarks.suites.failures_biobj import FAILURES_BIOBJ, FailingPair
from tests.benchmarks.suites.objectives import linear_fit

SEED, PAIR, N_POINTS = 1, 11, 400


def objective_of(kind: str, seed: int = SEED) -> FailingPair:
    """Return the objective of a task for tuning."""
    name = f"{kind}-f{PAIR:02}"
    (task,) = (task for task in FAILURES_BIOBJ.tasks if task.name == name)
    assert not task.held_out
    objective: FailingPair = task.objective(seed)
    return objective


def evaluated(objective: FailingPair, points: np.ndarray) -> np.ndarray:
    """Return the values `(n, 2)` at points `(n, 5)`, one trial after the other."""
    trials = [
        FixedTrial(dict(zip(objective.space, point, strict=True)), number)
        for number, point in enumerate(points.tolist())
    ]
    return np.array([objective(cast("Trial", trial)) for trial in trials])


def coco_values(points: np.ndarray) -> np.ndarray:
    """Return the values `(n, 2)` of the pair itself."""
    suite = cocoex.Suite("bbob-biobj", f"instances: {SEED + 1}", "dimensions: 5")
    problem = suite.get_problem_by_function_dimension_instance(PAIR, 5, SEED + 1)
    return np.array([problem(point) for point in points])


POINTS = np.random.default_rng(0).uniform(-100.0, 100.0, (N_POINTS, 5))
UNITS = (POINTS + 100.0) / 200.0


def test_half_of_the_pairs_of_each_kind_are_held_out() -> None:
    """Four kinds, twelve pairs."""
    held_out = [task.name for task in FAILURES_BIOBJ.tasks if task.held_out]
    kinds = [name.split("-")[0] for name in held_out]

    assert len({task.name for task in FAILURES_BIOBJ.tasks}) == 48
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(
        ("crash", "region", "chance", "diverge"), 6
    )


@pytest.mark.parametrize(("kind", "share"), [("crash", 1 / 3), ("chance", 0.2)])
def test_trials_are_bad_by_chance_as_often_as_the_suite_says(kind: str, share: float) -> None:
    """Within three standard errors; all other values are those of COCO."""
    values, expected = evaluated(objective_of(kind), POINTS), coco_values(POINTS)
    bad = values[:, 0] != expected[:, 0]  # NaN differs, too.

    assert bad.mean() == pytest.approx(share, abs=3 * math.sqrt(share * (1 - share) / N_POINTS))
    assert np.array_equal(values[:, 1], expected[:, 1])
    assert np.array_equal(values, evaluated(objective_of(kind), POINTS), equal_nan=True)
    assert not np.array_equal(values, evaluated(objective_of(kind, 2), POINTS), equal_nan=True)


def test_bad_losses_are_about_those_of_the_worst_random_point_in_twenty() -> None:
    """Up to a fifth more or less."""
    values, expected = evaluated(objective_of("chance"), POINTS)[:, 0], coco_values(POINTS)[:, 0]
    bad = values[values != expected]

    assert bad.max() / bad.min() == pytest.approx(1.5, rel=0.1)
    assert np.mean(expected > np.median(bad)) == pytest.approx(0.05, abs=0.04)


@pytest.mark.parametrize("kind", ["region", "diverge"])
def test_the_best_points_are_before_the_plane(kind: str) -> None:
    """The nearer by a twentieth of a range."""
    objective = objective_of(kind)
    best = objective.functions.best_points
    around = objective.surroundings
    positions = (best + 100.0) / 200.0 @ around.direction
    nearer = best[[positions.argmax()]]

    def is_changed(distance: float) -> bool:
        point = nearer + 200.0 * distance * around.direction
        return not np.array_equal(evaluated(objective, point), coco_values(point))

    assert np.array_equal(evaluated(objective, best), coco_values(best))
    assert not is_changed(0.0499)
    assert is_changed(0.0501)


def test_all_trials_fail_beyond_a_plane() -> None:
    """A linear classifier finds it."""
    failed = np.isnan(evaluated(objective_of("region"), POINTS)[:, 0])
    classifier = LinearSVC(C=1e6, max_iter=200_000, random_state=0).fit(UNITS, failed)

    assert 0.2 < failed.mean() < 0.8
    assert classifier.score(UNITS, failed) > 0.99


def test_first_losses_beyond_the_plane_grow_by_powers_of_ten() -> None:
    """The logarithm of what is added is a linear function of the position, with slope 30."""
    values, expected = evaluated(objective_of("diverge"), POINTS), coco_values(POINTS)
    added = values[:, 0] - expected[:, 0]
    beyond = added > 1e-6 * expected[:, 0]  # So that rounding does not show.
    slope, error = linear_fit(UNITS[beyond], np.log10(added[beyond]))

    assert 0.1 < beyond.mean() < 0.8
    assert error < 1e-6
    assert slope == pytest.approx(30.0)
    assert np.array_equal(values[:, 1], expected[:, 1])

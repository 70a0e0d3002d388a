"""Models of constraints, and what they change in a search."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import optuna
import pytest
from optuna import Trial
from optuna.distributions import FloatDistribution
from optuna.study import StudyDirection

from optuna_ga import GASampler
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.constraints import ConstraintModels, with_own_losses
from optuna_ga._breeding.model.features import Features
from optuna_ga._population.fitness import Rank

UNIT = FloatDistribution(0.0, 1.0)
GRID = np.linspace(0.0, 1.0, 21)


def matrix_of(objective: Callable[[Trial], float], points: Sequence[float]) -> TrialMatrix:
    """Return the matrix of a study with these points."""
    study = optuna.create_study()
    for point in points:
        study.enqueue_trial({"x": point})
    study.optimize(objective, n_trials=len(points))
    matrix = TrialMatrix([StudyDirection.MINIMIZE], 200)
    for number, trial in enumerate(study.trials):
        trial.number = number
        matrix.add(trial)
    return matrix


def probability_on_grid(matrix: TrialMatrix) -> np.ndarray:
    """Return the probability of being feasible at the points of a grid."""
    features = Features([UNIT], None)
    rows = range(len(matrix))
    feasibility = ConstraintModels().feasibility(
        matrix, rows, np.empty((0, 1)), features, lambda: rows
    )
    assert feasibility is not None
    found = feasibility(GRID[:, None])
    assert np.isfinite(found).all()
    return np.exp(found)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_two_constraints_leave_what_both_allow(scale: float) -> None:
    """Whatever their units; 0.3 to 0.6 is feasible here."""

    def objective(trial: Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_constraint("least", 0.3 - x)
        trial.set_constraint("most", scale * (x - 0.6))
        return x

    found = probability_on_grid(matrix_of(objective, np.linspace(0.0, 1.0, 11).tolist()))

    assert (found[(GRID > 0.32) & (GRID < 0.58)] > 0.95).all()
    assert (found[(GRID < 0.28) | (GRID > 0.62)] < 0.05).all()
    assert found[[6, 12]] == pytest.approx([0.5, 0.5], abs=0.1)


@pytest.mark.parametrize("odd", [math.inf, 1e300])
def test_odd_values_violate(odd: float) -> None:
    """They are no numbers to compute with."""

    def objective(trial: Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_constraint("most", odd if x > 0.75 else x - 0.5)
        return x

    found = probability_on_grid(matrix_of(objective, np.linspace(0.0, 1.0, 11).tolist()))

    assert found[20] < 0.1 < 0.9 < found[5]


def test_a_constraint_is_learnt_from_the_trials_that_have_it() -> None:
    """Others had none when they ran."""

    def objective(trial: Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        if trial.number % 2:
            trial.set_constraint("most", x - 0.5)
        return x

    found = probability_on_grid(matrix_of(objective, np.linspace(0.0, 1.0, 21).tolist()))

    assert found[20] < 0.1 < 0.9 < found[5]


def test_constraints_that_hold_have_no_model() -> None:
    """So nothing is computed."""

    def objective(trial: Trial) -> float:
        trial.set_constraint("none", 0.0)
        return trial.suggest_float("x", 0.0, 1.0)

    matrix = matrix_of(objective, [0.1, 0.5, 0.9])
    models, rows = ConstraintModels(), range(3)

    features = Features([UNIT], None)
    assert models.feasibility(matrix, rows, np.empty((0, 1)), features, lambda: rows) is None


def rank_of(violation: float, loss: float) -> Rank:
    """Return the rank of a complete trial."""
    return Rank(violation, False, 0, (loss,), 0)


def test_losses_of_infeasible_trials_count_if_they_are_their_own() -> None:
    """They are not if all are equal, as of an objective that returns at once, or infinite."""
    feasible = rank_of(0.0, 2.0)
    own = [feasible, rank_of(1.0, 3.0), rank_of(2.0, 1.0), rank_of(3.0, math.inf), None]
    equal = [feasible, rank_of(1.0, 0.0), rank_of(2.0, 0.0)]

    found = with_own_losses(own)
    assert [rank and rank.violation for rank in found] == [0.0, 0.0, 0.0, 3.0, None]
    assert [rank and rank.losses for rank in found] == [rank and rank.losses for rank in own]
    assert with_own_losses(equal) == equal


def corner(trial: Trial) -> float:
    """Return a slope whose lowest feasible point, (0.3, 0.2), is where two constraints meet."""
    x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)
    trial.set_constraint("x", 0.3 - x)
    trial.set_constraint("y", 1e4 * (0.2 - y))
    return x + y


def early(trial: Trial) -> float:
    """Return the same, but at once where it is infeasible."""
    loss = corner(trial)
    return loss if all(value <= 0 for value in trial.constraints.values()) else math.inf


@pytest.mark.parametrize("objective", [corner, early])
@pytest.mark.parametrize("seed", range(3))
def test_the_corner_of_two_constraints_is_found(
    objective: Callable[[Trial], float], seed: int
) -> None:
    """Within a hundredth after 40 trials, also where infeasible trials have no loss."""
    study = optuna.create_study(sampler=GASampler.adaptive(seed=seed))
    study.optimize(objective, n_trials=40)

    assert 0.5 <= study.best_value < 0.51


def narrow(trial: Trial) -> float:
    """Return a loss that is lowest where one point in 20,000 is feasible, or near it."""
    genes = np.array([trial.suggest_float(f"x{i}", 0.0, 1.0) for i in range(6)])
    for i, gene in enumerate(genes):
        trial.set_constraint(f"least{i}", 0.4 - gene)
        trial.set_constraint(f"most{i}", gene - 0.6)
    return float(genes.sum())


@pytest.mark.parametrize("seed", range(3))
def test_a_feasible_trial_is_found_where_they_are_rare(seed: int) -> None:
    """And then the lowest loss of 2.4, within a hundredth."""
    study = optuna.create_study(sampler=GASampler.adaptive(seed=seed))
    study.optimize(narrow, n_trials=60)
    feasible = [max(trial.constraints.values()) <= 0.0 for trial in study.trials]

    assert feasible.index(True) < 30
    assert 2.4 <= study.best_value < 2.41


def two(trial: Trial) -> tuple[float, float]:
    """Return two losses whose front, where they sum to 1, is feasible below 0.5 only.

    Where it is not, the losses are lower.
    """
    x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)
    trial.set_constraint("c", x - 0.5)
    gain = 1.0 if x > 0.5 else 0.0
    return x + y - gain, 1.0 - x + y - gain


@pytest.mark.parametrize("seed", range(3))
def test_with_several_objectives_the_feasible_front_is_sought(seed: int) -> None:
    """Infeasible trials that dominate it do not count for it."""
    study = optuna.create_study(sampler=GASampler.adaptive(seed=seed), directions=["minimize"] * 2)
    study.optimize(two, n_trials=60)
    last = study.trials[30:]

    assert sum(trial.params["x"] <= 0.5 for trial in last) >= 24
    assert sum(trial.params["x"] <= 0.5 and trial.params["y"] < 0.05 for trial in last) >= 15


@pytest.mark.parametrize("how", ["late", "only-violated"])
def test_a_constraint_may_appear_at_any_time(how: str) -> None:
    """As one of a new branch, or one that is recorded only where it is violated."""

    def objective(trial: Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        excess = x - 0.5
        if trial.number >= 11 if how == "late" else excess > 0.0:
            trial.set_constraint("c", excess)
        return -x

    study = optuna.create_study(sampler=GASampler.adaptive(seed=0))
    study.optimize(objective, n_trials=40)
    last = study.trials[30:]

    assert sum(trial.params["x"] <= 0.5 for trial in last) >= 5


@pytest.mark.parametrize("sizes", [(1e300, 1e-300), (1.7e308, 1.7e308), (1.0, 5e-324)])
def test_values_at_the_ends_of_floats_are_learnt_from(sizes: tuple[float, float]) -> None:
    """Without a warning, which would be an error here."""

    def objective(trial: Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_constraint("c", sizes[trial.number % 2] * (1.0 if x > 0.5 else -1.0))
        return x

    found = probability_on_grid(matrix_of(objective, np.linspace(0.0, 1.0, 11).tolist()))

    assert found[:11].mean() > found[11:].mean()

"""Failures by chance, against scikit-learn's process that is fitted without each in turn."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from optuna.trial import FrozenTrial, create_trial
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from optuna_ga._breeding.adaptive_settings import SCREENED
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.front_surrogate import FrontSurrogate
from optuna_ga._breeding.model.gaussian_process import Kernel, fitted
from optuna_ga._breeding.model.outliers import outliers
from optuna_ga._breeding.model.surrogate import Surrogate
from tests.breeding.histories import MINIMIZE, UNIT
from tests.studies import failed as failed_trial

KERNEL = Kernel(1.5, 0.7, np.array([0.4, 0.6]))
LIMIT = 2.0
NUMBERS = np.zeros(2, bool)
SIZES = range(20, 100, 5)


def smooth(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features `(n, 2)` and losses that depend on them alone."""
    x = np.random.default_rng([n, 0]).random((n, 2))
    return x, np.sin(3 * x[:, 0]) + x[:, 1] ** 2


def standardized(y: np.ndarray) -> np.ndarray:
    """Return the values with mean 0 and deviation 1."""
    return np.asarray((y - y.mean()) / y.std())


def one_by_one(x: np.ndarray, y: np.ndarray, failed: np.ndarray) -> set[int]:
    """Return the failures that are left out, by fits to all trials but one."""
    matern = ConstantKernel(KERNEL.variance) * Matern(KERNEL.lengths, nu=2.5)
    process = GaussianProcessRegressor(matern + WhiteKernel(0.05), alpha=1e-8, optimizer=None)
    kept = [*range(len(y))]
    while left := [trial for trial in kept if failed[trial]]:
        centred = y - y[kept].mean()
        residuals = {}
        for trial in left:
            others = [other for other in kept if other != trial]
            process.fit(x[others], centred[others])
            mean, deviation = process.predict(x[[trial]], return_std=True)
            residuals[trial] = ((centred[trial] - mean) / deviation).item()
        farthest = max(residuals, key=residuals.__getitem__)
        if residuals[farthest] <= LIMIT:
            break
        kept.remove(farthest)
    return {*range(len(y))} - {*kept}


@pytest.mark.parametrize("n_failed", [0, 3, 8, 24])
def test_failures_are_left_out_one_by_one(n_failed: int) -> None:
    """Also where they hide one another."""
    x, y = smooth(30)
    failed = np.arange(30) < n_failed
    y[failed] = y.max()
    y = standardized(y)

    found = outliers(KERNEL, NUMBERS, x, y, failed, LIMIT)

    assert {*np.flatnonzero(found)} == one_by_one(x, y, failed)
    assert (n_failed > 0) == found.any()


def left_out(x: np.ndarray, y: np.ndarray, failed: np.ndarray) -> np.ndarray:
    """Return which failures are left out with hyperparameters that are fitted to all trials."""
    losses = standardized(np.where(failed, y[~failed].max(), y))
    kernel = fitted(x, NUMBERS, losses)
    return outliers(kernel, NUMBERS, x, losses, failed, LIMIT)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_failures_by_chance_are_left_out_where_the_loss_is_low(share: float) -> None:
    """Most of those whose true loss is below the median."""
    n_low = n_found = 0
    for n in SIZES:
        x, y = smooth(n)
        failed = np.random.default_rng([n, 1]).random(n) < share
        low = failed & (y < np.median(y))
        found = left_out(x, y, failed)
        n_low, n_found = n_low + low.sum(), n_found + (found & low).sum()
        assert not found[~failed].any()

    assert n_found > 0.6 * n_low > 20


def test_failures_in_a_region_are_hardly_left_out() -> None:
    """Each is predicted from the others, also at a cliff through the best trials."""
    n_failed = n_found = 0
    for n in SIZES:
        x, y = smooth(n)
        failed = x[:, 1] < 0.3
        n_failed, n_found = n_failed + failed.sum(), n_found + left_out(x, y, failed).sum()

    assert n_found < 0.1 * n_failed


def test_no_complete_trial_is_left_out() -> None:
    """However far it is above its prediction, also beside failures that are left out."""
    x, y = smooth(30)
    failed = np.arange(30) % 5 == 0
    y[failed] = y.max()
    y[4] += 5.0

    found = outliers(KERNEL, NUMBERS, x, standardized(y), failed, LIMIT)

    assert not found[~failed].any()
    assert found.any()


def parabola(how: str, n_objectives: int = 1) -> TrialMatrix:
    """Return the matrix of 40 trials of a parabola, every fourth of which fails somehow."""
    matrix = TrialMatrix([MINIMIZE] * n_objectives, 200)
    for number in range(40):
        x = number * 0.618 % 1.0
        if number % 4 or how == "none":
            trial = measured(x, (x - 0.3) ** 2, n_objectives)
        elif how == "no value":
            trial = failed_trial(x=x)
        elif how == "infinite":
            trial = measured(x, math.inf, n_objectives)
        else:
            trial = measured(x, 0.0, n_objectives, c=1.0)
        trial.number = number
        matrix.add(trial)
    return matrix


def measured(x: float, loss: float, n_objectives: int, **constraints: float) -> FrozenTrial:
    """Return a complete trial with the same loss in each objective."""
    return create_trial(
        values=[loss] * n_objectives,
        params={"x": x},
        distributions={"x": UNIT},
        constraints=constraints or None,
    )


def expected(matrix: TrialMatrix, max_residual: float) -> np.ndarray:
    """Return the losses that the model expects at 21 points."""
    surrogate = Surrogate(replace(SCREENED, later=None, max_failure_residual=max_residual))
    points, none_running = np.linspace(0.0, 1.0, 21)[:, None], np.empty((0, 1))
    mean, _ = surrogate.prediction(matrix, none_running)(points)
    return mean


def test_the_model_is_that_of_trials_without_failures() -> None:
    """It expects nearly the same of all points; if all failures count it does not."""
    reference = expected(parabola("none"), LIMIT)
    matrix = parabola("no value")

    assert np.abs(expected(matrix, LIMIT) - reference).max() < 0.4
    assert np.abs(expected(matrix, math.inf) - reference).max() > 0.8


@pytest.mark.parametrize("how", ["infinite", "infeasible"])
def test_infinite_losses_and_infeasible_trials_count_always(how: str) -> None:
    """They are results."""
    matrix = parabola(how)

    assert np.array_equal(expected(matrix, LIMIT), expected(matrix, math.inf))


def test_two_objectives_have_the_best_point_of_trials_without_failures() -> None:
    """If all failures count they have another."""
    points, none_running = np.linspace(0.0, 1.0, 21)[:, None], np.empty((0, 1))

    def best(how: str, max_residual: float) -> float:
        tuning = replace(SCREENED, later=None, max_failure_residual=max_residual)
        surrogate = FrontSurrogate(tuning, 2)
        rate = surrogate.rating(parabola(how, 2), none_running, np.array([0.5, 0.5]))
        return float(points[np.argmax(rate(points)), 0])

    assert best("none", LIMIT) == pytest.approx(0.3, abs=0.06)
    assert best("no value", LIMIT) == pytest.approx(0.3, abs=0.06)
    assert best("no value", math.inf) != pytest.approx(0.3, abs=0.06)


def test_a_left_out_failure_counts_as_the_worst_for_the_front() -> None:
    """The other losses are on the scale of the trials that are not left out."""
    matrix = parabola("no value", 2)
    surrogate = Surrogate(replace(SCREENED, later=None), 1)
    left_out = np.setdiff1d(range(40), surrogate._rows(matrix))
    rest = np.setdiff1d(range(40), left_out)
    losses = surrogate.known_losses(matrix)

    assert len(left_out) > 4
    assert all(matrix.ranks[row] is None for row in left_out)
    assert (losses[left_out] == losses.max()).all()
    assert losses[rest].mean() == pytest.approx(0.0, abs=1e-9)
    assert losses[rest].std() == pytest.approx(1.0)

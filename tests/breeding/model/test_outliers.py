"""Outliers, against scikit-learn's process that is fitted without each trial in turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from optuna.trial import create_trial
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from optuna_ga._breeding.adaptive_settings import SCREENED
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.gaussian_process import Kernel, fitted
from optuna_ga._breeding.model.outliers import is_likelier, outliers
from optuna_ga._breeding.model.surrogate import Surrogate
from tests.breeding.histories import MINIMIZE, UNIT
from tests.studies import failed

KERNEL = Kernel(1.5, 0.7, np.array([0.4, 0.6]))
LIMIT = 3.0
NUMBERS = np.zeros(2, bool)


def smooth(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features `(n, 2)` and losses of mean 0 and deviation 1 that depend on them alone."""
    x = np.random.default_rng(n).random((n, 2))
    y = np.sin(3 * x[:, 0]) + x[:, 1] ** 2
    return x, (y - y.mean()) / y.std()


def one_by_one(x: np.ndarray, y: np.ndarray) -> set[int]:
    """Return the outliers, found by fitting a process to all other trials for each trial."""
    matern = ConstantKernel(KERNEL.variance) * Matern(KERNEL.lengths, nu=2.5)
    process = GaussianProcessRegressor(matern + WhiteKernel(0.05), alpha=1e-8, optimizer=None)
    kept = [*range(len(y))]
    while len(kept) > len(y) // 2:
        centred = y - y[kept].mean()
        residuals = {}
        for trial in kept:
            others = [other for other in kept if other != trial]
            process.fit(x[others], centred[others])
            mean, deviation = process.predict(x[[trial]], return_std=True)
            residuals[trial] = ((centred[trial] - mean) / deviation).item()
        farthest = max(residuals, key=residuals.__getitem__)
        if residuals[farthest] <= LIMIT:
            break
        kept.remove(farthest)
    return {*range(len(y))} - {*kept}


@pytest.mark.parametrize("n_bad", [0, 3, 8, 24])
def test_outliers_are_those_that_are_found_one_by_one(n_bad: int) -> None:
    """Up to half of the trials, also where they hide one another."""
    x, y = smooth(30)
    y[:n_bad] += np.linspace(2.0, 6.0, n_bad)
    y = (y - y.mean()) / y.std()

    found = outliers(KERNEL, NUMBERS, x, y, LIMIT)

    assert {*np.flatnonzero(found)} == one_by_one(x, y)
    assert (n_bad > 0) == found.any()


def standardized(y: np.ndarray) -> np.ndarray:
    """Return the values with mean 0 and deviation 1."""
    return np.asarray((y - y.mean()) / y.std())


def found_by_a_search(x: np.ndarray, y: np.ndarray) -> set[int]:
    """Return the outliers with hyperparameters that are fitted to all trials."""
    y = standardized(y)
    kernel = fitted(x, NUMBERS, y)
    found = outliers(kernel, NUMBERS, x, y, LIMIT)
    if not found.any():
        return set()
    other = fitted(x[~found], NUMBERS, standardized(y[~found]))
    likelier = is_likelier(other, kernel, NUMBERS, x, y, found)
    return {*np.flatnonzero(found).tolist()} if likelier else set()


SIZES = range(30, 90, 5)


def test_failures_by_chance_are_outliers_and_hardly_any_others() -> None:
    """Most that are far above their true loss: a fifth of the trials is as bad as the worst."""
    n_clear = n_found = n_others = 0
    for n in SIZES:
        x, y = smooth(n)
        failures = {*range(0, n, 5)}
        clear = {failure for failure in failures if y[failure] < 0.5}
        y[[*failures]] = y.max()
        found = found_by_a_search(x, y)
        n_clear, n_found = n_clear + len(clear), n_found + len(found & clear)
        n_others += len(found - failures)

    assert n_clear > 80
    assert n_found > 0.8 * n_clear
    assert n_others < 0.1 * n_found


@pytest.mark.parametrize("n", SIZES)
def test_a_region_where_all_trials_fail_has_hardly_an_outlier(n: int) -> None:
    """Each failure is expected from the others, also at a cliff."""
    x, y = smooth(n)
    failures = x[:, 0] > 0.5
    y[failures] = y.max()

    assert failures.sum() >= 10
    assert len(found_by_a_search(x, y)) <= 1


def test_noise_has_hardly_an_outlier() -> None:
    """However large it is: its upper end is not left out."""
    n_found = 0
    for n in SIZES:
        x, y = smooth(n)
        for deviation in (0.3, 1.0, 3.0):
            noise = deviation * np.random.default_rng(n).standard_normal(n)
            n_found += len(found_by_a_search(x, y + noise))

    assert n_found < 0.01 * 3 * sum(SIZES)


def test_a_trial_that_is_better_than_expected_is_no_outlier() -> None:
    """It may be the best that was found; with the other sign it is an outlier."""
    x, y = smooth(30)
    y[4] -= 5.0

    assert not outliers(KERNEL, NUMBERS, x, y, LIMIT)[4]
    assert outliers(KERNEL, NUMBERS, x, -y, LIMIT)[4]


def with_failures(every: int) -> TrialMatrix:
    """Return the matrix of 40 trials of a parabola, some of which fail by chance."""
    matrix = TrialMatrix([MINIMIZE], 200)
    for number in range(40):
        x = number * 0.618 % 1.0
        if every and number % every == 0:
            trial = failed(x=x)
        else:
            trial = create_trial(value=(x - 0.3) ** 2, params={"x": x}, distributions={"x": UNIT})
        trial.number = number
        matrix.add(trial)
    return matrix


def test_the_model_leaves_out_failures_by_chance() -> None:
    """It expects of all points nearly what it expects without failures; otherwise it does not."""
    points, none_running = np.linspace(0.0, 1.0, 21)[:, None], np.empty((0, 1))
    tuning = replace(SCREENED, later=None)

    def expected(matrix: TrialMatrix, max_residual: float = LIMIT) -> np.ndarray:
        surrogate = Surrogate(replace(tuning, max_residual=max_residual))
        mean, _ = surrogate.prediction(matrix, none_running)(points)
        return mean

    reference = expected(with_failures(0))

    assert np.abs(expected(with_failures(4)) - reference).max() < 0.4
    assert np.abs(expected(with_failures(4), np.inf) - reference).max() > 0.8

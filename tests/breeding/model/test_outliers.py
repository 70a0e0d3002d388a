"""Failures and bad losses by chance, against scikit-learn's process without each in turn."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from optuna.trial import FrozenTrial, create_trial
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from optuna_ga._breeding.adaptive_settings import MODELLED
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.front_surrogate import FrontSurrogate
from optuna_ga._breeding.model.gaussian_process import Kernel, fitted
from optuna_ga._breeding.model.outliers import explain_better, outliers
from optuna_ga._breeding.model.surrogate import Surrogate
from tests.breeding.histories import MINIMIZE, UNIT
from tests.studies import failed as failed_trial

KERNEL = Kernel(1.5, 0.7, np.array([0.4, 0.6]))
MATERN = ConstantKernel(KERNEL.variance) * Matern(KERNEL.lengths, nu=2.5)
LIMIT = 2.0
NUMBERS = np.zeros(2, bool)
SIZES = range(20, 100, 5)
SEVERAL = replace(MODELLED, later=None)  # As with several objectives.


def smooth(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features `(n, 2)` and losses that depend on them alone."""
    x = np.random.default_rng([n, 0]).random((n, 2))
    return x, np.sin(3 * x[:, 0]) + x[:, 1] ** 2


def standardized(y: np.ndarray) -> np.ndarray:
    """Return the values with mean 0 and deviation 1."""
    return np.asarray((y - y.mean()) / y.std())


def one_by_one(x: np.ndarray, y: np.ndarray, failed: np.ndarray) -> set[int]:
    """Return the failures that are left out, by fits to all trials but one."""
    process = GaussianProcessRegressor(MATERN + WhiteKernel(0.05), alpha=1e-8, optimizer=None)
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


@pytest.mark.parametrize("n_found", [1, 5, 12])
def test_outliers_explain_losses_better_where_the_likelihoods_say_so(n_found: int) -> None:
    """Both likelihoods are scikit-learn's; that of an outlier is one in fifty."""
    x, y = smooth(30)
    rng, decisions = np.random.default_rng(n_found), set()
    for shift in np.geomspace(0.01, 10.0, 12):
        found = rng.permutation(30) < n_found
        values = standardized(y + shift * found)
        kept = standardized(values[~found])
        gain = likelihood(x[~found], kept) - (30 - n_found) * math.log(values[~found].std())
        gain += n_found * math.log(0.02) - likelihood(x, values)

        better = explain_better(found, KERNEL, KERNEL, NUMBERS, x, values)

        assert better == (gain > 5.0)
        decisions.add(better)
    assert decisions == {False, True}


def likelihood(x: np.ndarray, y: np.ndarray) -> float:
    """Return the logarithm of scikit-learn's marginal likelihood."""
    kernel = MATERN + WhiteKernel(KERNEL.noise)
    process = GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=None).fit(x, y)
    return float(process.log_marginal_likelihood_value_)


def parabola(how: str, n_objectives: int = 1) -> TrialMatrix:
    """Return the matrix of 40 trials of a parabola, every fourth of which is bad somehow."""
    matrix = TrialMatrix([MINIMIZE] * n_objectives, 200)
    for number in range(40):
        x = number * 0.618 % 1.0
        if number % 4 or how == "none":
            trial = measured(x, (x - 0.3) ** 2, n_objectives)
        elif how == "no value":
            trial = failed_trial(x=x)
        elif how == "bad":
            trial = measured(x, 0.6 + number / 100.0, n_objectives)
        elif how == "infinite":
            trial = measured(x, math.inf, n_objectives)
        else:
            trial = measured(x, 0.0, n_objectives, c=1.0)
        trial.number = number
        matrix.add(trial)
    return matrix


def measured(x: float, loss: float, n_objectives: int, **constraints: float) -> FrozenTrial:
    """Return a complete trial with the same loss in each objective."""
    return with_losses(x, [loss] * n_objectives, **constraints)


def with_losses(x: float, losses: list[float], **constraints: float) -> FrozenTrial:
    """Return a complete trial."""
    return create_trial(
        values=losses,
        params={"x": x},
        distributions={"x": UNIT},
        constraints=constraints or None,
    )


def expected(matrix: TrialMatrix, **changes: Any) -> np.ndarray:
    """Return the losses that the model expects at 21 points."""
    surrogate = Surrogate(replace(MODELLED, later=None, **changes))
    points, none_running = np.linspace(0.0, 1.0, 21)[:, None], np.empty((0, 1))
    mean, _ = surrogate.prediction(matrix, none_running)(points)
    return mean


@pytest.mark.parametrize(
    ("how", "limit"), [("no value", "max_failure_residual"), ("bad", "max_loss_residual")]
)
def test_the_model_is_that_of_trials_without_outliers(how: str, limit: str) -> None:
    """It expects nearly the same of all points; if all trials count it does not."""
    reference = expected(parabola("none"))
    matrix = parabola(how)

    assert np.abs(expected(matrix) - reference).max() < 0.4
    assert np.abs(expected(matrix, **{limit: math.inf}) - reference).max() > 0.8


@pytest.mark.parametrize("how", ["a bad region", "noise", "bad by chance"])
def test_bad_losses_are_left_out_that_come_by_chance(how: str) -> None:
    """Hardly in a region of bad losses, hardly where noise goes both ways."""
    n_bad = n_left_out = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        x = rng.random(60)
        losses, bad = (x - 0.3) ** 2 + 0.1, x > 0.4
        if how == "noise":
            losses *= np.exp(rng.normal(size=60))
        else:
            bad = bad if how == "a bad region" else rng.random(60) < 0.2
            losses[bad] = rng.uniform(0.7, 1.1, bad.sum())
        matrix = TrialMatrix([MINIMIZE], 200)
        for number in range(60):
            trial = measured(x[number], losses[number], 1)
            trial.number = number
            matrix.add(trial)
        left_out = np.setdiff1d(range(60), Surrogate(MODELLED)._rows(matrix))
        n_bad, n_left_out = n_bad + bad.sum(), n_left_out + bad[left_out].sum()

    share = n_left_out / n_bad
    assert share > 0.5 if how == "bad by chance" else share < 0.02, share


@pytest.mark.parametrize("how", ["infinite", "infeasible"])
def test_infinite_losses_and_infeasible_trials_count_always(how: str) -> None:
    """They are results."""
    matrix = parabola(how)
    without = expected(matrix, max_failure_residual=math.inf, max_loss_residual=math.inf)

    assert np.array_equal(expected(matrix), without)


def test_two_objectives_have_the_best_point_of_trials_without_failures() -> None:
    """If all failures count they have another."""
    points, none_running = np.linspace(0.0, 1.0, 21)[:, None], np.empty((0, 1))

    def best(how: str, max_residual: float) -> float:
        surrogate = FrontSurrogate(replace(SEVERAL, max_failure_residual=max_residual), 2)
        rate = surrogate.rating(parabola(how, 2), none_running, np.array([0.5, 0.5]))
        return float(points[np.argmax(rate(points)), 0])

    assert best("none", LIMIT) == pytest.approx(0.3, abs=0.06)
    assert best("no value", LIMIT) == pytest.approx(0.3, abs=0.06)
    assert best("no value", math.inf) != pytest.approx(0.3, abs=0.06)


def test_a_left_out_failure_counts_as_the_worst_for_the_front() -> None:
    """The other losses are on the scale of the trials that are not left out."""
    matrix = parabola("no value", 2)
    surrogate = Surrogate(SEVERAL, 1)
    left_out = np.setdiff1d(range(40), surrogate._rows(matrix))
    rest = np.setdiff1d(range(40), left_out)
    losses = surrogate.known_losses(matrix)

    assert len(left_out) > 4
    assert all(matrix.ranks[row] is None for row in left_out)
    assert (losses[left_out] == losses.max()).all()
    assert losses[rest].mean() == pytest.approx(0.0, abs=1e-9)
    assert losses[rest].std() == pytest.approx(1.0)


def test_several_objectives_have_the_outliers_of_all_models() -> None:
    """The two objectives are low in other regions."""
    matrix = TrialMatrix([MINIMIZE] * 2, 200)
    for number in range(60):
        x = number * 0.618 % 1.0
        losses = [(x - 0.3) ** 2, (x - 0.6) ** 2]
        trial = failed_trial(x=x) if number % 4 == 0 else with_losses(x, losses)
        trial.number = number
        matrix.add(trial)
    first, second = ({*Surrogate(SEVERAL, which).outliers(matrix)} for which in (0, 1))

    assert first - second and second - first
    assert FrontSurrogate(SEVERAL, 2).outliers(matrix) == sorted(first & second) != []


def test_several_objectives_have_the_bad_losses_of_each_model() -> None:
    """Of which only one has any; the other learns from the same trials."""
    matrix = TrialMatrix([MINIMIZE] * 2, 200)
    for number in range(60):
        x = number * 0.618 % 1.0
        bad = 0.6 + number / 100.0 if number % 4 == 0 else 0.0
        trial = with_losses(x, [(x - 0.3) ** 2 + bad, (x - 0.6) ** 2])
        trial.number = number
        matrix.add(trial)
    first, second = (Surrogate(SEVERAL, which).outliers(matrix) for which in (0, 1))

    assert FrontSurrogate(SEVERAL, 2).outliers(matrix) == first != second == []
    assert all(row % 4 == 0 for row in first)


def test_no_trial_of_the_front_has_a_bad_loss() -> None:
    """However far above its prediction: it may be an end of the front."""
    matrix = TrialMatrix([MINIMIZE] * 2, 200)
    for number in range(60):
        x = number * 0.618 % 1.0
        bad = 0.6 + number / 100.0 if number % 4 == 0 else 0.0
        best = -1.0 if number == 32 else 0.0
        trial = with_losses(x, [(x - 0.3) ** 2 + bad, (x - 0.6) ** 2 + best])
        trial.number = number
        matrix.add(trial)
    found = FrontSurrogate(SEVERAL, 2).outliers(matrix)

    assert len(found) > 8
    assert 32 not in found


def test_equal_losses_beside_bad_ones_by_chance_are_never_a_better_explanation() -> None:
    """However the mean of equal losses is rounded: no model learns from them."""
    for n in range(20, 60):
        x = np.random.default_rng(n).random((n, 2))
        found = np.arange(n) % 5 == 0
        losses = standardized(np.where(found, 0.8 + np.arange(n) / 100, 0.7))

        assert not explain_better(found, KERNEL, KERNEL, NUMBERS, x, losses)

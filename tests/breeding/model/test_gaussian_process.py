"""The Gaussian process against scikit-learn's, finite differences and closed forms."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from optuna_ga._breeding.model import gaussian_process
from optuna_ga._breeding.model.gaussian_process import (
    LENGTHS,
    NOISES,
    VARIANCES,
    GaussianProcess,
    Kernel,
    _NegativeLikelihood,
    _squares,
    fitted,
)


def observations(n: int, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features and noisy observations with mean 0 and deviation 1."""
    rng = np.random.default_rng((n, n_features))
    x = rng.random((n, n_features))
    y = np.sin(5 * x[:, 0]) + x[:, -1] ** 2 + 0.1 * rng.standard_normal(n)
    return x, (y - y.mean()) / y.std()


def numbers(n_features: int) -> np.ndarray:
    """Return that no feature is a choice."""
    return np.zeros(n_features, bool)


def theirs(kernel: Kernel) -> GaussianProcessRegressor:
    """Return scikit-learn's process with the same hyperparameters."""
    matern = ConstantKernel(kernel.variance, VARIANCES) * Matern(kernel.lengths, LENGTHS, nu=2.5)
    return GaussianProcessRegressor(matern + WhiteKernel(kernel.noise, NOISES), alpha=1e-8)


@pytest.mark.parametrize(("n", "n_features"), [(2, 1), (30, 3), (120, 7)])
def test_the_posterior_is_that_of_scikit_learn(n: int, n_features: int) -> None:
    """Means and deviations agree; scikit-learn's deviation includes the noise."""
    x, y = observations(n, n_features)
    kernel = Kernel(1.7, 0.02, np.linspace(0.3, 2.0, n_features))
    reference = theirs(kernel).set_params(optimizer=None).fit(x, y)
    points = np.random.default_rng(0).random((50, n_features))

    ours = GaussianProcess(kernel, numbers(n_features), x, y)
    mean, deviation = ours.mean_and_deviation(points)
    expected_mean, expected_deviation = reference.predict(points, return_std=True)

    assert mean == pytest.approx(expected_mean, abs=1e-9)
    assert deviation**2 + kernel.noise == pytest.approx(expected_deviation**2, abs=1e-9)
    assert ours.mean(points) == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize(("n", "n_features"), [(30, 2), (80, 4)])
def test_the_fit_is_that_of_scikit_learn(
    n: int, n_features: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find the same hyperparameters of greatest likelihood."""
    x, y = observations(n, n_features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # Of a length at its bound.
        reference = theirs(Kernel(1.0, 0.01, np.full(n_features, 0.5))).fit(x, y)

    monkeypatch.setattr(gaussian_process, "_MAX_ITERATIONS", 1000)
    found = fitted(x, numbers(n_features), y)

    theta = np.log([found.variance, *found.lengths, found.noise])
    assert theta == pytest.approx(reference.kernel_.theta, abs=0.02)
    assert reference.log_marginal_likelihood(theta) == pytest.approx(
        reference.log_marginal_likelihood_value_, abs=1e-3
    )


@pytest.mark.parametrize("choices", [[], [1], [0, 1, 2]])
def test_the_gradient_is_that_of_finite_differences(choices: list[int]) -> None:
    """Numbers and choices have the gradient of the same likelihood."""
    x, y = observations(25, 3)
    x[:, choices] = np.floor(4 * x[:, choices])
    categorical = np.isin(range(3), choices)
    likelihood = _NegativeLikelihood(_squares(x, categorical), y)
    theta = np.log([1.3, 0.05, 0.4, 0.9, 1.5])

    _, gradient = likelihood(theta)

    def value(at: np.ndarray) -> float:
        return likelihood(at)[0]

    expected = approx_fprime(theta, value, 1e-6)
    assert gradient == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_two_choices_are_equal_or_one_length_apart() -> None:
    """The prior covariance of two observations is Matern's at no distance or at one length."""
    kernel = Kernel(2.0, 1e-6, np.array([0.8]))
    x = np.array([[0.0], [3.0]])
    process = GaussianProcess(kernel, np.array([True]), x, np.array([1.0, 0.0]))
    root = math.sqrt(5.0) / 0.8
    rho = (1.0 + root + root**2 / 3.0) * math.exp(-root)

    mean, deviation = process.mean_and_deviation(np.array([[0.0], [3.0], [1.0], [2.0]]))

    assert mean == pytest.approx([1.0, 0.0, rho / (1.0 + rho), rho / (1.0 + rho)], abs=1e-5)
    assert deviation[2:] ** 2 == pytest.approx(
        [2.0 * (1.0 - 2.0 * rho**2 / (1.0 + rho))] * 2, abs=1e-5
    )


def test_thousands_of_choices_have_one_length() -> None:
    """The cost of a choice does not depend on how many there are."""
    x, y = observations(60, 2)
    x[:, 1] = np.random.default_rng(0).integers(5040, size=60)

    kernel = fitted(x, np.array([False, True]), y)

    assert kernel.lengths.shape == (2,)


def test_hyperparameters_stay_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Constant observations, or noise alone, lead to a bound and not beyond."""
    monkeypatch.setattr(gaussian_process, "_MAX_ITERATIONS", 200)
    x, _ = observations(20, 2)
    noise = np.random.default_rng(1).standard_normal(20)
    for y in (np.zeros(20), noise):
        kernel = fitted(x, numbers(2), y)
        found = np.array([kernel.variance, kernel.noise, *kernel.lengths])
        bounds = np.array([VARIANCES, NOISES, LENGTHS, LENGTHS])
        assert (found >= bounds[:, 0] * (1 - 1e-9)).all()
        assert (found <= bounds[:, 1] * (1 + 1e-9)).all()

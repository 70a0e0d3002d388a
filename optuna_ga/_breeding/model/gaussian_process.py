"""A Gaussian process with a Matern 5/2 kernel, a length scale for each feature, and noise.

For numbers it is scikit-learn's GaussianProcessRegressor, to rounding, without that class's cost
of several milliseconds for each call, which a search pays for every trial. Choices have no order:
two of them are equal or one length apart. So a parameter costs the same whether it is a number or
has thousands of choices.

Source: Rasmussen and Williams (2006), http://gaussianprocess.org/gpml, algorithm 2.1 and sections
4.2 and 5.4.

Shapes: N observations, K points, F features.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.optimize import minimize
from scipy.spatial.distance import cdist, squareform

VARIANCES = 0.05, 20.0  # Bounds; observations are expected to have mean 0 and deviation 1.
NOISES = 1e-6, 1.0
LENGTHS = 0.05, 20.0
_START = 1.0, 0.01, 0.5  # Variance, noise and lengths at which the fit starts.
_MAX_ITERATIONS = 15  # Of the fit; few suffice to compare points.
_JITTER = 1e-8
_MIN_VARIANCE = 1e-12
_SQRT_5 = math.sqrt(5.0)


class Kernel(NamedTuple):
    """The hyperparameters.

    Attributes:
        variance: Variance of the function.
        noise: Variance of the observations' noise.
        lengths: Length scales of the features `(F,)`.
    """

    variance: float
    noise: float
    lengths: np.ndarray


class GaussianProcess:
    """The posterior of a function, given observations.

    Args:
        kernel: The hyperparameters.
        categorical: Which features are choices, as booleans `(F,)`.
        x: Features of the observations `(N, F)`.
        y: Observations `(N,)`.
    """

    def __init__(
        self, kernel: Kernel, categorical: np.ndarray, x: np.ndarray, y: np.ndarray
    ) -> None:
        self._kernel = kernel
        self._categorical = categorical
        self._x = x
        covariance = self._covariance(x, x)
        covariance.flat[:: len(x) + 1] += kernel.noise + _JITTER
        self._factor = np.linalg.cholesky(covariance)
        self._weights = cho_solve((self._factor, True), y)

    def mean(self, points: np.ndarray) -> np.ndarray:
        """Return the expected values `(K,)` of the function at points `(K, F)`."""
        return np.asarray(self._covariance(points, self._x) @ self._weights)

    def mean_and_deviation(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return expected values and deviations `(K,)` of the function, which has no noise."""
        covariance = self._covariance(points, self._x)
        explained = solve_triangular(self._factor, covariance.T, lower=True, check_finite=False)
        variance = self._kernel.variance - (explained * explained).sum(axis=0)
        return covariance @ self._weights, np.sqrt(np.maximum(variance, _MIN_VARIANCE))

    def precision(self) -> np.ndarray:
        """Return the inverse of the observations' covariance `(N, N)`, with noise."""
        return np.asarray(cho_solve((self._factor, True), np.eye(len(self._x))))

    def _covariance(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the function's covariances `(n, m)` between points `(n, F)` and `(m, F)`."""
        numbers, lengths = ~self._categorical, self._kernel.lengths
        squares = np.zeros((len(first), len(second)))
        if numbers.any():
            scaled = [points[:, numbers] / lengths[numbers] for points in (first, second)]
            squares += cdist(scaled[0], scaled[1], "sqeuclidean")
        for feature in np.flatnonzero(self._categorical):
            differ = first[:, feature, None] != second[:, feature]
            squares += differ / lengths[feature] ** 2
        correlation, _ = _matern(squares)
        return np.asarray(self._kernel.variance * correlation)


def with_awaited(
    kernel: Kernel, categorical: np.ndarray, x: np.ndarray, y: np.ndarray, awaited: np.ndarray
) -> GaussianProcess:
    """Return the process given observations, and given awaited ones that end as it expects.

    Args:
        kernel: The hyperparameters.
        categorical: Which features are choices, as booleans `(F,)`.
        x: Features of the observations `(N, F)`.
        y: Observations `(N,)`.
        awaited: Features of the awaited ones `(R, F)`.
    """
    model = GaussianProcess(kernel, categorical, x, y)
    if not len(awaited):
        return model
    expected = np.concatenate([y, model.mean(awaited)])
    return GaussianProcess(kernel, categorical, np.vstack([x, awaited]), expected)


def fitted(x: np.ndarray, categorical: np.ndarray, y: np.ndarray) -> Kernel:
    """Return the hyperparameters of greatest marginal likelihood, within their bounds.

    Without observations they are those at which the fit starts.

    Args:
        x: Features of the observations `(N, F)`.
        categorical: Which features are choices, as booleans `(F,)`.
        y: Observations `(N,)`.
    """
    n_features = x.shape[1]
    variance, noise, length = _START
    if not len(y):
        return Kernel(variance, noise, np.full(n_features, length))
    likelihood = _NegativeLikelihood(_squares(x, categorical), y)
    bounds = [VARIANCES, NOISES, *[LENGTHS] * n_features]
    found = minimize(
        likelihood,
        np.log([variance, noise, *[length] * n_features]),
        jac=True,
        bounds=[(math.log(low), math.log(high)) for low, high in bounds],
        method="L-BFGS-B",
        options={"maxiter": _MAX_ITERATIONS},
    )
    variance, noise, *lengths = np.exp(found.x).tolist()
    return Kernel(variance, noise, np.array(lengths))


def log_likelihood(kernel: Kernel, categorical: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Return the logarithm of the marginal likelihood of observations; see `GaussianProcess`."""
    theta = np.log([kernel.variance, kernel.noise, *kernel.lengths])
    negative, _ = _NegativeLikelihood(_squares(x, categorical), y)(theta)
    return -negative


class _NegativeLikelihood:
    """The negative logarithm of the marginal likelihood, and its gradient.

    Args:
        squares: Squared distances of the pairs of observations in each feature `(F, pairs)`, in
            the order of `scipy.spatial.distance.squareform`.
        y: Observations `(N,)`.
    """

    def __init__(self, squares: np.ndarray, y: np.ndarray) -> None:
        self._squares = squares
        self._y = y
        self._pairs = np.triu_indices(len(y), 1)

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return both at the logarithms `(2 + F,)` of variance, noise and lengths."""
        n, y, (first, second) = len(self._y), self._y, self._pairs
        variance, noise = np.exp(theta[:2])
        precisions = np.exp(-2.0 * theta[2:])
        correlation, slope = _matern(precisions @ self._squares)
        covariance = squareform(variance * correlation)
        covariance.flat[:: n + 1] = variance + noise + _JITTER
        factor, _ = dpotrf(covariance, lower=1)
        weights = cho_solve((factor, True), y)
        value = y @ weights / 2 + np.log(factor.diagonal()).sum() + n / 2 * math.log(2 * math.pi)
        # Half of the inverse less the weights' outer product: the derivative by the covariance,
        # of which each pair has two equal entries.
        inverse, _ = dpotri(factor, lower=1)
        by_pair = inverse[second, first] - weights[first] * weights[second]
        by_diagonal = (inverse.diagonal() - weights * weights).sum() / 2
        gradient = np.empty_like(theta)
        gradient[0] = variance * (by_pair @ correlation + by_diagonal)
        gradient[1] = noise * by_diagonal
        gradient[2:] = -2.0 * precisions * (self._squares @ (by_pair * variance * slope))
        return float(value), gradient


def _squares(x: np.ndarray, categorical: np.ndarray) -> np.ndarray:
    """Return the squared distances `(F, pairs)` of observations `(N, F)` in each feature."""
    first, second = np.triu_indices(len(x), 1)
    differences = x.T[:, first] - x.T[:, second]
    return np.asarray(np.where(categorical[:, None], differences != 0.0, differences**2))


def _matern(squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlations at squared distances, and their derivatives by these."""
    distances = _SQRT_5 * np.sqrt(squares)
    decay = np.exp(-distances)
    correlation = (1.0 + distances + distances * distances / 3.0) * decay
    return correlation, -5.0 / 6.0 * (1.0 + distances) * decay

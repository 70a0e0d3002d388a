"""The surrogate: a model of the finished trials that chooses among candidate children.

The model is scikit-learn's Gaussian process with a Matern 5/2 kernel, a length scale for each
feature, and noise, all fitted. It sees losses on a logarithmic scale above the best, so that the
differences between good trials count. It chooses the candidate with the lowest optimistic loss,
the mean minus one standard deviation (GP-UCB; Srinivas et al. 2010, arXiv:0912.3995). Running
trials are assumed to end as the model expects, which removes the uncertainty around them: workers
that ask at the same time get different children (GP-BUCB; Desautels, Krause and Burdick 2014,
JMLR 15).

It learns from at most 200 trials, the 100 best and the 100 latest, so its cost is bounded.

Shapes: N trials, K candidates, R running trials, D parameters, F features. Genes are positions on
the unit scale, NaN for parameters that a trial does not have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from optuna_ga._breeding.adaptive_settings import Tuning
from optuna_ga._breeding.trial_matrix import TrialMatrix
from optuna_ga._population.fitness import Rank

MAX_TRIALS = 200
_FIRST_FIT = 10
_REFIT_GROWTH = 1.25  # The kernel is fitted anew after so many times the trials.
_MAX_ITERATIONS = 15
_JITTER = 1e-8


class Surrogate:
    """Rates candidates by a model of the finished trials.

    Args:
        tuning: Constants of the model.
    """

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._fitted: tuple[TrialMatrix, tuple[int, int], Any] | None = None

    def rating(
        self, matrix: TrialMatrix, running: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from candidates' genes `(K, D)` to ratings `(K,)`, higher for better.

        Args:
            matrix: The finished trials.
            running: Genes `(R, D)` of the running trials.
        """
        from sklearn.gaussian_process import GaussianProcessRegressor

        distributions = list(matrix.distributions.values())
        known, losses = self._data(matrix, len(matrix))
        kernel = self._kernel(matrix)
        model = GaussianProcessRegressor(kernel, alpha=_JITTER, optimizer=None).fit(known, losses)
        noise = kernel.k2.noise_level
        if len(running):
            awaited = features(running, distributions)
            expected = model.predict(awaited)
            model.fit(np.vstack([known, awaited]), np.concatenate([losses, expected]))

        def rate(candidates: np.ndarray) -> np.ndarray:
            mean, deviation = model.predict(features(candidates, distributions), return_std=True)
            # The predictive deviation includes observation noise, which no candidate can exploit.
            deviation = np.sqrt(np.maximum(deviation**2 - noise, 1e-12))
            return np.asarray(deviation - mean)

        return rate

    def _kernel(self, matrix: TrialMatrix) -> Any:
        """Return the kernel, fitted to as many of the first trials as the schedule says.

        It depends on these trials and their order of arrival alone. So a resumed search has the
        same kernel, unless workers ran freely and trials arrived in another order.
        """
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        n = scheduled(len(matrix))
        if self._fitted is not None:
            fitted, key, kernel = self._fitted
            if fitted is matrix and key == (n, matrix.version):
                return kernel
        known, losses = self._data(matrix, n)
        start = ConstantKernel(1.0, (0.05, 20.0)) * Matern(
            [0.5] * known.shape[1], (0.05, 20.0), nu=2.5
        ) + WhiteKernel(0.01, (1e-6, 1.0))
        model = GaussianProcessRegressor(start, alpha=_JITTER, optimizer=None)
        kernel = _fitted_kernel(model.fit(known, losses))
        self._fitted = matrix, (n, matrix.version), kernel
        return kernel

    def _data(self, matrix: TrialMatrix, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return features `(N, F)` and losses `(N,)` of the first `n` trials, at most 200."""
        rows = _rows(matrix, n)
        known = features(matrix.units[rows], list(matrix.distributions.values()))
        return known, warped([matrix.ranks[row] for row in rows], self._tuning.warp_quantile)


def scheduled(n: int) -> int:
    """Return the largest number of trials in the schedule of fits that is at most `n`."""
    due = _FIRST_FIT
    while (later := math.ceil(due * _REFIT_GROWTH)) <= n:
        due = later
    return min(due, n)


def features(units: np.ndarray, distributions: Sequence[BaseDistribution]) -> np.ndarray:
    """Return the features `(n, F)` of genes `(n, D)`.

    Each choice has its own feature, so that all choices are equally far apart. A number that a
    trial does not have is placed in the middle.
    """
    columns = []
    for column, distribution in zip(units.T, distributions, strict=True):
        if (n := _n_features(distribution)) > 1:
            chosen = np.where(np.isnan(column), -1, np.floor(np.nan_to_num(column) * n))
            columns += [np.where(chosen == choice, math.sqrt(0.5), 0.0) for choice in range(n)]
        else:
            columns.append(np.where(np.isnan(column), 0.5, column))
    return np.column_stack(columns)


def _n_features(distribution: BaseDistribution) -> int:
    """Return how many features a parameter has: one, or one per choice if there are over two."""
    if isinstance(distribution, CategoricalDistribution) and len(distribution.choices) > 2:
        return len(distribution.choices)
    return 1


def warped(ranks: Sequence[Rank | None], quantile: float) -> np.ndarray:
    """Return the losses `(n,)` on the model's scale, with mean 0 and deviation 1.

    A failed or infeasible trial counts as the worst. A pruned trial counts as its last report, but
    as no better than half of the complete trials.

    Args:
        ranks: The trials' ranks; None for failed trials.
        quantile: Quantile of the losses above the best that is added to them before the logarithm:
            the higher, the less the differences between good trials count.
    """
    # An eighth of each, so that differences and sums do not overflow.
    found = [
        r.loss / 8
        for r in ranks
        if r and r.violation == 0 and not r.pruned and math.isfinite(r.loss)
    ]
    if not found:
        return np.zeros(len(ranks))
    worst, middle, best = max(found), float(np.median(found)), min(found)
    losses = np.array([_eighth(rank, worst, middle) for rank in ranks]).clip(best, worst)
    above = losses - best
    margin = float(np.quantile(above, quantile))
    if margin <= 0.0:
        positive = above[above > 0.0]
        margin = float(positive.min()) if len(positive) else 1.0
    scaled = np.log(above + margin)
    deviation = float(scaled.std())
    return np.asarray((scaled - scaled.mean()) / (deviation if deviation > 0.0 else 1.0))


def _eighth(rank: Rank | None, worst: float, middle: float) -> float:
    if rank is None or rank.violation > 0 or math.isnan(rank.loss):
        return worst
    return max(rank.loss / 8, middle) if rank.pruned else rank.loss / 8


def _rows(matrix: TrialMatrix, n: int) -> list[int]:
    """Return the rows of the first `n` trials to learn from: all, or the best and the latest."""
    if n <= MAX_TRIALS:
        return list(range(n))
    if n == len(matrix):
        best = matrix.fittest()
    else:
        usable = [(rank, row) for row, rank in enumerate(matrix.ranks[:n]) if rank is not None]
        best = [row for _, row in sorted(usable)]
    return sorted({*best[: MAX_TRIALS // 2], *range(n - MAX_TRIALS // 2, n)})


def _fitted_kernel(model: Any) -> Any:
    """Return the kernel of greatest likelihood, after a few steps, which suffice to rate.

    scikit-learn's own fit, also with `optimizer=` this, warns whenever a parameter reaches its
    bound, which is common here and harmless; silencing warnings is not safe between threads.
    """
    from scipy.optimize import minimize

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = model.log_marginal_likelihood(
            theta, eval_gradient=True, clone_kernel=False
        )
        return -value, -gradient

    kernel = model.kernel_
    found = minimize(
        loss,
        kernel.theta,
        jac=True,
        bounds=kernel.bounds,
        method="L-BFGS-B",
        options={"maxiter": _MAX_ITERATIONS},
    )
    return kernel.clone_with_theta(found.x)

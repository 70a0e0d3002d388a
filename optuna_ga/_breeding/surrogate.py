"""A model of the finished trials that chooses among candidate children.

The model is scikit-learn's Gaussian process with a Matern 5/2 kernel, a length for each gene and
noise, all fitted. It sees losses on a logarithmic scale above the best, so that the differences
between good trials count. The candidate is chosen whose loss may be lowest: the mean less one
standard deviation (GP-UCB; Srinivas et al. 2010, arXiv:0912.3995). Trials that are running are
taken to end as the model expects, so that their neighbourhood is no longer uncertain: workers that
ask at the same time get different children (GP-BUCB; Desautels, Krause and Burdick 2014, JMLR 15).

It learns from at most 200 trials, the 100 best and the 100 latest, so that its cost stays bounded.

Shapes: N trials, K candidates, R running trials, D parameters, F features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from optuna_ga._breeding.adaptive_settings import Settings
from optuna_ga._breeding.trial_matrix import Archive
from optuna_ga._population.fitness import Rank

MAX_TRIALS = 200
_FIRST_FIT = 10
_REFIT_GROWTH = 1.25  # The kernel is fitted anew whenever there are so many times the trials.
_MAX_ITERATIONS = 15
_JITTER = 1e-8


class Screen:
    """Chooses the candidate from which the model expects most.

    Raises:
        ImportError: If scikit-learn is not installed.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        try:
            from sklearn.gaussian_process import GaussianProcessRegressor
            from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
        except ImportError as error:
            raise ImportError(
                "`screen=True` needs scikit-learn, which cannot be imported: "
                'pip install "optuna-ga[screen]"'
            ) from error
        self._regressor = GaussianProcessRegressor
        self._kernels = ConstantKernel, Matern, WhiteKernel
        self._fitted: tuple[Archive, tuple[int, int], Any] | None = None

    def rating(self, archive: Archive, running: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return what rates candidates: from genes `(K, D)` to what is expected of them `(K,)`.

        Genes are on the unit scale, NaN for what is not asked for; the higher the rating the
        better.

        Args:
            archive: The finished trials.
            running: Genes `(R, D)` of the running trials.
        """
        distributions = list(archive.distributions.values())
        rows = _rows(archive, len(archive))
        known = features(archive.units[rows], distributions)
        losses = warped([archive.ranks[row] for row in rows], self._settings.warp_quantile)
        kernel = self._kernel(archive, distributions)
        model = self._regressor(kernel, alpha=_JITTER, optimizer=None).fit(known, losses)
        noise = kernel.k2.noise_level
        if len(running):
            awaited = features(running, distributions)
            expected = model.predict(awaited)
            model.fit(np.vstack([known, awaited]), np.concatenate([losses, expected]))

        def rate(candidates: np.ndarray) -> np.ndarray:
            mean, deviation = model.predict(features(candidates, distributions), return_std=True)
            # What is predicted has noise, which is nothing to gain.
            deviation = np.sqrt(np.maximum(deviation**2 - noise, 1e-12))
            return np.asarray(deviation - mean)

        return rate

    def _kernel(self, archive: Archive, distributions: Sequence[BaseDistribution]) -> Any:
        """Return the kernel, fitted to as many of the first trials as the schedule says.

        It depends on these trials alone, in the order in which they became known. So a resumed
        search has the same, unless workers ran freely and trials ended in another order.
        """
        n = scheduled(len(archive))
        if self._fitted is not None:
            fitted, key, kernel = self._fitted
            if fitted is archive and key == (n, archive.version):
                return kernel
        rows = _rows(archive, n)
        known = features(archive.units[rows], distributions)
        constant, matern, white = self._kernels
        start = constant(1.0, (0.05, 20.0)) * matern(
            [0.5] * known.shape[1], (0.05, 20.0), nu=2.5
        ) + white(0.01, (1e-6, 1.0))
        losses = warped([archive.ranks[row] for row in rows], self._settings.warp_quantile)
        model = self._regressor(start, alpha=_JITTER, optimizer=None).fit(known, losses)
        kernel = _fitted_kernel(model)
        self._fitted = archive, (n, archive.version), kernel
        return kernel


def scheduled(n: int) -> int:
    """Return the largest number of trials in the schedule of fits that is at most `n`."""
    due = _FIRST_FIT
    while (later := math.ceil(due * _REFIT_GROWTH)) <= n:
        due = later
    return min(due, n)


def features(units: np.ndarray, distributions: Sequence[BaseDistribution]) -> np.ndarray:
    """Return what the model sees of genes `(n, D)`, as `(n, F)`.

    A choice has a feature of its own, so that all choices are equally far apart. What is not asked
    for stands in the middle.
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
    """Return how many features a parameter has: two choices make do with one."""
    if isinstance(distribution, CategoricalDistribution) and len(distribution.choices) > 2:
        return len(distribution.choices)
    return 1


def warped(ranks: Sequence[Rank | None], quantile: float) -> np.ndarray:
    """Return the losses `(n,)` on the model's scale, with mean 0 and deviation 1.

    A trial that failed, or was infeasible, counts as the worst. One that was pruned counts as its
    last report, but not as better than half of the complete ones.

    Args:
        ranks: What the trials are ranked by; None for those that failed.
        quantile: Which quantile of how far the losses are above the best is added to them before
            the logarithm is taken: the higher, the less the differences of good trials count.
    """
    # An eighth of each, lest differences and sums overflow.
    found = [r[3] / 8 for r in ranks if r and r[0] == 0 and not r[1] and math.isfinite(r[3])]
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
    if rank is None or rank[0] > 0 or math.isnan(rank[3]):
        return worst
    return max(rank[3] / 8, middle) if rank[1] else rank[3] / 8


def _rows(archive: Archive, n: int) -> list[int]:
    """Return which of the first n trials to learn from: all, or the best and the latest."""
    if n <= MAX_TRIALS:
        return list(range(n))
    if n == len(archive):
        best = archive.fittest()
    else:
        usable = [(rank, row) for row, rank in enumerate(archive.ranks[:n]) if rank is not None]
        best = [row for _, row in sorted(usable)]
    return sorted({*best[: MAX_TRIALS // 2], *range(n - MAX_TRIALS // 2, n)})


def _fitted_kernel(model: Any) -> Any:
    """Return the kernel of greatest likelihood, after a few steps: the screen needs no more."""
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

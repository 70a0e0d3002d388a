"""The surrogate: a model of the finished trials that chooses among candidate children.

The model is a Gaussian process. It sees losses on a logarithmic scale above the best, so that the
differences between good trials count. It chooses the candidate with the lowest optimistic loss,
the mean minus one standard deviation (GP-UCB; Srinivas et al. 2010, arXiv:0912.3995). Running
trials are assumed to end as the model expects, which removes the uncertainty around them: workers
that ask at the same time get different children (GP-BUCB; Desautels, Krause and Burdick 2014,
JMLR 15).

It learns from at most 200 trials, the 100 best and the 100 latest, so its cost is bounded.

Shapes: N trials, K candidates, R running trials, D parameters. Genes are positions on the unit
scale, NaN for parameters that a trial does not have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from optuna_ga._breeding.adaptive_settings import MAX_TRIALS, Tuning
from optuna_ga._breeding.features import N_BEST, Features
from optuna_ga._breeding.gaussian_process import GaussianProcess, Kernel, fitted
from optuna_ga._breeding.trial_matrix import TrialMatrix
from optuna_ga._population.fitness import Rank

_FIRST_FIT = 10


class _Fit(NamedTuple):
    """Features and kernel, fitted to the first `n` trials of a matrix in one of its versions."""

    matrix: TrialMatrix
    n: int
    version: int
    features: Features
    kernel: Kernel


class Surrogate:
    """Rates candidates by a model of the finished trials.

    Args:
        tuning: Constants of the model.
    """

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._fit: _Fit | None = None

    def rating(
        self, matrix: TrialMatrix, running: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from candidates' genes `(K, D)` to ratings `(K,)`, higher for better.

        Args:
            matrix: The finished trials.
            running: Genes `(R, D)` of the running trials.
        """
        *_, features, kernel = self._fitted(matrix)
        rows = _rows(matrix, len(matrix))
        known, losses = features(matrix.units[rows]), self._losses(matrix, rows)
        model = GaussianProcess(kernel, features.categorical, known, losses)
        if len(running):
            awaited = features(running)
            known = np.vstack([known, awaited])
            losses = np.concatenate([losses, model.mean(awaited)])
            model = GaussianProcess(kernel, features.categorical, known, losses)

        def rate(candidates: np.ndarray) -> np.ndarray:
            mean, deviation = model.mean_and_deviation(features(candidates))
            return np.asarray(deviation - mean)

        return rate

    def _fitted(self, matrix: TrialMatrix) -> _Fit:
        """Return the features and the kernel, fitted to as many trials as the schedule says.

        They depend on these trials and their order of arrival alone. So a resumed search has the
        same, unless workers ran freely and trials arrived in another order.
        """
        n, last = scheduled(len(matrix), self._tuning.refit_growth), self._fit
        if last and last.matrix is matrix and (last.n, last.version) == (n, matrix.version):
            return last
        rows = _rows(matrix, n)
        best = matrix.units[_best(matrix, n)[:N_BEST]] if self._tuning.magnify else None
        features = Features([*matrix.distributions.values()], best)
        kernel = fitted(
            features(matrix.units[rows]), features.categorical, self._losses(matrix, rows)
        )
        self._fit = _Fit(matrix, n, matrix.version, features, kernel)
        return self._fit

    def _losses(self, matrix: TrialMatrix, rows: Sequence[int]) -> np.ndarray:
        return warped([matrix.ranks[row] for row in rows], self._tuning.warp_quantile)


def scheduled(n: int, growth: float) -> int:
    """Return the largest number of trials in the schedule of fits that is at most `n`.

    Args:
        n: Number of trials.
        growth: Ratio of two numbers of the schedule.
    """
    due = _FIRST_FIT
    while (later := math.ceil(due * growth)) <= n:
        due = later
    return min(due, n)


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
    return sorted({*_best(matrix, n)[: MAX_TRIALS // 2], *range(n - MAX_TRIALS // 2, n)})


def _best(matrix: TrialMatrix, n: int) -> list[int]:
    """Return the rows of the best of the first `n` trials, at least the 100 best of many."""
    if n == len(matrix):
        return matrix.fittest()
    usable = [(rank, row) for row, rank in enumerate(matrix.ranks[:n]) if rank is not None]
    return [row for _, row in sorted(usable)]

"""The surrogate: a model of the finished trials that chooses among candidate children.

The model is a Gaussian process. It sees losses on a logarithmic scale above the best, so that the
differences between good trials count. It chooses the candidate with the lowest optimistic loss,
the mean minus one standard deviation (GP-UCB; Srinivas et al. 2010, arXiv:0912.3995). Running
trials are assumed to end as the model expects, which removes the uncertainty around them: workers
that ask at the same time get different children (GP-BUCB; Desautels, Krause and Burdick 2014,
JMLR 15). Failed trials count as the worst. Outliers are left out: trials that are far worse than
the model predicts from the others. With constraints candidates come first that may be feasible by
a model of each; see `constraints`.

Shapes: N trials, K candidates, R running trials, D parameters. Genes are positions on the unit
scale, NaN for parameters that a trial does not have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from optuna_ga._breeding.adaptive_settings import MAX_TRIALS, Tuning
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.constraints import (
    ConstraintModels,
    Function,
    with_feasibility,
    with_own_losses,
)
from optuna_ga._breeding.model.features import N_BEST, Features
from optuna_ga._breeding.model.gaussian_process import Kernel, fitted, with_awaited
from optuna_ga._breeding.model.learnt_rows import best_rows, learnt_rows
from optuna_ga._breeding.model.outliers import explain_better, outliers
from optuna_ga._breeding.model.pruned_losses import with_expected_losses
from optuna_ga._breeding.model.quadratic import lowest_point
from optuna_ga._breeding.model.warping import on_front, warped
from optuna_ga._population.unit_scale import snapped_to_grid

Prediction = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

_FIRST_FIT = 10


class _Fit(NamedTuple):
    """Features and kernels, fitted to the first `n` trials of a matrix in one of its versions.

    Attributes:
        matrix: The matrix.
        n: The number of trials.
        version: The matrix's version.
        features: The features.
        kernel_of_all: Fitted to all of these trials; it tells which failures are outliers.
        kernel_without_failures: Fitted without these failures, the same if there are none; it
            tells which losses are outliers.
        kernel: Fitted without either, the same if no losses are outliers.
    """

    matrix: TrialMatrix
    n: int
    version: int
    features: Features
    kernel_of_all: Kernel
    kernel_without_failures: Kernel
    kernel: Kernel


class _Learnt(NamedTuple):
    """What a fit learns from the first `n` trials.

    Attributes:
        fit: The fit.
        n: The number of trials.
        rows: The rows that the fit learns from.
        outliers: The rows of the trials that are left out as outliers.
    """

    fit: _Fit
    n: int
    rows: list[int]
    outliers: list[int]


class Surrogate:
    """Rates candidates by a model of the finished trials.

    Args:
        tuning: Constants of the model.
        objective: The position of the objective that is modelled.
    """

    def __init__(self, tuning: Tuning, objective: int = 0) -> None:
        self._tuning = tuning
        self._objective = objective
        self._fit: _Fit | None = None
        self._learnt: _Learnt | None = None
        self._constraints = ConstraintModels()

    def rating(self, matrix: TrialMatrix, running: np.ndarray) -> Function:
        """Return a function from candidates' genes `(K, D)` to ratings `(K,)`, higher for better.

        Args:
            matrix: The finished trials.
            running: Genes `(R, D)` of the running trials.
        """
        feasibility = self.feasibility(matrix, running)
        if feasibility and not matrix.has_feasible:
            return feasibility
        predict = self.prediction(matrix, running)

        def rate(candidates: np.ndarray) -> np.ndarray:
            mean, deviation = predict(candidates)
            return np.asarray(deviation - mean)

        return with_feasibility(rate, feasibility)

    def feasibility(self, matrix: TrialMatrix, running: np.ndarray) -> Function | None:
        """Return the logarithm of the probability of being feasible `(K,)`, of genes `(K, D)`.

        Args:
            matrix: The finished trials.
            running: Genes `(R, D)` of the running trials.

        Returns:
            None if no trial violates a constraint.
        """
        fit, rows = self._fitted(matrix), _with_fitness(matrix, self._rows(matrix))

        def first_rows() -> list[int]:
            return _with_fitness(matrix, learnt_rows(matrix, fit.n))

        return self._constraints.feasibility(matrix, rows, running, fit.features, first_rows)

    def prediction(self, matrix: TrialMatrix, running: np.ndarray) -> Prediction:
        """Return a function from genes `(K, D)` to the mean and deviation of losses, each `(K,)`.

        Args:
            matrix: The finished trials.
            running: Genes `(R, D)` of the running trials.
        """
        fit, rows = self._fitted(matrix), self._rows(matrix)
        features, kernel = fit.features, fit.kernel
        known, losses = features(matrix.units[rows]), self.losses(matrix, rows)
        awaited = features(running)
        model = with_awaited(kernel, features.categorical, known, losses, awaited)
        return lambda genes: model.mean_and_deviation(features(genes))

    def lowest_point(self, matrix: TrialMatrix) -> np.ndarray | None:
        """Return the genes `(D,)` of the lowest point of a quadratic model, None if there is none.

        That model is of the fittest trials that have all parameters in use and a finite loss.
        """
        used = matrix.are_used(len(matrix))
        rows, losses = [], []
        for row in matrix.fittest():
            rank = matrix.ranks[row]
            if rank is None or not rank.is_candidate or np.isnan(matrix.units[row, used]).any():
                continue
            if math.isfinite(rank.losses[self._objective]):
                rows.append(row)
                losses.append(rank.losses[self._objective])
        found = lowest_point(matrix.units[rows][:, used], np.array(losses))
        if found is None:
            return None
        genes = np.full(len(used), 0.5)  # Nothing uses the others.
        genes[used] = found
        pairs = zip(matrix.distributions.values(), genes, strict=True)
        return np.array([snapped_to_grid(each, np.array([gene]))[0] for each, gene in pairs])

    def losses(self, matrix: TrialMatrix, rows: Sequence[int]) -> np.ndarray:
        """Return the losses `(n,)` of the trials in some rows on the scale of the latest fit."""
        all_ranks = [matrix.ranks[row] for row in rows]
        ranks = with_own_losses(all_ranks)
        if len(matrix.directions) == 1:  # Optuna prunes with one objective only.
            trials = [matrix.trials[row] for row in rows]
            ranks = with_expected_losses(ranks, trials, matrix.directions[0])
        stage = self._stage(matrix)
        limits = stage.max_loss_ratio, stage.wall_ratio
        front = partial(on_front, all_ranks)
        return warped(ranks, stage.warp_quantile, self._objective, *limits, front)

    def known_losses(self, matrix: TrialMatrix) -> np.ndarray:
        """Return the losses `(n,)` of the trials of `learnt_rows` on the model's scale.

        Trials that are left out have the worst of them.
        """
        learnt = learnt_rows(matrix, len(matrix))
        rows = self._rows(matrix)
        losses = self.losses(matrix, rows)
        found = np.full(len(learnt), losses.max())
        found[np.isin(learnt, rows)] = losses
        return found

    def outliers(self, matrix: TrialMatrix) -> list[int]:
        """Return the rows of the trials that are left out as outliers."""
        return self._learnt_from(matrix).outliers

    def _rows(self, matrix: TrialMatrix) -> list[int]:
        """Return the rows of the trials that the model learns from."""
        return self._learnt_from(matrix).rows

    def _learnt_from(self, matrix: TrialMatrix) -> _Learnt:
        """Return which trials the model learns from, by the latest fit."""
        fit, last = self._fitted(matrix), self._learnt
        if last and last.fit is fit and last.n == len(matrix):
            return last
        all_rows = learnt_rows(matrix, len(matrix))
        rows = self._without_failures(matrix, all_rows, fit.features, fit.kernel_of_all)
        if fit.kernel is not fit.kernel_without_failures:
            found = self._bad_losses(matrix, rows, fit.features, fit.kernel_without_failures)
            rows = _without(rows, found)
        self._learnt = _Learnt(fit, len(matrix), rows, sorted({*all_rows} - {*rows}))
        return self._learnt

    def _stage(self, matrix: TrialMatrix) -> Tuning:
        """Return the constants at the latest fit."""
        n = scheduled(len(matrix), self._tuning.refit_growth)
        return self._tuning.at(n, matrix.distributions_used(n))

    def _fitted(self, matrix: TrialMatrix) -> _Fit:
        """Return the features and the kernels, fitted to as many trials as the schedule says.

        They depend on these trials and their order of arrival alone. So a resumed search has the
        same, unless workers ran freely and trials arrived in another order.
        """
        n, version = scheduled(len(matrix), self._tuning.refit_growth), matrix.columns.version
        last = self._fit
        if last and last.matrix is matrix and (last.n, last.version) == (n, version):
            return last
        rows = learnt_rows(matrix, n)
        principal = self._stage(matrix).principal_axes
        n_best = max(N_BEST, 3 * len(matrix.distributions)) if principal else N_BEST
        n_best = min(n_best, MAX_TRIALS // 2)  # Of more the best are not known.
        best = matrix.units[best_rows(matrix, n)[:n_best]] if self._tuning.magnify else None
        features = Features([*matrix.distributions.values()], best, principal=principal)
        kernel_of_all = kernel = self._kernel(matrix, rows, features)
        kept = self._without_failures(matrix, rows, features, kernel_of_all)
        if len(kept) < len(rows):
            kernel = self._kernel(matrix, kept, features)
        rest = self._kernel_without_outliers(matrix, kept, features, kernel)
        self._fit = _Fit(matrix, n, version, features, kernel_of_all, kernel, rest)
        return self._fit

    def _kernel(self, matrix: TrialMatrix, rows: Sequence[int], features: Features) -> Kernel:
        """Return the kernel that is fitted to the trials in some rows."""
        losses = self.losses(matrix, rows)
        return fitted(features(matrix.units[rows]), features.categorical, losses)

    def _without_failures(
        self, matrix: TrialMatrix, rows: list[int], features: Features, kernel: Kernel
    ) -> list[int]:
        """Return those of some rows whose trials are no failures that are outliers."""
        failed = np.array([matrix.ranks[row] is None for row in rows])
        limit = self._stage(matrix).max_failure_residual
        return _without(rows, self._outliers(matrix, rows, features, kernel, failed, limit))

    def _bad_losses(
        self, matrix: TrialMatrix, rows: list[int], features: Features, kernel: Kernel
    ) -> np.ndarray:
        """Return which trials in some rows `(n,)` have a loss that is an outlier, as booleans.

        Infinite losses and those of the front, of pruned and of infeasible trials are none.
        """
        ranks = [matrix.ranks[row] for row in rows]
        has_loss = [
            rank is not None and rank.is_candidate and math.isfinite(rank.losses[self._objective])
            for rank in ranks
        ]
        suspects = np.array(has_loss, bool) & ~on_front(ranks)
        limit = self._stage(matrix).max_loss_residual
        return self._outliers(matrix, rows, features, kernel, suspects, limit)

    def _kernel_without_outliers(
        self, matrix: TrialMatrix, rows: list[int], features: Features, kernel: Kernel
    ) -> Kernel:
        """Return the kernel that is fitted without bad losses, or `kernel`, if there are none."""
        found = self._bad_losses(matrix, rows, features, kernel)
        if not found.any():
            return kernel
        x, losses = features(matrix.units[rows]), self.losses(matrix, rows)
        rest = self._kernel(matrix, _without(rows, found), features)
        is_better = explain_better(found, rest, kernel, features.categorical, x, losses)
        return rest if is_better else kernel

    def _outliers(
        self,
        matrix: TrialMatrix,
        rows: list[int],
        features: Features,
        kernel: Kernel,
        suspects: np.ndarray,
        limit: float,
    ) -> np.ndarray:
        """Return which trials in some rows `(n,)` are outliers, as booleans."""
        if math.isinf(limit) or not suspects.any():
            return np.zeros(len(rows), bool)
        x, losses = features(matrix.units[rows]), self.losses(matrix, rows)
        return outliers(kernel, features.categorical, x, losses, suspects, limit)


def _without(rows: list[int], found: np.ndarray) -> list[int]:
    """Return the rows of which `found` is not true."""
    return [row for row, is_found in zip(rows, found, strict=True) if not is_found]


def _with_fitness(matrix: TrialMatrix, rows: Sequence[int]) -> list[int]:
    """Return those of some rows whose trials have not failed."""
    return [row for row in rows if matrix.ranks[row] is not None]


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

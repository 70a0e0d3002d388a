"""Outliers: trials that are far worse than the model predicts from all other trials.

A training may fail, or end with a bad loss, by chance where others succeed. If the model counted
such a trial, it would take a good region for a bad one, or all differences for noise. A bad trial
in a region where others are bad is predicted by these, and usually stays.

Only trials above their prediction are outliers, since a trial below it may be the best. Failed
trials far above it are always left out, trials with a loss only if outliers explain all losses far
better than noise.

Sources: Rasmussen and Williams (2006), section 5.4.2, for the leave-one-out prediction;
Martinez-Cantin, Tee and McCourt (2018), arXiv:1712.04567, for optimization without outliers.

Shapes: N trials, F features.
"""

from __future__ import annotations

import math

import numpy as np

from optuna_ga._breeding.model.gaussian_process import GaussianProcess, Kernel, log_likelihood

_NOISE = 0.05  # That of a fit to all trials may be so large that it explains every outlier.
# One trial in ten is an outlier, with a loss anywhere within five deviations.
_OUTLIER_LOG_LIKELIHOOD = math.log(0.1 / 5.0)
_MIN_GAIN = 5.0  # Of the logarithm of the likelihood.
_MIN_DEVIATION = 1e-3  # Of less, all other losses are equal to a model, which learns nothing.


def outliers(
    kernel: Kernel,
    categorical: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    suspects: np.ndarray,
    max_residual: float,
) -> np.ndarray:
    """Return which of the suspects are outliers, as booleans `(N,)`.

    The suspect that is farthest above its prediction is left out, then the next one, which is
    predicted from the rest. The mean of all trials that are not left out is taken as known.

    Args:
        kernel: The hyperparameters, of which the noise is not used.
        categorical: Which features are choices, as booleans `(F,)`.
        x: Features of the trials `(N, F)`.
        y: Losses `(N,)` with deviation 1.
        suspects: Which trials may be outliers, as booleans `(N,)`.
        max_residual: How far above its prediction a loss may be, in standard deviations.
    """
    precision = GaussianProcess(kernel._replace(noise=_NOISE), categorical, x, y).precision()
    kept = np.ones(len(y), bool)
    while (left := kept & suspects).any():
        above_mean = np.where(kept, y - y[kept].mean(), 0.0)
        precisions = np.where(left, precision.diagonal(), 1.0)
        residuals = np.where(left, precision @ above_mean / np.sqrt(precisions), -np.inf)
        farthest = int(residuals.argmax())
        if residuals[farthest] <= max_residual:
            break
        kept[farthest] = False
        # The precision of the rest: the Schur complement.
        column = precision[:, farthest] / precision[farthest, farthest]
        precision -= np.outer(column, precision[farthest])
        precision[farthest] = precision[:, farthest] = 0.0
    return ~kept


def explain_better(
    found: np.ndarray,
    kernel: Kernel,
    kernel_of_all: Kernel,
    categorical: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
) -> bool:
    """Return whether losses are far likelier if some are outliers than if noise explains them.

    Args:
        found: Which trials are the outliers, as booleans `(N,)`.
        kernel: The hyperparameters that are fitted to the others.
        kernel_of_all: The hyperparameters that are fitted to all.
        categorical: Which features are choices, as booleans `(F,)`.
        x: Features of the trials `(N, F)`.
        y: Losses `(N,)` with deviation 1.
    """
    rest = y[~found]
    deviation = float(rest.std())
    if deviation < _MIN_DEVIATION:
        return False
    rest = (rest - rest.mean()) / deviation
    likelihood = log_likelihood(kernel, categorical, x[~found], rest)
    likelihood -= len(rest) * math.log(deviation)
    likelihood += found.sum() * _OUTLIER_LOG_LIKELIHOOD
    return bool(likelihood > log_likelihood(kernel_of_all, categorical, x, y) + _MIN_GAIN)

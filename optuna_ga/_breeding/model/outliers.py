"""Outliers: trials whose loss is far above what a model of all other trials expects.

A training may fail by chance where others succeed. Such a loss says nothing about the parameters,
and a model that explains it takes a good region for a bad one, or all differences for noise. A
region where every trial fails has no outliers: there each failure is expected from the others.
Nor has a search whose losses are likelier with noise than with outliers.

Only losses that are too high count. A loss that is too low may be the best that was found.

Sources: Martinez-Cantin, Tee and McCourt (2018), arXiv:1712.04567, for optimization without
outliers; Rasmussen and Williams (2006), section 5.4.2, for the expectation from all others.

Shapes: N trials, F features.
"""

from __future__ import annotations

import math

import numpy as np

from optuna_ga._breeding.model.gaussian_process import GaussianProcess, Kernel, log_likelihood

_NOISE = 0.05  # More would hide outliers; less would make outliers of what a kernel cannot follow.
_MAX_SHARE = 0.5
# One trial in ten is an outlier, with a loss anywhere within five deviations.
_LOG_DENSITY = math.log(0.1 / 5)


def outliers(
    kernel: Kernel, categorical: np.ndarray, x: np.ndarray, y: np.ndarray, max_residual: float
) -> np.ndarray:
    """Return which trials are outliers, as booleans `(N,)`; at most half of them are.

    The trial that is farthest above its expectation is left out, then the next one, which is
    expected from the rest.

    Args:
        kernel: The hyperparameters, of which the noise is not used.
        categorical: Which features are choices, as booleans `(F,)`.
        x: Features of the trials `(N, F)`.
        y: Losses `(N,)`.
        max_residual: How far above its expectation a loss may be, in standard deviations.
    """
    n = len(y)
    precision = GaussianProcess(kernel._replace(noise=_NOISE), categorical, x, y).precision()
    kept = np.ones(n, bool)
    for _ in range(int(_MAX_SHARE * n)):
        above_mean = np.where(kept, y - y[kept].mean(), 0.0)
        variances = np.where(kept, precision.diagonal(), 1.0)  # The inverse variances.
        residuals = np.where(kept, precision @ above_mean / np.sqrt(variances), -np.inf)
        farthest = int(residuals.argmax())
        if residuals[farthest] <= max_residual:
            break
        kept[farthest] = False
        # The precision of the rest: the Schur complement.
        column = precision[:, farthest] / precision[farthest, farthest]
        precision -= np.outer(column, precision[farthest])
        precision[farthest] = precision[:, farthest] = 0.0
    return ~kept


def is_likelier(
    kernel: Kernel,
    kernel_of_all: Kernel,
    categorical: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    found: np.ndarray,
) -> bool:
    """Return whether losses are likelier if some trials are outliers than if none are.

    Noise that the parameters do not explain is no reason to leave out the losses at its one end.

    Args:
        kernel: Hyperparameters that are fitted without the outliers.
        kernel_of_all: Hyperparameters that are fitted to all trials.
        categorical: Which features are choices, as booleans `(F,)`.
        x: Features of the trials `(N, F)`.
        y: Losses `(N,)`.
        found: Which trials are outliers, as booleans `(N,)`.
    """
    kept = y[~found]
    deviation = float(kept.std())
    if deviation == 0.0:
        return False
    standardized = (kept - kept.mean()) / deviation
    likelihood = log_likelihood(kernel, categorical, x[~found], standardized)
    likelihood += found.sum() * _LOG_DENSITY - len(kept) * math.log(deviation)
    return bool(likelihood > log_likelihood(kernel_of_all, categorical, x, y))

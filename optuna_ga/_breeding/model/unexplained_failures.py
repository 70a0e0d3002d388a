"""Failures that the parameters do not explain.

A training may fail by chance where others succeed. If the model counted it as the worst trial, it
would take a good region for a bad one, or all differences for noise. So a failure is left out if
the model predicts a far lower loss from all other trials: the leave-one-out prediction. A failure
in a region where others fail is predicted by these, and usually stays. A trial with a value, also
an infinite loss, is no failure.

Sources: Rasmussen and Williams (2006), section 5.4.2, for the prediction; Martinez-Cantin, Tee and
McCourt (2018), arXiv:1712.04567, for optimization without outliers.

Shapes: N trials, F features.
"""

from __future__ import annotations

import numpy as np

from optuna_ga._breeding.model.gaussian_process import GaussianProcess, Kernel

_NOISE = 0.05  # That of a fit to all trials may be so large that it explains every failure.


def unexplained_failures(
    kernel: Kernel,
    categorical: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    failed: np.ndarray,
    max_residual: float,
) -> np.ndarray:
    """Return which trials have failed unexpectedly, as booleans `(N,)`.

    The failure that is farthest above its prediction is left out, then the next one, which is
    predicted from the rest. The mean of all trials that are not left out is taken as known.

    Args:
        kernel: The hyperparameters, of which the noise is not used.
        categorical: Which features are choices, as booleans `(F,)`.
        x: Features of the trials `(N, F)`.
        y: Losses `(N,)` with deviation 1.
        failed: Which trials have failed, as booleans `(N,)`.
        max_residual: How far above its prediction a failure may be, in standard deviations.
    """
    precision = GaussianProcess(kernel._replace(noise=_NOISE), categorical, x, y).precision()
    kept = np.ones(len(y), bool)
    while (left := kept & failed).any():
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

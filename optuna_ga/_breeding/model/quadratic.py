"""The lowest point of a quadratic model of the fittest trials.

Near its minimum a smooth function is nearly a quadratic, whose minimum is known as soon as its
coefficients are. The model has all products of two parameters if there are enough trials, and
squares alone otherwise. It is trusted only if it explains the losses, and only as far from the
best trial as the farthest trial is, in deviations of the trials along their axes.

Source: Conn, Gould and Toint (2000), Trust-Region Methods, chapter 7, for the lowest point within
a distance; Hansen (2019), https://doi.org/10.1145/3321707.3321842, for such a model in CMA-ES.

Shapes: N trials, the fittest first, m of them in the model, D parameters, A axes along which they
differ. Genes are positions on the unit scale.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from optuna_ga._breeding.model.features import MIN_WIDTH

_TRIALS_PER_COEFFICIENT, _MIN_RESIDUALS = 1.3, 5
_MIN_EXPLAINED = 0.9  # Share of the losses' variance, adjusted for the number of coefficients.


def lowest_point(genes: np.ndarray, losses: np.ndarray) -> np.ndarray | None:
    """Return the genes `(D,)` that the model expects to be the best.

    Args:
        genes: Genes of the trials `(N, D)`.
        losses: Their losses `(N,)`, finite.

    Returns:
        The genes; None if there are too few trials, or if the model does not explain their losses.
    """
    varies = (genes != genes[:1]).any(axis=0)
    if not varies.any():
        return None
    count, is_full = _size(len(genes), int(varies.sum()))
    losses = losses[:count] / 8  # So that differences do not overflow.
    if not count or not (span := losses.max() - losses.min()) > 0.0:
        return None
    best = np.array(genes[0])
    genes = genes[:count, varies]
    _, widths, axes = np.linalg.svd(genes - genes[0], full_matrices=False)
    deviations = widths / math.sqrt(count)
    axes, deviations = axes[deviations > MIN_WIDTH], deviations[deviations > MIN_WIDTH]
    if not len(axes):
        return None
    places = (genes - genes[0]) @ axes.T / deviations
    model = _fitted(places, (losses - losses[0]) / span, is_full)
    if model is None:
        return None
    gradient, curvature = model
    curvatures, directions = np.linalg.eigh(curvature)
    reach = float(np.linalg.norm(places, axis=1).max())
    step = directions @ _lowest_within(reach, directions.T @ gradient, curvatures)
    best[varies] = np.clip(genes[0] + (step * deviations) @ axes, 0.0, 1.0)
    return best


def _size(n_trials: int, n_parameters: int) -> tuple[int, bool]:
    """Return how many trials the model is fitted to, and whether it has products."""
    least_full = _least((n_parameters + 1) * (n_parameters + 2) // 2)
    if n_trials >= least_full:
        return least_full, True
    n_squares = 2 * n_parameters + 1
    if n_trials >= _least(n_squares):
        return min(n_trials, max(2 * n_squares, _least(n_squares))), False
    return 0, False


def _least(n_coefficients: int) -> int:
    """Return the least number of trials for so many coefficients."""
    wanted = math.ceil(_TRIALS_PER_COEFFICIENT * n_coefficients)
    return max(wanted, n_coefficients + _MIN_RESIDUALS)


def _fitted(
    places: np.ndarray, losses: np.ndarray, is_full: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the gradient `(A,)` at 0 and the curvature `(A, A)` of the least squares.

    None is returned if they do not explain the losses.

    Args:
        places: The trials' places along the axes `(m, A)`.
        losses: Their losses `(m,)`.
        is_full: Whether the model has products of two axes.
    """
    n_axes = places.shape[1]
    first, second = np.triu_indices(n_axes) if is_full else (np.arange(n_axes),) * 2
    terms = np.hstack([np.ones((len(places), 1)), places, places[:, first] * places[:, second]])
    coefficients = np.linalg.lstsq(terms, losses, rcond=1e-10)[0]
    n, n_terms = terms.shape
    unexplained = ((losses - terms @ coefficients) ** 2).sum() / (n - n_terms)
    if unexplained > (1.0 - _MIN_EXPLAINED) * losses.var(ddof=1):
        return None
    half = np.zeros((n_axes, n_axes))
    half[first, second] = coefficients[n_axes + 1 :]
    return coefficients[1 : n_axes + 1], half + half.T  # A square has half of its curvature.


def _lowest_within(reach: float, gradient: np.ndarray, curvatures: np.ndarray) -> np.ndarray:
    """Return the step `(A,)` of at most some length to where a quadratic is lowest.

    Args:
        reach: The length.
        gradient: The gradient `(A,)` along the principal axes of the curvature.
        curvatures: The curvature's eigenvalues `(A,)`.
    """

    def step(damping: float) -> np.ndarray:
        return np.asarray(-gradient / (curvatures + damping))

    def excess(damping: float) -> float:
        return float(np.linalg.norm(step(damping))) - reach

    low = max(0.0, -float(curvatures.min())) + 1e-12 * (1.0 + float(np.abs(curvatures).max()))
    if excess(low) <= 0.0:
        return _lengthened(step(low), reach, curvatures)
    # With this damping no step is longer; twice, for rounding.
    high = low + 2.0 * float(np.linalg.norm(gradient)) / reach
    return step(float(brentq(excess, low, high)))


def _lengthened(step: np.ndarray, reach: float, curvatures: np.ndarray) -> np.ndarray:
    """Return a step within reach, as long as that where the quadratic falls for ever.

    It falls along the axis of the least curvature, if that is negative: the hard case.
    """
    axis = int(np.argmin(curvatures))
    if curvatures[axis] < 0.0:
        rest = float(step @ step) - step[axis] ** 2
        step[axis] = math.copysign(math.sqrt(max(0.0, reach**2 - rest)), step[axis])
    return step

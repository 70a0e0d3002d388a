"""Weightings of several objectives, by which the parents of a child are chosen.

Every child draws its own weighting, so that together the children search along the whole front.
The fittest trials by a weighting are the nearest to the ideal point, in the augmented Chebyshev
distance (Knowles 2006, https://doi.org/10.1109/TEVC.2005.851274).

Shapes: N points, F points of the front, M objectives.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from optuna_ga._breeding.adaptive_settings import Tuning
from optuna_ga._breeding.model.warping import warped
from optuna_ga._population.fitness import Rank
from optuna_ga._population.fronts import undominated

_AUGMENTATION = 0.05  # The weight of the sum beside that of the greatest loss.


def weighting(n_objectives: int, rng: Generator) -> np.ndarray:
    """Return weights `(M,)` of sum 1, each such vector equally likely."""
    draws = rng.standard_exponential(n_objectives)
    return np.asarray(draws / draws.sum())


def distances(points: np.ndarray, front: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted distances `(N,)` of points `(N, M)` from the front's ideal point.

    An objective is measured in ranges of the front `(F, M)`, or of the points if all of the front
    agree in it.
    """
    width = np.ptp(front, axis=0)
    width = np.where(width > 0.0, width, np.ptp(points, axis=0))
    losses = weights * (points - front.min(axis=0)) / np.where(width > 0.0, width, 1.0)
    return np.asarray(losses.max(axis=1) + _AUGMENTATION * losses.sum(axis=1))


def fittest_by(ranks: Sequence[Rank], weights: np.ndarray, tuning: Tuning) -> list[Rank]:
    """Return the fittest of trials by a weighting `(M,)`, the fittest first.

    Their losses are on the model's scale, so that it does not matter on which scale an objective
    is measured. Feasible and complete trials come first, as without a weighting.

    Args:
        ranks: The trials' ranks, the fittest first.
        weights: The weighting `(M,)`.
        tuning: How many are wanted, as many as parents, and the model's scale.
    """
    n = tuning.n_parents
    alike = [rank[:3] == ranks[0][:3] for rank in ranks].count(True)
    if alike < 2:
        return list(ranks[:n])
    objectives = range(len(weights))
    scaled = [warped(ranks[:alike], tuning.warp_quantile, objective) for objective in objectives]
    losses = np.column_stack(scaled)
    found = distances(losses, losses[undominated(losses)], weights)
    nearest = np.argsort(found, kind="stable")[:n].tolist()
    return [*(ranks[position] for position in nearest), *ranks[alike : alike + n]][:n]

"""The scale of the models: logarithmic above the best loss, so that good trials are told apart.

It does not change if an objective is shifted or multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from optuna_ga._population.fitness import Rank


def warped(ranks: Sequence[Rank | None], quantile: float, objective: int = 0) -> np.ndarray:
    """Return the losses `(n,)` on the model's scale, with mean 0 and deviation 1.

    A failed or infeasible trial counts as the worst. A pruned trial counts as its last report, but
    as no better than half of the complete trials.

    Args:
        ranks: The trials' ranks; None for failed trials.
        quantile: Quantile of the losses above the best that is added to them before the logarithm:
            the higher, the less the differences between good trials count.
        objective: The position of the objective.
    """
    # An eighth of each, so that differences and sums do not overflow.
    found = [
        r.losses[objective] / 8
        for r in ranks
        if r and r.is_candidate and math.isfinite(r.losses[objective])
    ]
    if not found:
        return np.zeros(len(ranks))
    worst, middle, best = max(found), float(np.median(found)), min(found)
    losses = np.array([_eighth(rank, objective, worst, middle) for rank in ranks]).clip(
        best, worst
    )
    above = losses - best
    margin = float(np.quantile(above, quantile))
    if margin <= 0.0:
        positive = above[above > 0.0]
        margin = float(positive.min()) if len(positive) else 1.0
    scaled = np.log(above + margin)
    deviation = float(scaled.std())
    return np.asarray((scaled - scaled.mean()) / (deviation if deviation > 0.0 else 1.0))


def _eighth(rank: Rank | None, objective: int, worst: float, middle: float) -> float:
    if rank is None or rank.violation > 0 or math.isnan(rank.losses[objective]):
        return worst
    loss = rank.losses[objective] / 8
    return max(loss, middle) if rank.pruned else loss

"""The scale of the models: logarithmic above the best loss, so that good trials are told apart.

It does not change if an objective is shifted or multiplied. Losses far above the good ones count
alike, so that astronomical ones of trainings that diverge leave the good ones apart. Those of the
front, which may span decades with several objectives, are told apart in any case. Infeasible
trials are a wall, the higher the more they violate, so that a model knows on which side of a
constraint the feasible trials are. While there is no feasible trial, the violation is the loss.

Shapes: n trials, v infeasible trials.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from itertools import compress

import numpy as np

from optuna_ga._population.fitness import Rank
from optuna_ga._population.fronts import undominated

_LOW_QUANTILE = 0.3
_MAX_VIOLATION = sys.float_info.max / 8  # So that sums do not overflow.


def warped(
    ranks: Sequence[Rank | None],
    quantile: float,
    objective: int = 0,
    max_loss_ratio: float = math.inf,
    wall_ratio: float = math.inf,
    front: Callable[[], np.ndarray] | None = None,
) -> np.ndarray:
    """Return the losses `(n,)` on the model's scale, with mean 0 and deviation 1.

    A failed trial counts as the worst feasible one, and while there is none as the worst of all.
    Infeasible trials are a wall, which is up to a deviation higher where they violate more. A low
    wall lets a smooth model see what lies at its foot. A pruned trial counts as its rank's loss,
    see `pruned_losses`, but as no better than half of the complete trials.

    Args:
        ranks: The trials' ranks; None for failed trials.
        quantile: Quantile of the losses above the best that is added to them before the logarithm:
            the higher, the less the differences between good trials count.
        objective: The position of the objective.
        max_loss_ratio: A loss counts as at most so many times the 0.3-quantile of the losses
            above the best, without those that tie with it, or as the greatest of the front if
            that is more. At least 1.
        wall_ratio: The wall is so many times that quantile high, or as high as the worst loss if
            that is less. At least 1.
        front: Returns which trials are on the front `(n,)`; by default `on_front` of the ranks.
    """
    # An eighth of each, so that differences and sums do not overflow.
    found = [
        r.losses[objective] / 8
        for r in ranks
        if r and r.is_candidate and math.isfinite(r.losses[objective])
    ]
    if not found:
        violations = _violations(ranks)
        violations = violations.clip(max=_greatest(violations, max_loss_ratio))
        return _standardized(_log_above(violations, quantile))
    worst, middle, best = _greatest(found, max_loss_ratio), float(np.median(found)), min(found)
    if worst < max(found):
        is_on_front = front() if front else on_front(ranks)
        worst = max(worst, _greatest_of(is_on_front, ranks, objective))
    wall = min(worst, _greatest(found, wall_ratio))
    losses = np.array([_eighth(rank, objective, worst, wall, middle) for rank in ranks])
    scaled = _log_above(losses.clip(best, worst), quantile)
    infeasible = np.array([rank is not None and rank.violation > 0.0 for rank in ranks], bool)
    if infeasible.any():
        violations = _violations(ranks)[infeasible]
        scaled[infeasible] += _above_feasible(violations, scaled)
    return _standardized(scaled)


def on_front(ranks: Sequence[Rank | None]) -> np.ndarray:
    """Return which trials are complete, feasible and dominated by none, as booleans `(n,)`."""
    found = np.zeros(len(ranks), bool)
    candidates = [row for row, rank in enumerate(ranks) if rank and rank.is_candidate]
    losses = [rank.losses for rank in ranks if rank and rank.is_candidate]
    if candidates:
        found[candidates] = undominated(np.array(losses, float))
    return found


def _greatest_of(chosen: np.ndarray, ranks: Sequence[Rank | None], objective: int) -> float:
    """Return an eighth of the chosen trials' greatest finite loss, minus infinity without any."""
    losses = [rank.losses[objective] for rank in compress(ranks, chosen) if rank]
    return max(filter(math.isfinite, losses), default=-math.inf) / 8


def _eighth(rank: Rank | None, objective: int, worst: float, wall: float, middle: float) -> float:
    if rank is None or math.isnan(rank.losses[objective]):
        return worst
    loss = wall if rank.violation > 0.0 else rank.losses[objective] / 8
    return max(loss, middle) if rank.pruned else loss


def _violations(ranks: Sequence[Rank | None]) -> np.ndarray:
    """Return the violations `(n,)`; failed and infinite ones count as the greatest."""
    known = [rank.violation for rank in ranks if rank]
    finite = max(filter(math.isfinite, known), default=0.0)
    greatest = min(finite, _MAX_VIOLATION) or float(math.inf in known)
    return np.array([min(rank.violation, greatest) if rank else greatest for rank in ranks])


def _greatest(losses: Sequence[float] | np.ndarray, max_loss_ratio: float) -> float:
    """Return what losses `(n,)` count as at most."""
    above = np.asarray(losses) - np.min(losses)
    if not (above > 0.0).any():
        return float(np.max(losses))
    low = float(np.quantile(above[above > 0.0], _LOW_QUANTILE, method="lower"))
    return min(float(np.max(losses)), float(np.min(losses)) + max_loss_ratio * low)


def _log_above(losses: np.ndarray, quantile: float) -> np.ndarray:
    """Return logarithms of losses `(n,)` above the best, with a margin that is their quantile."""
    above = losses - losses.min()
    margin = float(np.quantile(above, quantile))
    if margin <= 0.0:
        positive = above[above > 0.0]
        margin = float(positive.min()) if len(positive) else 1.0
    return np.asarray(np.log(above + margin))


def _above_feasible(violations: np.ndarray, scaled: np.ndarray) -> np.ndarray:
    """Return how far above the feasible losses, `scaled`, infeasible trials are `(v,)`."""
    # The logarithm of 1 + v / median, whatever the constraint's unit.
    share = np.logaddexp(0.0, np.log(violations) - np.log(np.median(violations)))
    deviation = float(scaled.std())
    return np.asarray(share / share.max() * (deviation if deviation > 0.0 else 1.0))


def _standardized(scaled: np.ndarray) -> np.ndarray:
    deviation = float(scaled.std())
    return np.asarray((scaled - scaled.mean()) / (deviation if deviation > 0.0 else 1.0))

"""Fronts and crowding distances: the order of points by several losses, as in NSGA-II.

A point dominates another if none of its losses is greater and one is smaller. Front 0 is the
points that no point dominates; front k is front 0 of the points that are in no front before it.

Source: Deb, Pratap, Agarwal and Meyarivan (2002), https://doi.org/10.1109/4235.996017.

Shapes: N points, M objectives.
"""

from __future__ import annotations

import numpy as np

_BLOCK = 256  # Points that are compared with all others at once.


def fronts(losses: np.ndarray) -> np.ndarray:
    """Return the front of each point `(N,)`, 0 and up, by its losses `(N, M)`."""
    found = np.full(len(losses), -1)
    n_left = _n_dominating(losses, losses)  # Of each point, by points that are in no front yet.
    front = 0
    while (members := (n_left == 0) & (found < 0)).any():
        found[members] = front
        n_left -= _n_dominating(losses[members], losses)
        front += 1
    return found


def undominated(losses: np.ndarray) -> np.ndarray:
    """Return which points are in front 0, as booleans `(N,)`, by losses `(N, M)`."""
    if losses.shape[1] == 1:
        return np.asarray(losses[:, 0] == losses.min(initial=np.inf))
    return np.asarray(_n_dominating(losses, losses) == 0)


def _n_dominating(some: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Return how many of some points `(n, M)` dominate each point `(N,)`."""
    count = np.zeros(len(losses), int)
    for start in range(0, len(some), _BLOCK):
        block = some[start : start + _BLOCK, :, None]
        nowhere_worse = np.ones((len(block), len(losses)), bool)
        somewhere_better = np.zeros_like(nowhere_worse)
        for objective, values in enumerate(losses.T):
            nowhere_worse &= block[:, objective] <= values
            somewhere_better |= block[:, objective] < values
        count += (nowhere_worse & somewhere_better).sum(axis=0)
    return count


def crowding_distances(losses: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Return the crowding distance of each point `(N,)` within its front.

    It is the sum over the objectives of the distance between the point's neighbours, in ranges of
    the front. It is infinite for the first and the last point in an objective, and 0 for a copy of
    an earlier point. An objective in which the front does not vary is left out. Infinite losses
    count as the greatest and the smallest finite loss of the front.

    Args:
        losses: The losses `(N, M)`.
        front: The front of each point `(N,)`.
    """
    if not len(losses):
        return np.zeros(0)
    points, which = np.unique(np.column_stack([front, losses]), axis=0, return_index=True)
    of_front = np.unique(points[:, 0], return_inverse=True)[1]
    distances = np.zeros(len(losses))
    distances[which] = sum(_gaps(values, of_front) for values in points.T[1:])
    return distances


def clipped(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return values `(N,)` with each infinite value replaced by the nearest finite of its group.

    Args:
        values: The values `(N,)`.
        group: The group of each value `(N,)`, from 0 up; 0 stands for a value if no value of its
            group is finite.
    """
    finite = np.isfinite(values)
    if finite.all():
        return values
    least, most = np.full((2, group.max() + 1), 0.0)
    least[group[finite]], most[group[finite]] = np.inf, -np.inf
    np.minimum.at(least, group[finite], values[finite])
    np.maximum.at(most, group[finite], values[finite])
    return np.asarray(np.clip(values, least[group], most[group]))


def _gaps(values: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Return the distances of the neighbours of each point in one objective `(N,)`.

    Args:
        values: The points' losses `(N,)`.
        front: The front of each point `(N,)`, ascending.
    """
    halves = clipped(values, front) / 2  # So that differences do not overflow.
    order = np.lexsort((halves, front))
    ordered, starts = halves[order], np.flatnonzero(np.diff(front, prepend=-1))
    ends = np.append(starts[1:], len(values)) - 1
    widths = (ordered[ends] - ordered[starts])[front]
    gaps = np.zeros(len(values))
    gaps[1:-1] = ordered[2:] - ordered[:-2]
    gaps[starts] = gaps[ends] = 0.0  # Their neighbours are in other fronts.
    gaps /= np.where(widths > 0.0, widths, 1.0)
    gaps[starts] = gaps[ends] = np.inf
    found = np.empty(len(values))
    found[order] = np.where(widths > 0.0, gaps, 0.0)
    return found

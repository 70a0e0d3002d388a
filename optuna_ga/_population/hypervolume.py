"""The hypervolume that points dominate, by several losses.

Shapes: N points, K other points, F points of a front, M objectives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import compress

import numpy as np

from optuna_ga._population.fronts import clipped

MAX_OBJECTIVES = 6  # Beyond these, the hypervolume takes minutes.


class Hypervolume:
    """Measures parts of some points, in shares of the box from their best to their worst losses.

    Infinite losses count as the best or the worst finite loss.

    Args:
        losses: The losses of all points `(N, M)`.
    """

    def __init__(self, losses: np.ndarray) -> None:
        group = np.zeros(len(losses), int)
        # An eighth of each, so that differences do not overflow.
        columns = [clipped(column, group) / 8 for column in losses.T]
        widths = [float(np.ptp(column)) for column in columns]
        scaled = [
            (column - column.min()) / width if width > 0.0 else np.zeros(len(column))
            for column, width in zip(columns, widths, strict=True)
        ]
        self._scaled = np.column_stack(scaled)

    def of(self, positions: Sequence[int]) -> float:
        """Return the share that the points at some positions dominate, in [0, 1].

        NaN with more than six objectives.
        """
        if self._takes_too_long:
            return math.nan
        if not len(positions):
            return 0.0
        from moocore import hypervolume  # Only studies with several objectives need it.

        points = self._scaled[list(positions)]
        return float(hypervolume(points, ref=np.ones(points.shape[1])))

    def front(self, positions: Sequence[int]) -> list[int]:
        """Return those of some positions whose points no other dominates or equals."""
        from moocore import is_nondominated  # Only studies with several objectives need it.

        # Scaled, since infinite losses crash it or make it err.
        return list(compress(positions, is_nondominated(self._scaled[list(positions)])))

    def added(self, position: int, front: Sequence[int]) -> float:
        """Return the share that a point adds to the points of a front, given by their positions.

        NaN with more than six objectives.
        """
        if self._takes_too_long:
            return math.nan
        if not len(front):
            return self.of([position])
        point, others = self._scaled[[position]], self._scaled[list(front)]
        return float(added_volumes(point, others, np.ones(point.shape[1]))[0])

    @property
    def _takes_too_long(self) -> bool:
        return bool(self._scaled.shape[1] > MAX_OBJECTIVES)


def added_volumes(points: np.ndarray, front: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the hypervolumes `(K,)` that each of some points `(K, M)` would add to a front.

    Args:
        points: Points that no point of the front dominates, better than the reference point.
        front: Points `(F, M)`, at least one.
        reference: The reference point `(M,)`.
    """
    if points.shape[1] == 2:
        return _added_areas(points, front, reference)
    from moocore import hypervolume  # Only studies with several objectives need it.

    # A point's own volume, less what it shares with the front.
    shared = [hypervolume(np.maximum(front, point), ref=reference) for point in points]
    return np.asarray(np.prod(reference - points, axis=1) - shared)


def _added_areas(points: np.ndarray, front: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the added areas `(K,)`, summed over the strips between neighbours on the front."""
    x, y = front[np.argsort(front[:, 0])].T
    left, right = np.append(-np.inf, x), np.append(x, reference[0])
    bottom, top = points[:, 1:], np.minimum.accumulate(np.append(reference[1], y))
    widths = np.maximum(right - np.maximum(left, points[:, :1]), 0.0)
    return np.asarray((widths * np.maximum(top - bottom, 0.0)).sum(axis=1))

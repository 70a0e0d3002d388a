"""The hypervolume that points dominate, by several losses.

Shapes: N points, M objectives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from optuna_ga._population.fronts import clipped

_MOST_OBJECTIVES = 6  # Beyond these, the hypervolume takes minutes.


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
        n_objectives = self._scaled.shape[1]
        if n_objectives > _MOST_OBJECTIVES:
            return math.nan
        if not len(positions):
            return 0.0
        from moocore import hypervolume  # Only studies with several objectives need it.

        return float(hypervolume(self._scaled[list(positions)], ref=np.ones(n_objectives)))

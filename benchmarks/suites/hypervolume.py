"""The score of a set of points with several losses: what is missing to the whole hypervolume.

Losses are measured from the ideal point, in units of the distance from there to the reference
point. The score is 1 less the hypervolume that the points dominate of the unit cube. If they
dominate none of it, it is 1 plus the distance from the cube to the nearest point, as in COCO's
suite of two objectives.

Source: Brockhoff et al. (2022), https://doi.org/10.1162/evco_a_00298.

Shapes: N points, M objectives.
"""

from __future__ import annotations

import moocore
import numpy as np


def missing_hypervolume(points: np.ndarray, ideal: np.ndarray, reference: np.ndarray) -> float:
    """Return the score of points `(N, M)`, at least 0; lower is better.

    Args:
        points: The losses; infinity without any point.
        ideal: The ideal point `(M,)`.
        reference: The reference point `(M,)`, greater than the ideal point.
    """
    if not len(points):
        return float("inf")
    scaled = (points - ideal) / (reference - ideal)
    volume = float(moocore.hypervolume(np.maximum(scaled, 0.0), ref=np.ones(len(ideal))))
    if volume > 0.0:
        return 1.0 - volume
    return 1.0 + float(np.linalg.norm(np.maximum(scaled - 1.0, 0.0), axis=1).min())

"""The hypervolume that a point adds, with a reference point that differs by objective."""

from __future__ import annotations

import numpy as np
import pytest

from optuna_ga._population.hypervolume import added_volumes
from tests import several


@pytest.mark.parametrize("reference", [(9, 5), (5, 9), (7, 7), (5, 6, 9), (9, 7, 5)])
def test_the_added_volume_is_that_of_the_cells_below_any_reference_point(
    reference: tuple[int, ...],
) -> None:
    """Counted cell by cell, with the point and without."""
    front = [(1, 4, 2), (2, 3, 2), (4, 1, 2)]
    points = [(0, 0, 0), (1, 3, 1), (3, 2, 3), (4, 0, 0), (0, 4, 4), (0, 1, 1)]
    n = len(reference)
    some, others = [each[:n] for each in front], [each[:n] for each in points]
    found = added_volumes(np.array(others, float), np.array(some, float), np.array(reference))

    before = several.volume(some, reference)
    assert found == pytest.approx(
        [several.volume([*some, each], reference) - before for each in others]
    )

"""The fittest of few trials by a weighting."""

from __future__ import annotations

import numpy as np
import pytest

from optuna_ga._breeding.adaptive_settings import MODELLED
from optuna_ga._breeding.weightings import fittest_by
from optuna_ga._population.fitness import Rank, in_order


@pytest.mark.parametrize("n_infeasible", [0, 3])
def test_two_compromises_are_ordered_by_the_weighting(n_infeasible: int) -> None:
    """Before infeasible trials, which it does not order."""
    ranks = in_order(
        [
            Rank(0.0, False, 0, (0.0, 1.0), 0),
            Rank(0.0, False, 0, (1.0, 0.0), 1),
            *(Rank(1.0 + n, False, 0, (-9.0, -9.0), 2 + n) for n in range(n_infeasible)),
        ]
    )
    found = [
        [rank.number for rank in fittest_by(ranks, np.array(weights), MODELLED)]
        for weights in ([0.9, 0.1], [0.1, 0.9])
    ]
    last = [*range(2, 2 + n_infeasible)]

    assert found == [[0, 1, *last], [1, 0, *last]]

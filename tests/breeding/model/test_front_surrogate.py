"""The model of several objectives: which candidate it rates highest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from optuna.trial import create_trial

from optuna_ga._breeding.adaptive_settings import MODELLED
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.front_surrogate import FrontSurrogate
from tests.breeding.histories import MINIMIZE, UNIT

SEVERAL = replace(MODELLED, later=None)  # As with several objectives.
CANDIDATES = np.linspace(0.0, 1.0, 101)[:, None]


def parabolas(positions: Sequence[float], minima: Sequence[float]) -> TrialMatrix:
    """Return the matrix of trials at some positions; each objective has a minimum of its own."""
    matrix = TrialMatrix([MINIMIZE] * len(minima), 200)
    for number, x in enumerate(positions):
        values = [(x - minimum) ** 2 for minimum in minima]
        trial = create_trial(values=values, params={"x": x}, distributions={"x": UNIT})
        trial.number = number
        matrix.add(trial)
    return matrix


@pytest.mark.parametrize("objective", range(5))
def test_of_five_objectives_the_one_that_counts_alone_is_minimized(objective: int) -> None:
    """There the weighting decides, since the hypervolume takes too long."""
    minima = [0.1, 0.3, 0.5, 0.7, 0.9]
    matrix = parabolas([number * 0.618 % 1.0 for number in range(20)], minima)
    rate = FrontSurrogate(SEVERAL, 5).rating(matrix, np.empty((0, 1)), np.eye(5)[objective])

    best = float(CANDIDATES[np.argmax(rate(CANDIDATES)), 0])
    assert best == pytest.approx(minima[objective], abs=0.06)


def test_the_place_of_a_running_trial_adds_nothing_to_the_front() -> None:
    """The trial counts as the models expect, so another worker is not sent there."""
    matrix = parabolas([*np.linspace(0.0, 0.3, 8), *np.linspace(0.7, 1.0, 8)], [0.3, 0.7])
    surrogate, weights = FrontSurrogate(SEVERAL, 2), np.array([0.5, 0.5])
    alone = surrogate.rating(matrix, np.empty((0, 1)), weights)
    place = CANDIDATES[[np.argmax(alone(CANDIDATES))]]
    beside = surrogate.rating(matrix, place, weights)

    assert 0.3 < place.item() < 0.7
    assert alone(place).item() > 0.0 >= beside(place).item()

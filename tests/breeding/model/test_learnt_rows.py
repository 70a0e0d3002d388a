"""The trials that a model learns from, where there are more than 200."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.trial import create_trial

from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.learnt_rows import learnt_rows
from tests.breeding.histories import MINIMIZE, UNIT


@pytest.mark.parametrize("n", [199, 200, 201, 320, 400])
@pytest.mark.parametrize("order", ["random", "falling", "rising"])
def test_of_many_trials_the_100_best_and_the_100_latest_are_learnt(order: str, n: int) -> None:
    """Each once; later trials than the first `n` have no say."""
    losses = np.random.default_rng(0).permutation(400).astype(float)
    if order != "random":
        losses = np.sort(losses)[:: -1 if order == "falling" else 1]
    matrix = TrialMatrix([MINIMIZE], 200)
    for number, loss in enumerate(losses.tolist()):
        trial = create_trial(value=loss, params={"x": loss / 400}, distributions={"x": UNIT})
        trial.number = number
        matrix.add(trial)
    best, latest = np.argsort(losses[:n])[:100].tolist(), range(n - 100, n)

    assert learnt_rows(matrix, n) == (sorted({*best, *latest}) if n > 200 else [*range(n)])

"""Running trials are predicted, however many of their parameters they have so far."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_ga._breeding.known.known_trials import KnownTrials
from tests.breeding.histories import MINIMIZE, UNIT


def trial_with(state: TrialState = TrialState.COMPLETE, **params: Any) -> FrozenTrial:
    """Return a trial with these parameters: letters are choices, numbers are floats."""
    return create_trial(
        state=state,
        value=0.0 if state == TrialState.COMPLETE else None,
        params=params,
        distributions={
            name: CategoricalDistribution("ab") if isinstance(value, str) else UNIT
            for name, value in params.items()
        },
    )


def predicted(known: KnownTrials, genes: dict[str, float], **params: Any) -> list[float]:
    """Return the predicted genes of a running trial that has some parameters so far."""
    known.take_in()
    known.predict([trial_with(TrialState.RUNNING, **params)], lambda trial: genes)
    return list(known.running[0])


def test_the_prediction_follows_what_a_running_trial_suggests() -> None:
    """The prediction takes over each suggested gene, and follows changes of the range."""
    finished = [trial_with(x=0.5, y=0.5)]
    known, genes = KnownTrials([MINIMIZE], 10, finished), {"x": 0.9, "y": 0.75}

    assert predicted(known, genes) == [0.9, 0.75]
    assert predicted(known, genes, x=0.25) == [0.25, 0.75]
    assert predicted(known, genes, x=0.25, y=0.5) == [0.25, 0.5]

    wider: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 2.0), "y": UNIT}
    finished.append(create_trial(value=0.0, params={"x": 1.0, "y": 0.5}, distributions=wider))
    assert predicted(known, genes, x=0.25, y=0.5) == [0.125, 0.5]


@pytest.mark.parametrize(
    ("genes", "parts", "row"),
    [
        ([0.25, 0.2], [{}, {"c": "a"}, {"c": "a", "x": 0.2}], [0.25, 0.2]),
        ([0.75, 0.2], [{}, {"c": "b"}, {"c": "b", "x": 0.2}], [0.75, math.nan]),
    ],
)
def test_a_prediction_does_not_depend_on_how_much_has_been_suggested(
    genes: list[float], parts: list[dict[str, Any]], row: list[float]
) -> None:
    """Not even where a trial has a parameter that it was predicted not to have."""
    known = KnownTrials([MINIMIZE], 10, [trial_with(c="a", x=0.5), trial_with(c="b")])

    for part in parts:
        planned = dict(zip("cx", genes, strict=True))
        np.testing.assert_equal(predicted(known, planned, **part), row)


def test_running_trials_are_predicted_with_the_parameters_of_their_branch() -> None:
    """The plan has a gene for every parameter; the prediction has those of the branch."""
    known = KnownTrials([MINIMIZE], 10, [trial_with(c="a", x=0.5), trial_with(c="b")])

    assert predicted(known, {"c": 0.25, "x": 0.3}) == [0.25, 0.3]
    np.testing.assert_equal(predicted(known, {"c": 0.75, "x": 0.3}), [0.75, math.nan])
    np.testing.assert_equal(predicted(known, {"c": 0.25, "x": 0.3}, c="b"), [0.75, math.nan])

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


def may_be_tried(known: KnownTrials, *genes: list[float]) -> list[bool]:
    """Return which children repeat no known trial."""
    return [bool(known.new(np.array([child]))[0]) for child in genes]


def test_forgiven_values_may_be_tried_once_more() -> None:
    """Only those of the rows that are forgiven, and of no trial that failed twice."""
    failed, a, b, c = TrialState.FAIL, [0.25, 0.5], [0.75, 0.5], [0.5, 0.5]
    finished = [trial_with(failed, x=x, y=y) for x, y in (a, b, c, c)]
    known = KnownTrials([MINIMIZE], 10, [trial_with(x=0.1, y=0.1), *finished])
    known.take_in()

    assert may_be_tried(known, a, b, c) == [False, False, False]
    known.forgive([1, 3, 4])
    assert may_be_tried(known, a, b, c) == [True, False, False]
    known.forgive([2])
    assert may_be_tried(known, a, b, c) == [False, True, False]


@pytest.mark.parametrize("partial_first", [True, False])
def test_a_failure_half_way_is_another_one(partial_first: bool) -> None:
    """Whichever came first, the values of both may be tried once more."""
    failed = TrialState.FAIL
    finished = [trial_with(failed, x=0.25), trial_with(failed, x=0.25, y=0.5)]
    known = KnownTrials([MINIMIZE], 10, finished if partial_first else finished[::-1])
    known.take_in()

    assert may_be_tried(known, [0.25, 0.5]) == [False]
    known.forgive([0, 1])
    assert may_be_tried(known, [0.25, 0.5]) == [True]


def test_nothing_is_forgiven_where_ranges_vary() -> None:
    """There it is by their values that tried points are known."""
    wider = create_trial(
        value=0.0, params={"x": 1.5}, distributions={"x": FloatDistribution(0.0, 2.0)}
    )
    known = KnownTrials([MINIMIZE], 10, [trial_with(TrialState.FAIL, x=0.5), wider])
    known.take_in()
    known.forgive([0])

    assert known.matrix.columns.ranges_vary
    assert may_be_tried(known, list(known.matrix.units[0])) == [False]


@pytest.mark.parametrize("others", [0, 1, 2])
def test_an_enqueued_value_beyond_the_range_does_not_stand_for_its_end(others: int) -> None:
    """Alone or beside other running trials, before it has been suggested."""
    known = KnownTrials([MINIMIZE], 10, [trial_with(x=0.5, y=0.5)])
    known.take_in()
    beyond = create_trial(
        state=TrialState.RUNNING, system_attrs={"fixed_params": {"x": 9.0, "y": 0.25}}
    )
    running = [trial_with(TrialState.RUNNING) for _ in range(others)]
    running.append(beyond)
    for number, trial in enumerate(running, start=1):
        trial.number = number
    plans = {trial.number: {"x": 0.1 * trial.number, "y": 0.75} for trial in running}
    plans[beyond.number] = {"x": 1.0, "y": 0.25}
    known.predict(running, lambda trial: plans[trial.number])

    assert known.new(np.array([[1.0, 0.25]])).all()
    for trial in running[:-1]:
        assert not known.new(np.array([list(plans[trial.number].values())])).any()

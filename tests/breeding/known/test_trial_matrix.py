"""The matrix of finished trials against ranking and encoding them anew."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._population import fitness
from optuna_ga._population.genes import nearest_value
from optuna_ga._population.unit_scale import from_unit, to_unit
from tests.breeding.histories import MAXIMIZE, MINIMIZE, UNIT, branching, random_trials
from tests.breeding.known.test_known_trials import trial_with


def matrix_of(
    trials: Sequence[FrozenTrial], direction: Any = MINIMIZE, n: int = 200
) -> TrialMatrix:
    """Return the matrix of these trials, which keeps the order of the n fittest."""
    matrix = TrialMatrix([direction], n)
    for trial in trials:
        matrix.add(trial)
    return matrix


@pytest.mark.parametrize("direction", [MINIMIZE, MAXIMIZE])
def test_the_fittest_are_known_at_any_time(direction: StudyDirection) -> None:
    """They are the trials that ranking all trials anew gives."""
    trials, matrix = random_trials(150), TrialMatrix([direction], 7)
    for end, trial in enumerate(trials, start=1):
        matrix.add(trial)
        fittest = fitness.fittest(trials[:end], 7, [direction])
        assert matrix.fittest() == [one.number for one in fittest]
        with_x = [one for one in trials[:end] if "x" in one.params]
        fittest = fitness.fittest(with_x, 7, [direction])
        assert matrix.fittest("x") == [one.number for one in fittest]


def test_the_rows_of_trials_are_found_by_their_numbers() -> None:
    """Rows are in the order of arrival, which may differ from the order of the numbers."""
    trials = random_trials(100)[::-1]
    matrix = matrix_of(trials)

    assert matrix.trials == trials
    assert matrix.rows([99, 0, 1000, 5]) == [0, 99, 94]


def test_which_trials_are_complete_is_known() -> None:
    """The mask tells complete trials from failed and pruned ones."""
    trials = branching(150)

    assert list(matrix_of(trials).complete) == [
        trial.state == TrialState.COMPLETE for trial in trials
    ]


RANGES: dict[str, list[BaseDistribution]] = {
    "x": [UNIT, FloatDistribution(0.3, 2.0), FloatDistribution(1e-3, 1.0, log=True)],
    "n": [IntDistribution(1, 9), IntDistribution(3, 30, step=3), IntDistribution(2, 5, log=True)],
    "c": [CategoricalDistribution("abc"), CategoricalDistribution("abc")],
}


def with_changing_ranges(n: int) -> list[FrozenTrial]:
    """Return finished trials, each with some parameters of one of several ranges."""
    rng = random.Random(1)
    trials = []
    for _ in range(n):
        space = {name: rng.choice(RANGES[name]) for name in rng.sample("xnc", rng.randrange(4))}
        params = {name: from_unit(found, rng.random()) for name, found in space.items()}
        trials.append(create_trial(value=0.0, params=params, distributions=space))
    return trials


def position(trial: FrozenTrial, name: str, distribution: BaseDistribution) -> float:
    """Return the position of a parameter, or of the nearest value inside; NaN if it is missing."""
    if name not in trial.params:
        return math.nan
    return to_unit(distribution, nearest_value(distribution, trial.params[name]))


def test_genes_are_those_of_one_range() -> None:
    """Each column holds positions in the one range that the matrix names for it."""
    trials = with_changing_ranges(90)
    matrix = matrix_of(trials)

    assert matrix.distributions.keys() == RANGES.keys()
    for column, (name, distribution) in enumerate(matrix.distributions.items()):
        assert distribution in RANGES[name]
        expected = [position(trial, name, distribution) for trial in trials]
        np.testing.assert_allclose(matrix.units[:, column], expected)


def test_a_range_that_changes_once_is_taken_over_at_once() -> None:
    """Earlier genes become positions in the new range."""
    old, new = FloatDistribution(0.0, 1.0), FloatDistribution(0.3, 2.0)
    trials = [create_trial(value=0.0, params={"x": 0.9}, distributions={"x": old})] * 9
    matrix = matrix_of([*trials, with_range(new)])

    assert matrix.distributions == {"x": new}
    assert matrix.units[:9, 0] == pytest.approx(to_unit(new, 0.9))


def test_ranges_that_always_change_are_rarely_taken_over() -> None:
    """Converting all genes for every trial would take quadratic time."""
    matrix = TrialMatrix([MINIMIZE], 200)
    for n in range(1, 1001):
        matrix.add(with_range(FloatDistribution(0.0, float(n))))

    assert matrix.columns.version < 100
    assert matrix.distributions["x"].high > 900.0  # type: ignore[attr-defined]


def with_range(distribution: FloatDistribution) -> FrozenTrial:
    """Return a finished trial whose gene lies in the middle of its range."""
    middle = (distribution.low + distribution.high) / 2
    return create_trial(value=0.0, params={"x": middle}, distributions={"x": distribution})


@pytest.mark.parametrize("name", RANGES)
def test_genes_can_be_had_in_any_range(name: str) -> None:
    """A gene becomes the nearest value inside; a missing gene is NaN."""
    trials = with_changing_ranges(30)
    distribution = RANGES[name][0]
    genes = matrix_of(trials).genes(range(30), {name: distribution})

    np.testing.assert_allclose(genes, [[position(trial, name, distribution) for trial in trials]])


def test_choices_that_no_trial_has_are_known_without_looking_twice() -> None:
    """Also where the list of choices changes, and choices that Python holds equal are one."""
    matrix = TrialMatrix([MINIMIZE], 8)
    kinds = CategoricalDistribution((1, True, "b", None))
    other = CategoricalDistribution(("b", None, "c"))

    def with_kind(number: int, kind: Any, choices: CategoricalDistribution) -> FrozenTrial:
        trial = create_trial(value=0.0, params={"kind": kind}, distributions={"kind": choices})
        trial.number = number
        return trial

    matrix.add(with_kind(0, "b", kinds))
    assert matrix.untried_choices("kind").tolist() == [0.125, 0.875]
    matrix.add(with_kind(1, True, kinds))
    assert matrix.untried_choices("kind").tolist() == [0.875]
    matrix.add(with_kind(2, "c", other))
    assert matrix.untried_choices("kind").tolist() == [0.5]
    matrix.add(with_kind(3, None, other))
    assert matrix.untried_choices("kind").tolist() == []


def test_parameters_in_use_are_those_of_the_latest_complete_trials() -> None:
    """A renamed parameter is in use as long as one of the latest 20 has it."""
    matrix = TrialMatrix([MINIMIZE], 10)
    for trial in [trial_with(old=0.5, x=0.5)] * 9 + [trial_with(new=0.5, x=0.5)] * 19:
        matrix.add(trial)
    names = list(matrix.distributions)
    for n, used in [(9, "old x"), (10, "new old x"), (28, "new old x")]:
        assert {names[c] for c in np.flatnonzero(matrix.are_used(n))} == set(used.split())
    matrix.add(trial_with(TrialState.FAIL, new=0.5, x=0.5))
    assert set(matrix.distributions_used(29)) == {"new", "old", "x"}
    matrix.add(trial_with(new=0.5, x=0.5))
    assert set(matrix.distributions_used(30)) == {"new", "x"}


def test_all_parameters_are_in_use_while_no_trial_is_complete() -> None:
    """There is nothing else to tell by."""
    matrix = TrialMatrix([MINIMIZE], 10)
    matrix.add(trial_with(TrialState.FAIL, x=0.5))

    assert matrix.are_used(1).tolist() == [True]

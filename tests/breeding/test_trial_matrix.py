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

from optuna_ga._breeding.trial_matrix import Archive
from optuna_ga._population import fitness
from optuna_ga._population.genes import fit, from_unit, to_unit
from tests.breeding.histories import MAXIMIZE, MINIMIZE, UNIT, branching, random_trials


def archive_of(trials: Sequence[FrozenTrial], direction: Any = MINIMIZE, n: int = 200) -> Archive:
    """Return the matrix of these trials, which keeps the order of the n fittest."""
    archive = Archive(direction, n)
    for trial in trials:
        archive.add(trial)
    return archive


@pytest.mark.parametrize("direction", [MINIMIZE, MAXIMIZE])
def test_the_fittest_are_known_at_any_time(direction: StudyDirection) -> None:
    """They are the trials that ranking all trials anew gives."""
    trials, archive = random_trials(150), Archive(direction, 7)
    for end, trial in enumerate(trials, start=1):
        archive.add(trial)
        fittest = fitness.fittest(trials[:end], 7, direction)
        assert archive.fittest() == [one.number for one in fittest]
        with_x = [one for one in trials[:end] if "x" in one.params]
        fittest = fitness.fittest(with_x, 7, direction)
        assert archive.fittest("x") == [one.number for one in fittest]


def test_the_rows_of_trials_are_found_by_their_numbers() -> None:
    """Rows are in the order of arrival, which may differ from the order of the numbers."""
    trials = random_trials(100)[::-1]
    archive = archive_of(trials)

    assert archive.trials == trials
    assert archive.rows([99, 0, 1000, 5]) == [0, 99, 94]


def test_which_trials_are_complete_is_known() -> None:
    """The mask tells complete trials from failed and pruned ones."""
    trials = branching(150)

    assert list(archive_of(trials).complete) == [
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
    return to_unit(distribution, fit(distribution, trial.params[name]))


def test_genes_are_those_of_one_range() -> None:
    """Each column holds positions in the one range that the matrix names for it."""
    trials = with_changing_ranges(90)
    archive = archive_of(trials)

    assert archive.distributions.keys() == RANGES.keys()
    for column, (name, distribution) in enumerate(archive.distributions.items()):
        assert distribution in RANGES[name]
        expected = [position(trial, name, distribution) for trial in trials]
        np.testing.assert_allclose(archive.units[:, column], expected)


def test_a_range_that_changes_once_is_taken_over_at_once() -> None:
    """Earlier genes become positions in the new range."""
    old, new = FloatDistribution(0.0, 1.0), FloatDistribution(0.3, 2.0)
    trials = [create_trial(value=0.0, params={"x": 0.9}, distributions={"x": old})] * 9
    archive = archive_of([*trials, with_range(new)])

    assert archive.distributions == {"x": new}
    assert archive.units[:9, 0] == pytest.approx(to_unit(new, 0.9))


def test_ranges_that_always_change_are_rarely_taken_over() -> None:
    """Converting all genes for every trial would take quadratic time."""
    archive = Archive(MINIMIZE, 200)
    for n in range(1, 1001):
        archive.add(with_range(FloatDistribution(0.0, float(n))))

    assert archive.version < 100
    assert archive.distributions["x"].high > 900.0  # type: ignore[attr-defined]


def with_range(distribution: FloatDistribution) -> FrozenTrial:
    """Return a finished trial whose gene lies in the middle of its range."""
    middle = (distribution.low + distribution.high) / 2
    return create_trial(value=0.0, params={"x": middle}, distributions={"x": distribution})


@pytest.mark.parametrize("name", RANGES)
def test_genes_can_be_had_in_any_range(name: str) -> None:
    """A gene becomes the nearest value inside; a missing gene is NaN."""
    trials = with_changing_ranges(30)
    distribution = RANGES[name][0]
    genes = archive_of(trials).genes(range(30), {name: distribution})

    np.testing.assert_allclose(genes, [[position(trial, name, distribution) for trial in trials]])

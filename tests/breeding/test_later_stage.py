"""The later stage of an adaptive search over continuous numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import optuna
import pytest
from optuna import Study, Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_ga import AdaptiveSettings, GASampler
from optuna_ga._breeding.adaptive_settings import MODEL_FREE, SCREENED
from tests.breeding.samplers import ask_together
from tests.studies import parents, run, story

UNIT = FloatDistribution(0.0, 1.0)


def valley(trial: Trial) -> float:
    """Return the value of a turned quadratic, a thousand times as steep across as along."""
    x, y, z = (trial.suggest_float(name, -1.0, 1.0) - 0.2 for name in "xyz")
    return (x + y + z) ** 2 + 1e-6 * ((x - y) ** 2 + (y - 2 * z) ** 2)


@pytest.mark.parametrize(
    ("n_trials", "distributions", "is_later"),
    [
        (29, [UNIT], False),
        (30, [UNIT], True),
        (49, [UNIT] * 5, False),
        (50, [UNIT] * 5, True),
        (999, [UNIT, IntDistribution(1, 9)], False),
        (999, [UNIT, CategoricalDistribution("ab")], False),
        (999, [UNIT, FloatDistribution(0.0, 1.0, step=0.1)], False),
        (999, [FloatDistribution(1e-9, 1.0, log=True)], True),
    ],
)
def test_it_begins_with_ten_trials_for_each_continuous_number(
    n_trials: int, distributions: list[BaseDistribution], is_later: bool
) -> None:
    """And with thirty trials in all. A number on a grid or a choice is not continuous."""
    space = dict(zip("abcde", distributions, strict=False))

    assert SCREENED.at(n_trials, space) is (SCREENED.later if is_later else SCREENED)
    assert MODEL_FREE.at(n_trials, space) is MODEL_FREE


@pytest.fixture(scope="module")
def searched() -> Study:
    """Return a study of 70 trials, more than half of them in the later stage."""
    return run(GASampler.adaptive(seed=0), 70, valley)


@pytest.mark.parametrize("seed", range(3))
def test_a_narrow_valley_is_followed_to_its_end(seed: int) -> None:
    """The best value falls below a billionth of the range's."""
    study = run(GASampler.adaptive(seed=seed), 120, valley)

    assert study.best_value < 1e-9


def test_one_stage_stands_still_in_a_narrow_valley() -> None:
    """So the test above tests the later stage."""
    settings = GASampler.adaptive(seed=0).settings
    assert isinstance(settings, AdaptiveSettings)
    one_stage = replace(settings, tuning=replace(settings.tuning, later=None))

    study = run(GASampler.from_settings(one_stage), 120, valley)

    assert study.best_value > 1e-9


def test_a_search_continues_with_another_sampler_object(searched: Study) -> None:
    """A new sampler before every trial changes nothing."""
    study = optuna.create_study()
    for _ in range(70):
        study.sampler = GASampler.adaptive(seed=0)
        study.optimize(valley, n_trials=1)

    assert story(study) == story(searched)


def test_a_half_suggested_trial_continues_with_another_sampler(searched: Study) -> None:
    """Its other genes are the same, for a child and for the lowest point of a quadratic model."""
    for number in range(40, 60):
        study = optuna.create_study(sampler=GASampler.adaptive(seed=0))
        study.add_trials(searched.trials[:number])
        trial = study.ask()
        trial.suggest_float("x", -1.0, 1.0)
        study.sampler = GASampler.adaptive(seed=0)
        valley(Trial(study, trial._trial_id))

        assert study.trials[number].params == searched.trials[number].params


def lowest_points(study: Study) -> Iterator[int]:
    """Yield the numbers of the trials near the minimum of a quadratic that others determine."""
    for trial in study.trials[30:]:
        earlier = [t for t in study.trials[: trial.number] if t.value is not None]
        genes = np.array([[*t.params.values()] for t in earlier])
        losses = np.array([t.value for t in earlier])
        best = np.argsort(losses)[:13]
        x = genes[best] - genes[best[0]]
        first, second = np.triu_indices(3)
        terms = np.hstack([np.ones((13, 1)), x, x[:, first] * x[:, second]])
        scale = np.abs(terms).max(axis=0)
        fitted = np.linalg.lstsq(terms / scale, losses[best], rcond=None)[0] / scale
        half = np.zeros((3, 3))
        half[first, second] = fitted[4:]
        minimum = genes[best[0]] - np.linalg.solve(half + half.T, fitted[1:4])
        if np.abs(minimum - [*trial.params.values()]).max() < 1e-6:
            yield trial.number


def test_some_trials_are_at_the_lowest_point_of_a_quadratic(searched: Study) -> None:
    """Computed here without whitening and without a limit to the step; parents are the best 8."""
    numbers = list(lowest_points(searched))

    assert 1 <= len(numbers) <= 15
    for number in numbers[:1]:
        earlier = sorted(searched.trials[:number], key=lambda t: (t.value, t.number))
        assert parents(searched.trials[number]) == [trial.number for trial in earlier[:8]]


def test_workers_that_ask_together_get_different_trials(searched: Study) -> None:
    """A lowest point is taken by the first of them."""
    study = optuna.create_study(sampler=GASampler.adaptive(seed=0))
    study.add_trials(searched.trials[:50])
    asked = ask_together(study, 16, valley)

    assert len({tuple(trial.params.values()) for trial, _ in asked}) == 16


def test_failed_trials_and_infinite_values_are_no_part_of_the_quadratic(searched: Study) -> None:
    """The search goes on with finite genes."""
    study = optuna.create_study(sampler=GASampler.adaptive(seed=0))
    study.add_trials(searched.trials[:40])
    for number in range(40, 80):
        trial = study.ask()
        value = valley(trial)
        if number % 4 == 0:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, [-float("inf"), float("inf"), value][number % 3])

    assert all(np.isfinite([*trial.params.values()]).all() for trial in study.trials)

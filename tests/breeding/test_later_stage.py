"""The later stage of an adaptive search over continuous numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

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
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_ga import GASampler
from optuna_ga._breeding.adaptive_settings import MODEL_FREE, MODELLED, Tuning
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.quadratic import lowest_point
from optuna_ga._breeding.model.surrogate import Surrogate, scheduled
from tests.breeding.histories import MINIMIZE
from tests.breeding.samplers import ask_together, points, tuned
from tests.studies import parents, run, story

UNIT = FloatDistribution(0.0, 1.0)


def with_later(later: Tuning | None, seed: int = 0) -> GASampler:
    """Return a sampler with other constants of the later stage; None: without that stage."""
    return tuned(GASampler.adaptive(seed=seed), later=later)


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
        (999, [UNIT, IntDistribution(1, 1000)], False),
        (999, [UNIT, IntDistribution(1, 1001)], True),
        (999, [FloatDistribution(0.0, 1.0, step=1e-4)], True),
        (999, [FloatDistribution(1e-9, 1.0, log=True)], True),
        (30, [UNIT, IntDistribution(5, 5), CategoricalDistribution("a")], True),
        (999, [IntDistribution(5, 5)], False),
    ],
)
def test_it_begins_with_ten_trials_for_each_continuous_number(
    n_trials: int, distributions: list[BaseDistribution], is_later: bool
) -> None:
    """And with thirty trials in all. A number is continuous without a grid, or on a fine grid."""
    space = dict(zip("abcde", distributions, strict=False))

    assert MODELLED.at(n_trials, space) is (MODELLED.later if is_later else MODELLED)
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


@pytest.mark.parametrize("seed", range(3))
def test_one_stage_stands_still_in_a_narrow_valley(seed: int) -> None:
    """So the test above tests the later stage."""
    study = run(with_later(None, seed), 120, valley)

    assert study.best_value > 1e-9


def test_the_best_point_of_a_fine_grid_is_found() -> None:
    """It is searched as continuous numbers are."""

    def objective(trial: Trial) -> float:
        x = trial.suggest_float("x", -1.0, 1.0, step=1e-6) - 0.123456
        n = trial.suggest_int("n", 0, 100_000) / 100_000 - 0.54321
        return (x + n) ** 2 + (x - 2 * n) ** 2 / 100

    study = run(GASampler.adaptive(seed=0), 80, objective)

    assert study.best_params == {"x": pytest.approx(0.123456), "n": 54_321}


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


def with_quadratic(prob: float) -> GASampler:
    """Return a sampler whose later stage takes the lowest point with another probability."""
    assert MODELLED.later is not None
    return with_later(replace(MODELLED.later, quadratic_prob=prob))


def lowest(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Return the parameters of the lowest point of a quadratic model of complete trials."""
    best = sorted(trials, key=lambda trial: (trial.value, trial.number))[:200]
    genes = [[(gene + 1.0) / 2.0 for gene in trial.params.values()] for trial in best]
    found = lowest_point(np.array(genes), np.array([trial.value for trial in best]))
    assert found is not None
    return dict(zip("xyz", (2.0 * found - 1.0).tolist(), strict=True))


def next_of(trials: Sequence[FrozenTrial], sampler: GASampler) -> FrozenTrial:
    """Return the trial that follows some trials."""
    study = optuna.create_study(sampler=sampler)
    study.add_trials(trials)
    study.optimize(valley, n_trials=1)
    return study.trials[-1]


def test_a_trial_is_at_the_lowest_point_of_a_quadratic_model(searched: Study) -> None:
    """Its parents are the best eight trials, and no gene is mutated."""
    trials = searched.trials[:45]
    found = next_of(trials, with_quadratic(1.0))

    assert found.params == pytest.approx(lowest(trials), abs=1e-9)
    best = sorted(trials, key=lambda trial: (trial.value, trial.number))[:8]
    assert parents(found) == [trial.number for trial in best]
    assert "ga_mutated" not in found.user_attrs


def test_so_are_15_trials_in_100() -> None:
    """Of 400 next trials 60 +- 21 are, three standard deviations."""
    trials = run(GASampler.adaptive(seed=0), 45, valley).trials
    expected = lowest(trials)
    found = [next_of(trials, GASampler.adaptive(seed=seed)).params for seed in range(400)]

    n_lowest = sum(params == pytest.approx(expected, abs=1e-9) for params in found)
    assert 39 <= n_lowest <= 81


def test_trials_that_have_no_finite_value_are_no_part_of_the_model(searched: Study) -> None:
    """Failed, pruned, infeasible and infinite trials move the lowest point nowhere."""
    usable = searched.trials[:45]
    kinds: list[dict[str, Any]] = [
        {"state": TrialState.FAIL},
        {"state": TrialState.PRUNED, "intermediate_values": {1: -9.0}},
        {"value": math.inf},
        {"value": -math.inf},
        {"value": -9.0, "constraints": {"c": 1.0}},
    ]
    space = usable[0].distributions
    unusable = [
        create_trial(params={"x": 0.1 * n, "y": 0.9, "z": -0.9}, distributions=space, **kind)
        for n, kind in enumerate(kinds)
    ]

    found = next_of([*usable, *unusable], with_quadratic(1.0))

    assert found.params == pytest.approx(lowest(usable), abs=1e-9)


def test_a_lowest_point_that_was_tried_leaves_the_choice_to_the_model(searched: Study) -> None:
    """The trial is the one that would follow without a quadratic model."""
    trials = [*searched.trials[:45], next_of(searched.trials[:45], with_quadratic(1.0))]
    again = create_trial(value=9.0, params=lowest(trials), distributions=trials[0].distributions)
    screened = {
        prob: next_of([*trials, again], with_quadratic(prob)).params for prob in (1e-9, 1.0)
    }

    assert screened[1.0] == screened[1e-9] != lowest(trials)


def test_workers_that_ask_together_get_different_trials(searched: Study) -> None:
    """The first of them gets the lowest point."""
    study = optuna.create_study(sampler=with_quadratic(1.0))
    study.add_trials(searched.trials[:45])
    asked = [trial.params for trial, _ in ask_together(study, 16, valley)]

    assert asked[0] == pytest.approx(lowest(searched.trials[:45]), abs=1e-9)
    assert len({tuple(params.values()) for params in asked}) == 16


def test_a_given_gene_is_kept(searched: Study) -> None:
    """The model chooses among candidates that have it."""
    study = optuna.create_study(sampler=with_quadratic(1.0))
    study.add_trials(searched.trials[:45])
    study.enqueue_trial({"x": -0.75})
    study.optimize(valley, n_trials=1)

    assert study.trials[-1].params["x"] == -0.75


def test_a_parameter_that_few_trials_have_does_not_stop_the_search() -> None:
    """Nor do a constant and a number with a single value."""

    def growing(trial: Trial) -> float:
        trial.suggest_categorical("optimizer", ["adam"])
        trial.suggest_float("fixed", 3.0, 3.0)
        late = trial.suggest_float("late", 0.0, 1.0) if trial.number >= 60 else 0.5
        return valley(trial) + (late - 0.3) ** 2

    study = run(GASampler.adaptive(seed=0), 100, growing)
    restarted = optuna.create_study()
    for _ in range(100):
        restarted.sampler = GASampler.adaptive(seed=0)
        restarted.optimize(growing, n_trials=1)

    assert story(restarted) == story(study)
    assert study.best_value < 1e-5


@pytest.mark.parametrize("n", [210, 725])
def test_a_model_of_many_trials_is_the_same_after_a_restart(n: int) -> None:
    """Features depend on the trials at the last fit, not on later ones; of 20 and 70 numbers."""
    rng = np.random.default_rng(0)
    size = 20 if n == 210 else 70
    space: dict[str, BaseDistribution] = {f"x{i}": UNIT for i in range(size)}
    trials = [
        create_trial(
            value=float(genes @ genes),
            params=dict(zip(space, genes.tolist(), strict=True)),
            distributions=space,
        )
        for genes in rng.random((n + 1, size))
    ]
    on_time, later = (TrialMatrix([MINIMIZE], 200) for _ in range(2))
    early = Surrogate(MODELLED)
    for number, trial in enumerate(trials):
        trial.number = number
        later.add(trial)
        on_time.add(trial)
        if number == scheduled(n + 1, MODELLED.refit_growth) - 1:
            early.prediction(on_time, np.zeros((0, size)))
    places = rng.random((5, size))
    predictions = [
        surrogate.prediction(matrix, np.zeros((0, size)))(places)[0]
        for surrogate, matrix in ((early, on_time), (Surrogate(MODELLED), later))
    ]

    assert predictions[0].tolist() == predictions[1].tolist()


def test_with_several_objectives_there_is_one_stage() -> None:
    """Its constants are those of the first."""

    def values(trial: Trial) -> tuple[float, float]:
        return valley(trial), abs(trial.params["x"])

    studies = [
        run(sampler, 40, values, directions=["minimize", "minimize"])
        for sampler in (GASampler.adaptive(seed=0), with_later(None))
    ]

    assert points(studies[0]) == points(studies[1])


def sampler_of(prob: float, seed: int) -> GASampler:
    """Return a sampler whose later stage takes the lowest point with some probability.

    All other children are chosen by the model.
    """
    assert MODELLED.later is not None
    return with_later(replace(MODELLED.later, quadratic_prob=prob, unscreened_prob=0.0), seed)


def test_where_the_lowest_point_was_tried_a_child_has_parents_of_its_own() -> None:
    """They are those that it would have without a quadratic model: of a step only one."""
    trials = run(GASampler.adaptive(seed=0), 45, valley).trials
    again = create_trial(value=9.0, params=lowest(trials), distributions=trials[0].distributions)
    counts = set()
    for seed in range(12):
        found, expected = (next_of([*trials, again], sampler_of(p, seed)) for p in (1.0, 1e-9))
        assert found.params == expected.params
        assert parents(found) == parents(expected)
        counts.add(len(parents(found)))

    assert counts == {1, 8}

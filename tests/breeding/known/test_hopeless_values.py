"""Values with which no trial has completed, and what they do to a search."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import optuna
import pytest
from optuna import Trial, TrialPruned
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study

from optuna_ga import GASampler
from optuna_ga._breeding.known import learnt_space
from optuna_ga._breeding.known.conditional_space import ConditionalSpace
from optuna_ga._breeding.known.hopeless_values import have_value, hopeless_values
from optuna_ga._population.unit_scale import snapped_to_grid
from tests.breeding.samplers import Make, of_every_kind
from tests.studies import Objective

SPACE = [
    CategoricalDistribution(list("abcd")),
    IntDistribution(1, 9),
    FloatDistribution(0.0, 1.0, step=0.25),
    FloatDistribution(0.0, 1.0),
]


def random_trials(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return genes `(n, D)`, some of them NaN, and which trials are complete and short `(n,)`."""
    rng = np.random.default_rng(seed)
    units = np.column_stack([snapped_to_grid(each, rng.random(n)) for each in SPACE])
    units[rng.random(units.shape) < 0.2] = np.nan
    complete = rng.random(n) < rng.choice([0.05, 0.3, 0.7])
    is_bad = units[:, 0] < 0.5  # Often short: they have the first or the second choice.
    short = ~complete & (rng.random(n) < np.where(is_bad, 0.9, rng.choice([0.05, 0.4])))
    return units, complete & ~(units[:, 0] < 0.25), short


@pytest.mark.parametrize("seed", range(20))
def test_hopeless_values_are_those_whose_short_trials_are_no_chance(seed: int) -> None:
    """They are found by counting each value on its own."""
    units, complete, short = random_trials(30 * (1 + seed % 8), seed)
    expected = set()
    for column in range(3):  # A continuous number has no value twice.
        with_result = set(units[complete, column].tolist())
        n_short = Counter(units[short, column].tolist())
        for gene, n in Counter(units[:, column].tolist()).items():
            others_short = short.sum() - n_short[gene]
            chance = Fraction(int(others_short) + 1, len(units) - n + 2) ** n_short[gene]
            enough = n_short[gene] >= max(5, len(units) / 20)
            if enough and gene not in with_result and chance < 0.01 and gene >= 0.0:
                expected.add((column, round(gene, 9)))

    found = hopeless_values(units, complete, short, SPACE)

    assert found == expected
    rows = [any((column, round(row[column], 9)) in found for column in range(3)) for row in units]
    np.testing.assert_array_equal(have_value(units, found), rows)


def ends_at_once(how: type[Exception], bad: str) -> Objective:
    """Return an objective that ends before its other parameters with some choices."""

    def objective(trial: Trial) -> float:
        choice = trial.suggest_categorical("choice", list("abcd"))
        if choice in bad:
            raise how
        x, n = trial.suggest_float("x", 0.0, 1.0), trial.suggest_int("n", 0, 20)
        return (x - 0.3) ** 2 + (n - 7) ** 2 / 400 + 0.1 * (choice != "a")

    return objective


def searched(study: Study, objective: Any, n_trials: int) -> list[str]:
    """Return the choices of new trials."""
    before = len(study.trials)
    study.optimize(objective, n_trials, catch=RuntimeError)
    return [trial.params["choice"] for trial in study.trials[before:]]


@of_every_kind
@pytest.mark.parametrize("how", [RuntimeError, TrialPruned])
def test_a_choice_that_never_runs_is_given_up(make: Make, how: type[Exception]) -> None:
    """Also where a trial ends before it has all parameters, so that each seems to be new."""
    study = optuna.create_study(sampler=make(10, seed=0))
    choices = searched(study, ends_at_once(how, "ad"), 60)

    assert choices.count("a") <= 8
    assert choices.count("d") <= 8


def test_a_choice_whose_fault_was_mended_is_tried_again() -> None:
    """After so many trials that the failures are less than a twentieth of them."""
    study = optuna.create_study(sampler=GASampler.adaptive(seed=0))
    n = searched(study, ends_at_once(RuntimeError, "a"), 60).count("a")
    searched(study, ends_at_once(RuntimeError, ""), 20 * n + 20 - 60)

    assert study.best_params["choice"] == "a"


def test_a_choice_that_often_fails_by_chance_is_not_given_up() -> None:
    """A complete trial is enough."""
    study = optuna.create_study(sampler=GASampler.adaptive(seed=0))
    runs = ends_at_once(RuntimeError, "")
    rng = np.random.default_rng(0)

    def objective(trial: Trial) -> float:
        choice = trial.suggest_categorical("choice", list("abcd"))
        if choice == "a" and rng.random() < 0.6:
            raise RuntimeError
        return float(runs(trial))

    searched(study, objective, 60)

    assert study.best_params["choice"] == "a"


def test_pruned_trials_with_all_parameters_teach_no_space(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Then learning costs the same, however many trials are pruned."""
    learnt = []

    class Counted(ConditionalSpace):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            learnt.append(self)

    monkeypatch.setattr(learnt_space, "ConditionalSpace", Counted)

    def objective(trial: Trial) -> float:
        loss = 0.0
        for i in range(10):
            if trial.suggest_categorical(f"on{i}", ["yes", "no"]) == "yes":
                loss += trial.suggest_int(f"n{i}", 0, 9)
        if trial.number % 20:
            raise TrialPruned
        return loss

    study = optuna.create_study(sampler=GASampler(seed=0, avoid_duplicates=True))
    study.optimize(objective, n_trials=200)
    n = len(learnt)
    study.optimize(objective, n_trials=400)

    assert len(learnt) - n <= 20  # There are 20 complete trials.

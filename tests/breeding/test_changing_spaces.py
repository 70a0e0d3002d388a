"""Adaptive searches of spaces that change, or that are unknown at first."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna import Study, Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, create_trial

from tests.breeding.samplers import KINDS, Make, cheap, of_every_kind, points, stepped
from tests.studies import Objective, bred, constant, run, sphere


def with_gene(name: str, distribution: BaseDistribution, value: Any) -> FrozenTrial:
    """Return a finished trial that has this gene."""
    return create_trial(value=0.0, params={name: value}, distributions={name: distribution})


RANGES: list[tuple[BaseDistribution, BaseDistribution]] = [
    (FloatDistribution(0.0, 1.0), FloatDistribution(0.5, 3.0)),
    (FloatDistribution(0.0, 1.0), FloatDistribution(-3.0, -2.0)),
    (FloatDistribution(0.0, 1.0), FloatDistribution(0.0, 4.0, step=0.25)),
    (FloatDistribution(0.1, 1.0, log=True), FloatDistribution(0.001, 0.2, log=True)),
    (IntDistribution(0, 9), IntDistribution(5, 40, step=5)),
    (IntDistribution(1, 9, log=True), IntDistribution(7, 70, log=True)),
    (IntDistribution(1, 9), IntDistribution(3, 3)),
]


def ask_for(study: Study, space: dict[str, BaseDistribution], n_trials: int) -> None:
    """Ask for trials, each of which Optuna must accept."""
    for _ in range(n_trials):
        trial = study.ask(space)
        study.tell(trial, float(trial.number % 5))
        assert create_trial(params=trial.params, distributions=space, value=0.0)


@of_every_kind
def test_ranges_may_change(make: Make) -> None:
    """Every suggestion lies in the range of its own trial, and on its grid."""
    study = optuna.create_study(sampler=make(4, seed=0))
    old, new = ({f"{i}": pair[which] for i, pair in enumerate(RANGES)} for which in (0, 1))
    ask_for(study, old, 8)
    ask_for(study, new, 8)
    ask_for(study, {**old, "1": new["1"]}, 4)

    assert len(bred(study)) > 12


@cheap
@pytest.mark.parametrize("new", range(5))
def test_a_parameter_may_have_been_of_another_kind(make: Make, new: int) -> None:
    """In-memory storage accepts other choices and other classes under the same name."""
    kinds: list[tuple[BaseDistribution, Any]] = [
        (CategoricalDistribution(["a", "b"]), "b"),
        (CategoricalDistribution(["a", "z"]), "z"),
        (IntDistribution(0, 3), 2),
        (FloatDistribution(-1.0, 1.0), 0.5),
        (FloatDistribution(1.0, 2.0, log=True), 1.5),
    ]
    study = optuna.create_study(sampler=make(4, seed=0))
    study.add_trials([with_gene("p", *old) for old in kinds])
    ask_for(study, {"p": kinds[new][0], "x": FloatDistribution(0.0, 1.0)}, 6)


def with_another(trial: Trial, worth: float) -> float:
    """Return a value that a late parameter raises or lowers by up to `worth`."""
    return sphere(trial) + worth * (trial.suggest_float("late", 0.0, 8.0) - 6.0) ** 2 / 36


@pytest.mark.parametrize(
    ("kind", "worth"),
    [
        ("model-free", -1.0),
        ("model-free", 1.0),
        ("screened", 1.0),
    ],
)
def test_a_parameter_that_appears_later_is_searched(kind: str, worth: float) -> None:
    """A late parameter is searched whether the trials that have it are better or worse."""
    study = run(KINDS[kind](4, seed=0), 15)
    study.optimize(lambda trial: with_another(trial, worth), n_trials=15)

    assert len({round(trial.params["late"], 6) for trial in study.trials[15:]}) > 5


def away(trial: Trial, *names: str) -> float:
    """Return the squared distance from 0.7 in parameters of these names."""
    return sum(
        (position + 1) * (trial.suggest_float(name, 0.0, 1.0) - 0.7) ** 2
        for position, name in enumerate(names)
    )


def with_useless_choice(trial: Trial) -> float:
    """Return the same with a choice that does not matter."""
    trial.suggest_categorical("useless", ["a", "b"])
    return away(trial, "x", "y", "z")


@pytest.mark.parametrize(
    "before",
    [
        lambda trial: away(trial, "x", "y"),
        lambda trial: away(trial, "x", "y", "former"),
        with_useless_choice,
    ],
    ids=["added", "renamed", "dropped"],
)
def test_a_changed_objective_is_searched_as_well_as_a_new_one(before: Objective) -> None:
    """Parameters that it no longer has hinder neither the model nor the later stage."""
    study = run(KINDS["screened"](10, seed=0), 30, before)
    study.optimize(lambda trial: away(trial, "x", "y", "z"), n_trials=50)

    fresh = run(KINDS["screened"](10, seed=0), 50, lambda trial: away(trial, "x", "y", "z"))
    assert fresh.best_value < 1e-12
    assert min(trial.value or 0.0 for trial in study.trials[30:]) < 1e-12


@cheap
def test_a_parameter_may_vanish(make: Make) -> None:
    """The search goes on without the parameter, though every remaining point was tried with it."""
    study = run(make(4, seed=0), 4, lambda t: stepped(t) + t.suggest_float("extra", 0, 1))
    study.optimize(stepped, n_trials=36)

    assert len(set(points(study)[4:])) == 12


@cheap
def test_not_every_trial_needs_parameters(make: Make) -> None:
    """Here only every third trial has a parameter."""
    study = run(make(4, seed=0), 12, lambda t: 0.0 if t.number % 3 else t.suggest_float("x", 0, 1))

    assert len({trial.params["x"] for trial in study.trials[::3]}) == 4


@of_every_kind
def test_parameters_may_appear_after_a_generation_without_any(make: Make) -> None:
    """There are parents then, but the search space is still unknown."""
    study = run(make(4, seed=0), 9, lambda trial: float(trial.number))
    study.optimize(sphere, n_trials=3)

    assert all(len(trial.params) == 3 for trial in study.trials[9:])


SINGLE: dict[str, BaseDistribution] = {
    "a": CategoricalDistribution([1]),
    "b": IntDistribution(1, 1),
    "c": IntDistribution(1, 1, log=True),
    "d": FloatDistribution(1.0, 1.0),
    "e": FloatDistribution(1.0, 1.0, log=True),
    "f": FloatDistribution(1.0, 1.0, step=1.0),
}


@of_every_kind
@pytest.mark.parametrize("others", [constant, lambda trial: 0.0])
def test_parameters_of_one_value_have_it(make: Make, others: Objective) -> None:
    """Such parameters need no search, alone or among others."""
    study = optuna.create_study(sampler=make(4, seed=0))
    for _ in range(12):
        trial = study.ask(SINGLE)
        study.tell(trial, others(trial))

    assert {trial.params[name] for trial in study.trials for name in SINGLE} == {1}

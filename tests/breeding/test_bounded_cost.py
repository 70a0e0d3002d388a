"""The cost of a trial is bounded, whatever lies in the study; operations are counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna import Study, Trial
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import create_trial

from optuna_ga import GASampler
from optuna_ga._breeding import paper, unrepeated
from optuna_ga._breeding.known import columns, trial_matrix
from optuna_ga._breeding.known.conditional_space import ConditionalSpace, _Grower
from optuna_ga._breeding.known.known_trials import KnownTrials
from optuna_ga._breeding.unrepeated import UnrepeatedBreeder
from optuna_ga._population.study_trials import StudyTrials
from tests.breeding.histories import MINIMIZE, UNIT
from tests.breeding.samplers import Make, cheap, model_free, of_every_kind, points
from tests.studies import run, sphere, story


def arguments_of(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> list[tuple[object, ...]]:
    """Return a list that gets the arguments of every later call of a method."""
    calls: list[tuple[object, ...]] = []
    method = getattr(owner, name)

    def counted(*arguments: object) -> Any:
        calls.append(arguments)
        return method(*arguments)

    monkeypatch.setattr(owner, name, counted)
    return calls


@cheap
def test_trials_without_parameters_of_dead_workers_cost_a_bounded_time(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most 256 of them are predicted."""
    study = run(make(4, seed=0), 4)
    for _ in range(300):
        study.ask()
    children = arguments_of(monkeypatch, UnrepeatedBreeder, "_new_child")
    study.optimize(sphere, n_trials=2)

    assert len(children) == 256 + 2


@cheap
def test_trials_with_parameters_of_dead_workers_cost_a_bounded_time(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest 256 of them are compared with a child."""
    study = run(make(4, seed=0), 4)
    for _ in range(300):
        sphere(study.ask())
    predictions = arguments_of(monkeypatch, KnownTrials, "predict")
    study.optimize(sphere, n_trials=1)
    ((_, running, _),) = predictions

    assert [trial.number for trial in running] == list(range(48, 304))  # type: ignore[attr-defined]


def generation(evaluated: Callable[[list[Trial]], list[Trial]]) -> Study:
    """Return a study whose second generation is suggested in some order."""
    study = run(model_free(8, seed=0), 8)
    trials = [study.ask() for _ in range(8)]
    values = {trial.number: sphere(trial) for trial in evaluated(trials)}
    for trial in trials:
        study.tell(trial, values[trial.number])
    return study


def test_a_large_generation_is_the_same_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """All running trials of the own generation are known, even if they are more than 256."""
    monkeypatch.setattr(unrepeated, "_MAX_RUNNING", 3)

    assert story(generation(list)) == story(generation(lambda trials: trials[::-1]))


def test_running_trials_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of trials of dead workers in memory are not looked up one by one."""
    study = run(GASampler(4, seed=0), 4)
    for _ in range(300):
        sphere(study.ask())
    study.optimize(sphere, n_trials=1)
    lookups = arguments_of(
        monkeypatch,
        optuna.storages.InMemoryStorage,
        "get_trial_id_from_study_id_trial_number",
    )
    study.optimize(sphere, n_trials=1)

    assert len(lookups) < 10


@of_every_kind
def test_a_client_that_reopens_trials_keeps_the_memory(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each finished trial is read once, though a trial is opened for every parameter."""
    study = optuna.create_study(sampler=make(4, seed=0))
    taken_in = arguments_of(monkeypatch, StudyTrials, "_add")
    for number in range(12):
        trial = study.ask()
        values = [Trial(study, trial._trial_id).suggest_float(name, -1.0, 1.0) for name in "xyz"]
        study.tell(number, sum(value**2 for value in values))
        Trial(study, trial._trial_id)

    assert len(taken_in) == 11
    assert points(study) == points(run(make(4, seed=0), 12))


def deep(trial: Trial) -> float:
    """Return a value of a space of 363 parameters, of which a trial has fifteen."""
    node, total = "root", 0.0
    for _ in range(5):
        branch = trial.suggest_int(node, 0, 2)
        total += branch + sum(trial.suggest_float(f"{node} {name}", 0.0, 1.0) for name in "xy")
        node += str(branch)
    return total


def test_learning_a_deep_space_costs_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampler that takes over a study learns some thousand nodes of trees, not one per trial."""
    study = run(RandomSampler(seed=0), 200, deep)
    study.sampler = model_free(seed=0)
    nodes = arguments_of(monkeypatch, _Grower, "_grown")
    study.optimize(deep, n_trials=1)

    assert 5000 < len(nodes) < 7000


@pytest.mark.parametrize("n_alike", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_names_that_change_cost_a_bounded_time(
    n_alike: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that only a few trials have is no column once many names have come and gone."""

    def renamed(trial: Trial) -> float:
        name = f"n{trial.number // n_alike}"
        return trial.suggest_float("x", 0.0, 1.0) + trial.suggest_float(name, 0.0, 1.0)

    encoded = arguments_of(monkeypatch, trial_matrix, "inherited")
    known = arguments_of(monkeypatch, KnownTrials, "new")
    study = run(model_free(seed=0), 64 + 200, renamed)

    _, units = known[-1]
    assert units.shape[1] < 64 + 30  # type: ignore[attr-defined]
    assert len(encoded) < len(study.trials) * (64 + 30)


def test_kinds_that_alternate_cost_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column is encoded anew 64 times, and then whenever a tenth of the trials have come."""
    kinds = [FloatDistribution(0.0, 1.0), IntDistribution(0, 1)]
    history = [
        create_trial(value=1.0, params={"x": 1}, distributions={"x": kinds[number % 2]})
        for number in range(1000)
    ]
    known = KnownTrials([MINIMIZE], 10, history)
    encoded = arguments_of(monkeypatch, trial_matrix, "inherited")
    known.take_in()

    assert len(encoded) < 64 * 64 + 10 * len(history)


def test_a_trial_of_which_a_parameter_is_no_column_is_not_repeated() -> None:
    """A child with the same value of the other parameter is new."""
    history = [
        create_trial(
            value=0.0,
            params={"x": number / 100, f"n{number}": 0.5},
            distributions={"x": UNIT, f"n{number}": UNIT},
        )
        for number in range(68)
    ]
    known = KnownTrials([MINIMIZE], 10, history)
    known.take_in()
    child = np.full((1, len(known.matrix.distributions)), 0.25)
    child[0, list(known.matrix.distributions).index("x")] = 0.67

    assert "n67" not in known.matrix.distributions
    assert known.new(child).all()


def test_a_study_is_taken_over_at_little_cost_per_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are fitted to a distribution with the first trial only, and no trees are learnt."""
    study = run(RandomSampler(seed=0), 100)
    study.sampler = model_free(seed=0)
    fitted = arguments_of(monkeypatch, columns, "nearest_value")
    compared = arguments_of(monkeypatch, ConditionalSpace, "present")
    study.optimize(sphere, n_trials=1)

    assert len(fitted) == 3
    assert not compared


def test_no_gene_is_drawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutated genes are known from when they were made, not derived again at the end."""
    draws = arguments_of(monkeypatch, paper, "gene_draws")
    study = run(GASampler(4, seed=0), 20)

    assert len(draws) == 20 * 3
    assert any("ga_mutated" in trial.user_attrs for trial in study.trials)

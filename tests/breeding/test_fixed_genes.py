"""Adaptive searches with trials that are enqueued, added, fixed or half suggested."""

from __future__ import annotations

import math
import warnings
from itertools import product
from typing import Any

import optuna
import pytest
from optuna import Study, Trial
from optuna.samplers import PartialFixedSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_ga._population.generations import Generations
from tests.breeding.samplers import KINDS, Make, cheap, of_every_kind, points
from tests.studies import bred, parents, run, sphere


@cheap
def test_enqueued_and_added_trials_are_bred_from(make: Make) -> None:
    """Their numbers decide their generations, as any trial's do, and their values are kept."""
    study = optuna.create_study(sampler=make(4, seed=0))
    source = run(RandomSampler(seed=1), 4)
    study.add_trials(source.trials)
    study.enqueue_trial({"x": 0.125, "y": 0.25, "z": -0.5})
    study.enqueue_trial({"y": 0.75})
    study.optimize(sphere, n_trials=12)

    assert study.trials[4].params == {"x": 0.125, "y": 0.25, "z": -0.5}
    assert study.trials[5].params["y"] == 0.75
    assert set(parents(study.trials[5])) <= {0, 1, 2, 3, 4}
    assert {number for trial in bred(study) for number in parents(trial)} & {0, 1, 2, 3}


def corner(trial: Trial) -> float:
    """Return a value of a space of 3 by 4 points."""
    return float(trial.suggest_int("n", 0, 2) + trial.suggest_int("m", 0, 3))


@of_every_kind
@pytest.mark.parametrize("fix", ["enqueued", "partially fixed"])
@pytest.mark.parametrize(("name", "other", "n_left"), [("n", "m", 4), ("m", "n", 3)])
def test_fixed_and_enqueued_genes_count_as_the_trials_own(
    make: Make, fix: str, name: str, other: str, n_left: int
) -> None:
    """Where a gene is fixed, the other genes are chosen so that the trial is new.

    It may be suggested first, as "n" is, or last.
    """
    study = run(make(4, seed=0), 1, corner)
    if fix == "enqueued":
        for _ in range(n_left):
            study.enqueue_trial({name: 1})
    else:
        study.sampler = PartialFixedSampler({name: 1}, study.sampler)
    study.optimize(corner, n_trials=n_left)

    assert {t.params[other] for t in study.trials if t.params[name] == 1} == {*range(n_left)}


@of_every_kind
@pytest.mark.filterwarnings("ignore:Fixed parameter")
@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e300, -5.0, 1.2])
@pytest.mark.parametrize("when", [0, 8])
def test_an_enqueued_value_outside_of_its_range_ends_no_search(
    make: Make, value: Any, when: int
) -> None:
    """Optuna evaluates it; its children are inside, and the ends of the range stay untried."""

    def objective(trial: Trial) -> float:
        low = trial.suggest_float("low", 0.5, 4.5, step=1.0)
        return low + math.log10(trial.suggest_float("log", 1e-3, 10.0, log=True))

    study = run(make(4, seed=0), when, objective)
    study.enqueue_trial({"low": value})
    study.enqueue_trial({"log": abs(value)})
    study.optimize(objective, n_trials=16)
    outside = {when, when + 1}

    assert study.trials[when].params["low"] == value
    assert study.trials[when + 1].params["log"] == abs(value)
    assert len(study.trials) == when + 16
    assert all(0.5 <= t.params["low"] <= 4.5 for t in study.trials if t.number not in outside)


@of_every_kind
@pytest.mark.filterwarnings("ignore:Fixed parameter")
@pytest.mark.parametrize("value", [15, 10**30])
@pytest.mark.parametrize("when", [0, 4])
def test_a_value_outside_of_its_range_does_not_stand_for_the_end(
    make: Make, value: int, when: int
) -> None:
    """Every value of the range is tried."""

    def objective(trial: Trial) -> float:
        return -trial.suggest_int("n", 0, 10)

    study = run(make(4, seed=0), when, objective)
    study.enqueue_trial({"n": value})
    study.optimize(objective, n_trials=12 - when)

    assert {trial.params["n"] for trial in study.trials} >= {*range(11)}


@of_every_kind
def test_enqueued_genes_of_running_trials_are_predicted(make: Make) -> None:
    """A trial avoids the enqueued point of a running trial that has not suggested yet."""
    study = run(make(4, seed=0), 4, corner)
    left = sorted(set(product(range(3), range(4))) - set(points(study)))
    for n, m in left[1:]:
        study.enqueue_trial({"n": n, "m": m})
    for _ in left[1:]:
        study.ask()
    study.optimize(corner, n_trials=1)

    assert points(study)[-1] == left[0]


@cheap
@pytest.mark.parametrize("value", [None, "a", math.nan, math.inf, -7, 9.5, [1]])
def test_invalid_enqueued_values_have_no_children(make: Make, value: Any) -> None:
    """Such trials end as they do with `RandomSampler`."""
    ends = []
    for sampler in (make(4, seed=0), RandomSampler(seed=0)):
        study = run(sampler, 5, corner)
        study.add_trial(create_trial(state=TrialState.WAITING, system_attrs=fixing(value)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                study.optimize(corner, n_trials=1)
            except Exception as error:
                ends.append(type(error).__name__)
        ends.append(study.trials[-1].state.name)

    assert ends[: len(ends) // 2] == ends[len(ends) // 2 :]


def fixing(value: Any) -> dict[str, Any]:
    """Return the system attributes of an enqueued trial, as Optuna writes them."""
    return {"fixed_params": {"n": value}}


@cheap
def test_an_enqueued_value_outside_the_range_is_not_inherited(make: Make) -> None:
    """Optuna lets an enqueued trial leave the range; the genes of later trials lie inside."""
    study = optuna.create_study(sampler=make(4, seed=0))
    for _ in range(4):
        study.enqueue_trial({"x": 9.0, "y": -9.0, "z": 0.5})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(sphere, n_trials=4)
    study.optimize(sphere, n_trials=8)

    assert all(-1.0 <= gene <= 1.0 for trial in study.trials[4:] for gene in trial.params.values())


@cheap
@pytest.mark.parametrize("bound", [-1.0, 1.0])
def test_a_gene_on_a_bound_is_inherited(make: Make, bound: float) -> None:
    """Where the bound is best, some children have it to the bit."""
    study = optuna.create_study(sampler=make(4, seed=0))
    for number in range(4):
        study.enqueue_trial({"x": bound, "y": number / 4, "z": -number / 4})
    study.optimize(lambda trial: sphere(trial) - 9.0 * bound * trial.params["x"], n_trials=16)

    assert bound in {trial.params["x"] for trial in study.trials[4:]}


@cheap
def test_a_fixed_gene_stays_fixed(make: Make) -> None:
    """`PartialFixedSampler` fixes one gene and leaves the others to the sampler."""
    study = run(PartialFixedSampler({"x": 0.25}, make(4, seed=0)), 16)

    assert {trial.params["x"] for trial in study.trials} == {0.25}
    assert len({trial.params["y"] for trial in study.trials}) > 8


def failing_first(trial: Trial) -> float:
    """Fail in one trial, before the second parameter of its branch."""
    left = trial.suggest_categorical("left", [True, False])
    if left and trial.number == trial.study.user_attrs["failing"]:
        raise RuntimeError
    return trial.suggest_float("l" if left else "r", 0.0, 1.0) + (0.0 if left else 5.0)


@of_every_kind
@pytest.mark.parametrize("failing", range(3))
def test_a_failure_within_a_branch_does_not_exclude_it(make: Make, failing: int) -> None:
    """A failed trial does not show that the branch lacks the parameters after the failure."""
    study = optuna.create_study(sampler=make(4, seed=1))
    study.set_user_attr("failing", failing)
    for _ in range(3):
        study.enqueue_trial({"left": True})
    study.optimize(failing_first, n_trials=30, catch=RuntimeError)

    assert study.trials[failing].state == TrialState.FAIL
    assert sum(trial.params["left"] for trial in study.trials[4:]) > 5


def test_a_result_may_arrive_while_parents_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The late trial may even have a parameter that no earlier trial has."""
    study = run(KINDS["distinct"](4, seed=0), 3)
    straggler = study.ask()
    value = sphere(straggler) + straggler.suggest_float("new", 0.0, 1.0) - 9.0
    parents_of = Generations.parents_of

    def told(generations: Generations, generation: int, study: Study) -> list[FrozenTrial]:
        if study.trials[3].state == TrialState.RUNNING:
            study.tell(straggler, value)
        return parents_of(generations, generation, study)

    monkeypatch.setattr(Generations, "parents_of", told)
    study.optimize(sphere, n_trials=4)

    assert all(3 in parents(trial) or len(parents(trial)) == 2 for trial in study.trials[4:])
    assert any(3 in parents(trial) for trial in study.trials[4:])


def last(trial: Trial) -> float:
    """Return a value; the parameter that is enqueued is suggested last."""
    return float(trial.suggest_int("m", 0, 3) + trial.suggest_int("n", 0, 2))


@cheap
@pytest.mark.parametrize("value", [None, "a", math.nan, math.inf, [1]])
def test_an_invalid_enqueued_value_does_not_disturb_the_parameters_before_it(
    make: Make, value: Any
) -> None:
    """The trial ends as with `RandomSampler`."""
    ends = []
    for sampler in (make(4, seed=0), RandomSampler(seed=0)):
        study = run(sampler, 5, last)
        attributes = {"fixed_params": {"n": value}}
        study.add_trial(create_trial(state=TrialState.WAITING, system_attrs=attributes))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                study.optimize(last, n_trials=1)
                error = ""
            except Exception as raised:
                error = type(raised).__name__
        ends.append((study.trials[-1].state, error, "m" in study.trials[-1].params))

    assert ends[0] == ends[1]
    assert ends[0][2]

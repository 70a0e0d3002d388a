"""The adaptive search where a parameter has more than ten choices."""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from optuna import Study, Trial
from optuna.samplers import PartialFixedSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_ga import GASampler
from optuna_ga._breeding.known.best_losses import BestLosses
from optuna_ga._population.fitness import rank
from tests.breeding.histories import MINIMIZE
from tests.breeding.samplers import KINDS, Make, adaptive, choice, tuned
from tests.studies import run, story

CHOICES = string.ascii_lowercase


def branch(trial: Trial) -> float:
    """Return a value whose lowest depends on the choice, and is 0 for the last."""
    kind = CHOICES[choice(trial, CHOICES)]
    away = trial.suggest_float(f"x_{kind}", 0.0, 1.0) - 0.7
    return (25 - CHOICES.index(kind)) / 100 + away * away


def standing(trial: Trial) -> float:
    """Return the position of the choice, which a number does not change."""
    trial.suggest_float("x", 0.0, 1.0)
    return float(choice(trial, CHOICES))


def falling(trial: Trial) -> float:
    """Return a value that each trial lowers."""
    return standing(trial) - 30.0 * trial.number


def others(study: Study) -> float:
    """Return the share of the last hundred trials that have not the best choice."""
    others_of = [trial for trial in study.trials[-100:] if trial.params["choice"] != "a"]
    return len(others_of) / 100


@adaptive
def test_fresh_draws_are_new(make: Make) -> None:
    """No trial has them, until every choice has been tried: more than generation 0 could try."""

    def objective(trial: Trial) -> float:
        return choice(trial, CHOICES) / 26 + trial.suggest_float("x", 0.0, 1.0) ** 2

    trials = run(make(4, seed=0), 60, objective).trials
    found = [trial.params["choice"] for trial in trials]
    fresh = [t.number for t in trials if "choice" in t.user_attrs.get("ga_mutated", ())]
    early = [number for number in fresh if {*found[:number]} != {*CHOICES}]

    assert not any(found[number] in found[:number] for number in early)
    assert len({*found}) > 12


def without_rule(make: Make, seed: int) -> GASampler:
    """Return a sampler that never looks for another choice."""
    return tuned(make(4, seed=seed), other_choice_prob=0.0)


@adaptive
def test_half_of_the_trials_have_another_choice_once_the_search_stands_still(make: Make) -> None:
    """That is many more than without this rule; a search that improves is the same with it."""
    still, plain = run(make(4, seed=3), 200, standing), run(without_rule(make, 3), 200, standing)
    better, same = run(make(4, seed=3), 60, falling), run(without_rule(make, 3), 60, falling)

    assert 0.4 < others(still) < 0.7
    assert others(plain) < others(still) - 0.1
    assert story(better) == story(same)


def test_a_search_that_stood_still_in_another_branch_finds_the_best() -> None:
    """Of 16 searches more reach the best branch, where the others' lowest values are 0.01."""
    make = KINDS["screened"]
    samplers = {
        "with": [make(4, seed=seed) for seed in range(16)],
        "without": [without_rule(make, seed) for seed in range(16)],
    }
    reached = {
        rule: sum(run(sampler, 120, branch).best_value < 0.009 for sampler in of_rule)
        for rule, of_rule in samplers.items()
    }

    assert reached["with"] > reached["without"]


def two_menus(trial: Trial) -> float:
    """Return the sum of the positions of two choices, which a number does not change."""
    trial.suggest_float("x", 0.0, 1.0)
    return float(choice(trial, CHOICES[:12]) + choice(trial, CHOICES[:12], "second"))


@adaptive
def test_of_several_parameters_one_may_change_alone(make: Make) -> None:
    """While the search stands still at the best of both, some trials differ in either or both."""
    trials = run(make(4, seed=0), 300, two_menus).trials[-150:]
    differ = Counter((t.params["choice"] != "a", t.params["second"] != "a") for t in trials)

    assert 60 < differ[True, False] + differ[False, True] + differ[True, True] < 110
    assert differ[True, False] + differ[False, True] > differ[True, True] > 0


def nested(trial: Trial) -> float:
    """Return a value that is lowest in the branch without many choices."""
    if trial.suggest_categorical("kind", ["plain", "net"]) == "net":
        return 2.0 + standing(trial) / 26
    return float(trial.suggest_float("y", 0.0, 1.0))


@adaptive
def test_a_parameter_that_the_best_trial_lacks_makes_no_demand(make: Make) -> None:
    """The search is that without the rule, though it stands still."""
    study, same = run(make(4, seed=0), 90, nested), run(without_rule(make, 0), 90, nested)

    assert study.best_params["kind"] == "plain"
    assert story(study) == story(same)


@adaptive
@pytest.mark.parametrize(
    ("objective", "directions"),
    [
        (lambda trial: (standing(trial), 0.0), ["minimize"] * 2),
        (lambda trial: float(choice(trial, CHOICES[:10])) + trial.number // 4, ["minimize"]),
    ],
)
def test_elsewhere_the_rule_changes_nothing(
    make: Make, objective: Callable[[Trial], Any], directions: list[str]
) -> None:
    """With several objectives, and with ten choices or fewer in however small a population."""
    study = run(make(4, seed=0), 60, objective, directions=directions)
    same = run(without_rule(make, 0), 60, objective, directions=directions)

    assert story(study) == story(same)


def net(trial: Trial) -> float:
    """Return a value that is lowest in the branch with many choices."""
    if trial.suggest_categorical("kind", ["plain", "net"]) == "net":
        return standing(trial) / 26
    return 2.0 + trial.suggest_float("y", 0.0, 1.0)


@adaptive
def test_a_trial_of_another_branch_has_no_other_choice(make: Make) -> None:
    """Of the trials more have another choice than the best, and no more are in another branch."""
    study, plain = run(make(4, seed=0), 200, net), run(without_rule(make, 0), 200, net)
    late, without = study.trials[-100:], plain.trials[-100:]
    kinds = [Counter(t.params["kind"] for t in trials)["plain"] for trials in (late, without)]

    assert sum(t.params.get("choice", "a") != "a" for t in late) > 30
    assert kinds[0] <= kinds[1]


@adaptive
def test_the_search_continues_with_another_sampler_object(make: Make) -> None:
    """Whether it stands still follows from the finished trials and their order."""
    expected = run(make(4, seed=1), 90, branch)
    study = run(make(4, seed=1), 45, branch)
    study.sampler = make(4, seed=1)
    study.optimize(branch, n_trials=45)

    assert story(study) == story(expected)


@adaptive
def test_a_fixed_choice_stays(make: Make) -> None:
    """Though the search stands still, and every child has the best trial's choice."""
    fixed = PartialFixedSampler({"choice": "q"}, make(4, seed=0))
    study = run(fixed, 60, standing)

    assert {trial.params["choice"] for trial in study.trials} == {"q"}
    assert len({trial.params["x"] for trial in study.trials}) == 60


def finished(
    value: float, state: TrialState = TrialState.COMPLETE, violation: float = 0.0
) -> FrozenTrial:
    """Return a finished trial."""
    if state == TrialState.PRUNED:
        return create_trial(state=state, intermediate_values={0: value})
    return create_trial(state=state, value=value, constraints={"c": violation})


BETTER_BUT_PRUNED = finished(-9.0, TrialState.PRUNED)
BETTER_BUT_INFEASIBLE = finished(-9.0, violation=1.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([9, 9, 5, 5, 5], True),
        ([9, 9, 5, 5], False),
        ([9, 9, 5], False),  # Fewer than two generations.
        ([9, 1, 9, 9], True),  # Nothing has been better than generation 0.
        ([9, 9, 5, 5, 4.97], True),  # 0.03 of 4.03.
        ([9, 9, 5, 5, 4.9], False),  # 0.1 of 4.1.
        ([9, 9, 5, 4.9, 5], False),
        ([9, 9, 5, 4.9, 5, 5], True),
        ([math.inf] * 6, False),
        ([math.inf, math.inf, 300, 300, 300], True),
        ([math.inf, math.inf, 300, 300, 2], False),
        ([math.inf, math.inf, math.inf, 3, 3], False),  # So long has a loss been finite.
        ([9, 9, -math.inf, -math.inf, -math.inf], False),
        ([1e308, 1e308, -1e308, -1e308, -1e308], True),
        ([9, 9, -1e308, 9], False),
        ([9, 9, 5, 5, BETTER_BUT_PRUNED, BETTER_BUT_INFEASIBLE], True),
        ([BETTER_BUT_PRUNED, BETTER_BUT_INFEASIBLE] * 3, False),
    ],
)
def test_a_search_stands_still_after_a_generation_without_improvement(
    values: list[float | FrozenTrial], expected: bool
) -> None:
    """The improvement is measured by that since generation 0, here of two trials."""
    losses = BestLosses()
    for value in values:
        trial = value if isinstance(value, FrozenTrial) else finished(value)
        losses.add(rank(trial, [MINIMIZE]))

    assert losses.stand_still(2) == expected


def test_failed_trials_do_not_count_as_improvements() -> None:
    """They have no loss."""
    losses = BestLosses()
    for rank_of in [rank(finished(3.0), [MINIMIZE])] * 2 + [None] * 2:
        losses.add(rank_of)

    assert losses.stand_still(2)


def test_children_that_a_model_chooses_need_no_choice_that_is_new() -> None:
    """Only children that no model chooses have one whenever there is one left."""

    def objective(trial: Trial) -> float:
        return choice(trial, string.ascii_lowercase) / 26 + trial.suggest_float("x", 0.0, 1.0) ** 2

    sampler = tuned(GASampler.adaptive(4, seed=0), unscreened_prob=0.0)
    found = [trial.params["choice"] for trial in run(sampler, 24, objective).trials]

    assert len({*found}) < 20


@pytest.mark.parametrize("seed", range(3))
def test_all_choices_are_tried_beside_a_constraint_too(seed: int) -> None:
    """By children that no model chooses, of which there are none once all have been tried."""

    def objective(trial: Trial) -> float:
        choice = trial.suggest_categorical("choice", range(40))
        x = trial.suggest_float("x", 0.0, 1.0)
        trial.set_constraint("least", 0.3 - x)
        return (7 * choice % 40) / 40 + x

    study = run(GASampler.adaptive(seed=seed), 100, objective)

    assert len({trial.params["choice"] for trial in study.trials}) == 40

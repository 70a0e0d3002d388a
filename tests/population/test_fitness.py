"""Which of a generation's trials become parents."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna import Trial, TrialPruned
from optuna.trial import FrozenTrial

from tests.studies import (
    added,
    bred,
    failed,
    next_parents,
    of_four,
    parents,
    pruned,
    run,
    sphere,
    study_with,
)


def constrained(value: float, **constraints: float) -> FrozenTrial:
    """Return a complete trial that has constraints."""
    return added(value, constraints=constraints)


@pytest.mark.parametrize(
    ("history", "best"),
    [
        ([added(3), added(1), added(2), added(4)], {1, 2}),
        ([failed(), added(9), failed(), added(8)], {1, 3}),
        ([added(math.inf), added(-math.inf), added(0), added(math.inf)], {1, 2}),
        ([failed(), failed(), added(math.inf), added(math.inf)], {2, 3}),
        ([added(0.5), added(0.5), added(0.5), added(0.5)], {0, 1}),
        ([added(0.5), added(0.7), added(0.5), added(0.5)], {0, 2}),
    ],
)
def test_complete_trials_go_by_value_and_then_by_number(
    history: list[FrozenTrial], best: set[int]
) -> None:
    """Infinite values are legal, ties go to the earlier trial, failed trials have no fitness."""
    assert next_parents(study_with(*history)) == best


@pytest.mark.parametrize(
    ("history", "best"),
    [
        ([pruned(intermediate_values={99: -9.0}), added(9), added(8), failed()], {1, 2}),
        ([failed(), *(pruned(intermediate_values={s: -s}) for s in (1, 3, 2))], {2, 3}),
        ([failed(), *(pruned(intermediate_values={3: v}) for v in (2.0, 1.0, 3.0))], {1, 2}),
        ([pruned(intermediate_values={0: 1.0, 3: v}) for v in (math.nan, 7, 9, 8)], {1, 3}),
        ([pruned(intermediate_values={s: math.nan}) for s in (1, 5, 7, 2)], {1, 2}),
        ([pruned(), pruned(intermediate_values={0: 9.0}), pruned(), added(0)], {1, 3}),
        ([pruned(), pruned(), failed(), pruned()], {0, 1}),
        ([pruned(intermediate_values={3: v}) for v in (2.0, 1.0, 1.0, 1.0)], {1, 2}),
        ([pruned(intermediate_values={3: v}) for v in (math.inf, 5, math.inf, -math.inf)], {1, 3}),
    ],
)
def test_pruned_trials_follow_complete_ones_by_step_and_then_by_report(
    history: list[FrozenTrial], best: set[int]
) -> None:
    """A later last step is fitter, then a better last report; a trial without reports is last."""
    assert next_parents(study_with(*history)) == best


@pytest.mark.parametrize(
    ("history", "best"),
    [
        ([constrained(v, a=a) for v, a in ((0, 0.1), (8, 0), (9, -7), (0, 2))], {1, 2}),
        ([constrained(0, a=a, b=b) for a, b in ((2, 2), (3, -9), (1.5, 1), (4, 0))], {1, 2}),
        ([constrained(v, a=1.0) for v in (3, 1, 2, 4)], {1, 2}),
        ([constrained(0, a=math.inf), constrained(1, a=5), added(7), failed()], {1, 2}),
        ([constrained(0, a=5), added(0), pruned(), constrained(9, a=6)], {1, 2}),
        ([*(constrained(v, a=0.0) for v in (2, 1, 0)), added(-1)], {2, 3}),
        ([added(0, system_attrs={"constraints": [v]}) for v in (math.nan, 2.0, 3.0, 1.0)], {1, 3}),
    ],
)
def test_feasible_trials_precede_infeasible_ones(
    history: list[FrozenTrial], best: set[int]
) -> None:
    """Infeasible trials are ordered by their total violation first."""
    assert next_parents(study_with(*history)) == best


@pytest.mark.parametrize(
    "history",
    [
        [added(3), added(1), added(2), added(4)],
        [pruned(intermediate_values={1: v}) for v in (3, 1, 2, 4)],
        [pruned(intermediate_values={1: v}) for v in (3, math.nan, 2, 4)],
        [constrained(v, a=a) for v, a in ((1, 0), (9, 1), (9, 1), (1, 0))],
    ],
)
def test_the_largest_values_are_fittest_when_maximizing(history: list[FrozenTrial]) -> None:
    """The direction reverses values and reports, and nothing else."""
    assert next_parents(study_with(*history, direction="maximize")) == {0, 3}


def test_constraints_set_by_an_objective_count() -> None:
    """Feasible trials become parents, however bad their values, if there are enough of them."""

    def objective(trial: Trial) -> float:
        value = sphere(trial)
        trial.set_constraint("c", 1.0 if trial.number % 4 < 2 else -1.0)
        return value if trial.number % 4 < 2 else 10.0 + value

    study = run(of_four(), 40, objective)
    assert {number % 4 for trial in bred(study) for number in parents(trial)} == {2, 3}


def returns_nan(trial: Trial) -> float:
    """Return NaN."""
    return math.nan


def returns_none(trial: Trial) -> Any:
    """Return None."""


def raises(trial: Trial) -> float:
    """Raise."""
    raise RuntimeError


def prunes(trial: Trial) -> float:
    """Prune before the first report."""
    raise TrialPruned


@pytest.mark.parametrize("give_up", [returns_nan, returns_none, raises, prunes])
def test_a_trial_without_a_value_takes_its_place_and_is_no_parent(
    give_up: Callable[[Trial], float],
) -> None:
    """It counts as a member of its generation; the other members are the parents."""

    def objective(trial: Trial) -> float:
        value = sphere(trial)
        return give_up(trial) if trial.number % 4 == 1 else value

    study = optuna.create_study(sampler=of_four())
    study.optimize(objective, n_trials=40, catch=RuntimeError)

    assert [trial.number for trial in bred(study)] == list(range(4, 40))
    for trial in bred(study):
        generation = trial.number // 4
        assert {number // 4 for number in parents(trial)} == {generation - 1}
        assert 1 not in {number % 4 for number in parents(trial)}


@pytest.mark.parametrize("history", [[failed()] * 4, [failed(), added(0), failed(), failed()]])
def test_a_trial_is_random_if_its_generation_has_fewer_than_two_parents(
    history: list[FrozenTrial],
) -> None:
    """Crossover takes two parents; without them a trial is drawn at random."""
    assert next_parents(study_with(*history)) == set()


def test_two_parents_are_enough() -> None:
    """A pool of two usable trials is enough to breed."""
    history = [failed(), added(1), failed(), added(0)]

    assert next_parents(study_with(*history, parent_fraction=1.0)) == {1, 3}


def test_after_a_failed_generation_older_trials_are_the_pool() -> None:
    """The pool is the latest four usable trials, the one of the failed generation among them."""
    history = [added(0), added(8), added(9), failed(), added(7), added(6), *[failed()] * 5]

    assert next_parents(study_with(*history, added(5))) == {11, 5}
    assert next_parents(study_with(*history, failed())) == {4, 5}


def test_two_of_a_generation_that_did_not_fail_are_the_pool() -> None:
    """Older trials are fitter, but belong to an earlier pool."""
    history = [*[added(0)] * 4, failed(), added(8), failed(), added(9)]

    assert next_parents(study_with(*history)) == {5, 7}

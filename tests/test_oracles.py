"""The naive oracle of parents, on studies written by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from optuna import create_trial
from optuna.trial import FrozenTrial, TrialState

from tests import oracles

START = datetime(2026, 1, 1)


def trial(number: int, value: float, begin_s: float, end_s: float, **attrs: Any) -> FrozenTrial:
    """Return a trial that ran from one second to another."""
    made = create_trial(
        value=value, user_attrs={f"ga_{name}": attr for name, attr in attrs.items()}
    )
    made.number, made.params = number, {"x": 0.5}
    made.datetime_start = START + timedelta(seconds=begin_s)
    made.datetime_complete = START + timedelta(seconds=end_s)
    return made


def two_generations(end_of_best_s: float) -> list[FrozenTrial]:
    """Return two generations of two, the best of whose trials, 1, ended at this second."""
    return [
        trial(0, 5.0, 0, 1),
        trial(1, 1.0, 0, end_of_best_s),
        trial(2, 9.0, 2, 3),
        trial(3, 2.0, 2, 3),
    ]


def test_a_result_that_is_passed_over_is_counted() -> None:
    """Trial 1 is the best and known, and yet trial 2's parents are worse; so elitism is broken."""
    trials = [
        *two_generations(2),
        trial(4, 0.0, 9, 10, parents=[0, 3]),
    ]

    assert oracles.passed_over(trials, 2, 2) == 1
    trials[4].user_attrs["ga_parents"] = [3, 1]
    assert oracles.passed_over(trials, 2, 2) == 0


def test_a_result_of_the_last_second_may_be_unknown() -> None:
    """Trial 1 completed half a second before trial 4 began."""
    trials = [
        *two_generations(8.5),
        trial(4, 0.0, 9, 10, parents=[0, 3]),
    ]

    assert oracles.passed_over(trials, 2, 2) == 0


def test_a_parent_from_outside_the_pool_is_counted() -> None:
    """Trial 4's pool is generation 1, unless it is elitist; nobody's pool is the future."""
    trials = [
        *two_generations(1.5),
        trial(4, 0.0, 9, 10, parents=[1, 3]),
        trial(5, 0.0, 9, 10, parents=[2, 4]),
    ]

    assert oracles.from_outside(trials, 2, elitism=False) == 2
    assert oracles.from_outside(trials, 2, elitism=True) == 1


def test_pruned_trials_rank_by_how_far_they_came() -> None:
    """After complete ones; without a report last; then by the last report."""
    pruned = [
        create_trial(state=TrialState.PRUNED, intermediate_values=reports)
        for reports in ({}, {1: 0.0}, {1: -1.0, 2: 5.0}, {1: 9.0, 2: 4.0})
    ]
    for number, one in enumerate([*pruned, complete := trial(4, 1e9, 0, 1)]):
        one.number = number

    ranked = sorted([*pruned, complete], key=oracles.fitness)
    assert [one.number for one in ranked] == [4, 3, 2, 1, 0]


def test_results_that_no_pool_had_are_counted() -> None:
    """Were generation 2 enqueued with all its genes, nobody would have looked at those before."""
    trials = [
        *two_generations(7),
        trial(4, 4.0, 8, 9, parents=[2, 3]),
        trial(5, 4.0, 8, 9, parents=[2, 3]),
        trial(6, 4.0, 10, 11, parents=[4, 5]),
    ]

    assert oracles.never_candidates(trials, 2, elitism=False) == (0, 6)
    trials[4].params = trials[5].params = {}
    assert oracles.never_candidates(trials, 2, elitism=False) == (3, 6)
    assert oracles.never_candidates(trials, 2, elitism=True) == (0, 6)


def test_trials_without_parents_are_counted() -> None:
    """Trial 2 could have had parents; trials 0 and 1 could not."""
    trials = [trial(0, 5.0, 0, 1), trial(1, 1.0, 0, 1), trial(2, 9.0, 5, 6)]
    trials.append(trial(3, 1.0, 5, 6, parents=[0, 1]))
    assert oracles.without_parents(trials, 2) == 1

    trials[2].params = {}  # It asked for none.
    assert oracles.without_parents(trials, 2) == 0

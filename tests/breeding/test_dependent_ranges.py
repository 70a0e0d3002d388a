"""Searches whose ranges depend on other parameters: what was tried is known by its values."""

from __future__ import annotations

import optuna
import pytest
from optuna import Trial, TrialPruned
from optuna.distributions import IntDistribution

from optuna_ga import optimize_generations
from optuna_ga._breeding.known.tried_values import TriedValues, point
from optuna_ga._population.draws import generator
from tests.breeding.samplers import KINDS, Make, ask_together, cheap, of_every_kind, points
from tests.studies import Objective, added, run


def ascending(trial: Trial) -> float:
    """Return a value of a space of 56 points, each of three numbers that do not fall."""
    a = trial.suggest_int("a", 1, 6)
    b = trial.suggest_int("b", a, 6)
    return float((a - 2) ** 2 + (b - 4) ** 2 + (trial.suggest_int("c", b, 6) - 5) ** 2)


def pyramid(trial: Trial) -> float:
    """Return a value of a space of 34 points, of up to three layers that do not narrow."""
    width, total = 1, 0
    for layer in range(trial.suggest_int("n_layers", 1, 3)):
        width = trial.suggest_int(f"width {layer}", width, 4)
        total += width
    return float(total)


def fractions(trial: Trial) -> float:
    """Return a value of a space of 15 points on a grid that starts where another number is."""
    low = trial.suggest_float("low", 0.0, 1.0, step=0.25)
    return low - trial.suggest_float("high", low, low + 0.5, step=0.25)


def choosy(trial: Trial) -> float:
    """Return a value of a space of 6 points; the step depends on a choice."""
    step = {"fine": 1, "coarse": 3}[trial.suggest_categorical("grid", ["fine", "coarse"])]
    return float(trial.suggest_int("n", 0, 3, step=step))


N_POINTS: dict[Objective, int] = {ascending: 56, pyramid: 34, fractions: 15, choosy: 6}


@of_every_kind
@pytest.mark.parametrize("objective", N_POINTS)
def test_no_trial_repeats_another_until_all_has_been_tried(
    make: Make, objective: Objective
) -> None:
    """The same number in another range is the same number."""
    tried = points(run(make(5, seed=1), N_POINTS[objective], objective))

    assert len(set(tried)) == N_POINTS[objective]


@of_every_kind
@pytest.mark.parametrize("seed", range(3))
def test_no_trial_repeats_another_after_a_range_was_widened(make: Make, seed: int) -> None:
    """The range of the latest trial holds for the trials before it, too."""

    def objective(trial: Trial) -> float:
        high = 3 if trial.number < 7 else 4
        return float(trial.suggest_int("a", 1, high) + trial.suggest_int("b", 1, high))

    assert len(set(points(run(make(4, seed=seed), 16, objective)))) == 16


@cheap
def test_trials_that_run_together_do_not_repeat_each_other(make: Make) -> None:
    """Trials that are asked together, and generations that are told together, are all new."""
    study = run(make(8, seed=0), 16, ascending)
    for trial, value in ask_together(study, 8, ascending):
        study.tell(trial, value)
    optimize_generations(study, lambda trials: map(ascending, trials), 7)

    assert len(set(points(study))) == 56


@cheap
def test_trials_that_suggest_in_turns_do_not_repeat_each_other(make: Make) -> None:
    """Each knows what the others have of the way to the same point."""

    def sliding(trial: Trial) -> float:
        low = trial.suggest_int("low", 0, 1)
        return float(trial.suggest_int("n", low, low + 9))

    study = run(make(4, seed=0), 4, sliding)
    trials = [study.ask() for _ in range(8)]
    lows = [trial.suggest_int("low", 0, 1) for trial in trials]
    for trial, low in zip(trials, lows, strict=True):
        trial.suggest_int("n", low, low + 9)

    assert len(set(points(study))) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_failed_and_pruned_trials_count(kind: str) -> None:
    """A trial that failed on its way does not exhaust what it had."""

    def unlucky(trial: Trial) -> float:
        value = ascending(trial)
        if trial.number % 3 == 1:
            raise TrialPruned
        return value

    study = optuna.create_study(sampler=KINDS[kind](5, seed=2))
    study.add_trial(added(state=optuna.trial.TrialState.FAIL))
    study.optimize(unlucky, n_trials=56)

    assert len(set(points(study)[1:])) == 56


def test_a_value_after_which_nothing_is_left_gives_way_to_the_nearest() -> None:
    """Large integers are compared exactly."""
    distribution = IntDistribution(0, 2**62)
    tried, nothing = TriedValues(), point({}, {})
    for number in (2**60, 2**60 + 1, 2**60 - 1, 2**60 + 2):
        tried.add(point({"n": number}, {"n": distribution}))

    found = tried.unexhausted(2**60, nothing, "n", distribution, [], generator(0))

    assert found == 2**60 - 2


def next_x(wanted: int, trials: list[tuple[int, int, int]]) -> object:
    """Return the value for `x` in 0 to 5 after trials with an `x`, and a `y` from 0 to a limit."""
    tried, x_range = TriedValues(), IntDistribution(0, 5)
    for x, y, limit in trials:
        tried.add(point({"x": x, "y": y}, {"x": x_range, "y": IntDistribution(0, limit)}))
    return tried.unexhausted(wanted, point({}, {}), "x", x_range, [], generator(0))


def test_where_nothing_is_left_a_value_stays() -> None:
    """A range that depends on another parameter says nothing about that one's other values."""
    trials = [(x, y, x) for x in range(6) for y in range(x + 1)]

    assert [next_x(x, trials) for x in range(6)] == [0, 1, 2, 3, 4, 5]


def test_a_range_that_was_widened_is_that_of_other_values_too() -> None:
    """If both ranges have been seen with all other parameters equal."""
    trials = [(x, y, 1) for x in range(6) for y in range(2)]
    trials += [(2, y, 2) for y in (0, 2)]

    assert next_x(2, trials) in (1, 3)


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ([4, 1, 1], True),  # The limit is 4 now and then.
        ([1, 4, 1], True),
        ([1, 1, 1], False),
        ([4, 1, 1, 1], False),  # The objective was changed.
    ],
)
def test_a_range_that_varies_is_the_widest(limits: list[int], left: bool) -> None:
    """It is that of the latest three trials if they agree."""
    trials = [(3, i % 2, limit) for i, limit in enumerate(limits)]

    assert (next_x(3, trials) == 3) == left


X, Y = IntDistribution(0, 5), IntDistribution(0, 1)


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        ([{"x": 2}], {2}),  # It has yet to choose a `y`.
        ([{"x": 2, "y": 0}], {2}),
        ([{"x": 2, "y": 0}, {"x": 2}], {2}),
        ([{"x": 2, "y": 0}, {"x": 2, "y": 1}], {1, 3}),
    ],
)
def test_a_running_trial_counts_once_it_has_all_of_its_parameters(
    running: list[dict[str, int]], expected: set[int]
) -> None:
    """Until then it may still become another point."""
    tried, nothing, space = TriedValues(), point({}, {}), {"x": X, "y": Y}
    tried.add(point({"x": 0, "y": 0}, space))
    others = [point(part, {name: space[name] for name in part}) for part in running]

    assert tried.unexhausted(2, nothing, "x", X, others, generator(0)) in expected

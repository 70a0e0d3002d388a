"""The model of the losses: its targets, its features and its choices."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna import Trial
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_ga import GASampler
from optuna_ga._breeding.adaptive_settings import MODELLED
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.learnt_rows import learnt_rows
from optuna_ga._breeding.model.surrogate import Surrogate, scheduled
from optuna_ga._breeding.model.warping import on_front, warped
from optuna_ga._population import fitness
from tests import several
from tests.breeding.histories import MAXIMIZE, MINIMIZE, UNIT
from tests.studies import added, failed, pruned


def losses_of(*trials: FrozenTrial, direction: StudyDirection = MINIMIZE) -> np.ndarray:
    """Return the losses that the model is fitted to."""
    return warped([fitness.rank(trial, [direction]) for trial in trials], 0.1)


@given(st.lists(st.floats(-1e100, 1e100), min_size=2, max_size=30))
def test_the_model_sees_losses_in_their_order(values: list[float]) -> None:
    """A better value is never a larger loss; losses have mean 0 and deviation 1, or are all 0."""
    losses = losses_of(*(added(value) for value in values))

    assert (np.diff(losses[np.argsort(values, kind="stable")]) >= -1e-12).all()
    assert losses.mean() == pytest.approx(0.0, abs=1e-6)
    assert losses.std() == pytest.approx(1.0) or np.abs(losses).max() < 1e-6


def test_the_model_sees_small_differences_of_good_trials() -> None:
    """Losses are logarithms of the distance to the best value."""
    losses = losses_of(*(added(10.0**power) for power in range(-6, 7)))

    assert losses[3] - losses[2] > 0.5 * (losses[12] - losses[11])


@pytest.mark.parametrize("direction", [MINIMIZE, MAXIMIZE])
def test_a_trial_without_a_value_is_as_bad_as_the_worst(direction: StudyDirection) -> None:
    """So is the wrong infinity; the other one is as good as the best."""
    sign = 1.0 if direction == MINIMIZE else -1.0
    bad = [failed(), pruned(), added(sign * math.inf)]
    good = [added(sign * value) for value in (3.0, 1.0, 2.0)]
    losses = losses_of(*good, *bad, added(-sign * math.inf), direction=direction)

    assert losses[3:] == pytest.approx([losses[0]] * 3 + [losses[1]])


def violating(value: float, violation: float) -> FrozenTrial:
    """Return a complete trial that violates a constraint."""
    return added(value, constraints={"c": violation})


@pytest.mark.parametrize("unit", [1e-300, 1.0, 1e300])
def test_infeasible_trials_lie_above_the_worst_the_farther_the_more_they_violate(
    unit: float,
) -> None:
    """By up to a deviation of the feasible losses, in whatever unit; values do not count."""
    feasible = [added(value) for value in (1.0, 2.0, 3.0)]
    bad = [violating(-9.0, 4.0 * unit), violating(9.0, unit), violating(0.0, math.inf)]
    losses = losses_of(*feasible, *bad, failed())

    assert losses[2] < losses[4] < losses[3] == losses[5]
    assert losses[3] - losses[2] == pytest.approx(losses[[0, 1, 2, 2, 2, 2, 6]].std())
    assert losses[6] == losses[2]


def test_violations_are_the_losses_while_no_trial_is_feasible() -> None:
    """They are seen as values would be; failed and infinite ones are as bad as the worst."""
    violations = [0.5, 0.01, 30.0, 2.0]
    losses = losses_of(*(violating(-value, value) for value in violations))

    assert losses == pytest.approx(losses_of(*map(added, violations)))
    losses = losses_of(*(violating(0.0, v) for v in (1.0, 2.0, math.inf)), failed())
    assert losses[0] < losses[1] == losses[2] == losses[3]


@pytest.mark.parametrize("violation", [5e-324, 1e308, sys.float_info.max, math.inf])
def test_any_violation_has_a_place_on_the_scale(violation: float) -> None:
    """The smallest and the greatest do not overflow, alone or beside other trials."""
    twice = [violating(1.0, violation)] * 2
    alone = losses_of(*twice, failed())
    feasible = losses_of(added(1.0), *twice)
    mixed = losses_of(added(1.0), *twice, violating(1.0, 1.0))
    infeasible = losses_of(*twice, violating(1.0, 1.0))

    assert alone == pytest.approx(np.zeros(3))
    for losses in (feasible, mixed):
        assert np.isfinite(losses).all()
        assert losses[0] <= min(losses[1:])
        assert losses[0] < max(losses[1:])
    assert np.isfinite(infeasible).all()
    assert (infeasible[0] < infeasible[2]) == (violation < 1.0)


@pytest.mark.parametrize("several", [False, True], ids=["one objective", "two objectives"])
def test_a_small_feasible_region_is_found(several: bool) -> None:
    """A ball with a ten-thousandth of a cube's volume, where random search finds nothing."""

    def objective(trial: Trial) -> float | tuple[float, float]:
        x = np.array([trial.suggest_float(f"x{i}", 0, 1) for i in range(5)])
        trial.set_constraint("ball", float(((x - 0.3) ** 2).sum() - 0.02))
        return (float(x.sum()), float(x[0])) if several else float(x.sum())

    directions = [MINIMIZE] * (1 + several)
    study = optuna.create_study(sampler=GASampler.adaptive(seed=0), directions=directions)
    study.optimize(objective, n_trials=60)

    assert any(trial.constraints["ball"] <= 0 for trial in study.trials)


def test_a_pruned_trial_is_no_better_than_half_of_the_complete_ones() -> None:
    """Its loss is its last report's or the median, whichever is worse."""
    complete = [added(value) for value in (0.0, 1.0, 2.0, 3.0, 4.0)]
    reports = [pruned(intermediate_values={1: 9.0, 2: v}) for v in (-5.0, 1.0, 3.0, math.nan)]
    losses = losses_of(*complete, *reports)

    assert losses[5:] == pytest.approx(losses[[2, 2, 3, 4]])


@pytest.mark.parametrize("value", [0.0, -3.5, 1e300, math.inf])
def test_equal_values_have_losses_of_zero(value: float) -> None:
    """Equal values have a loss of zero, with or without failed trials beside them."""
    assert losses_of(*[added(value)] * 5) == pytest.approx(np.zeros(5))
    assert losses_of(added(value), failed(), pruned()) == pytest.approx(np.zeros(3))


def test_the_kernel_is_fitted_on_a_schedule() -> None:
    """The schedule depends on the number of trials alone, and never lags by half."""
    due = [scheduled(n, 1.1) for n in range(1, 400)]

    assert due == sorted(due)
    assert all(n / 2 < found <= n for n, found in enumerate(due, start=1))
    assert len(set(due)) < 50
    assert [scheduled(n, 1.1) for n in due] == due


def parabola(u: float) -> float:
    """Return a loss whose minimum is at 0.3."""
    return (u - 0.3) ** 2


def two_valleys(u: float) -> float:
    """Return a loss whose two minima, at 0.25 and 0.75, are equal."""
    return (abs(u - 0.5) - 0.25) ** 2


def measured(loss: Callable[[float], float], positions: Sequence[float]) -> TrialMatrix:
    """Return the matrix of trials at these positions."""
    matrix = TrialMatrix([MINIMIZE], 200)
    for number, u in enumerate(positions):
        trial = create_trial(value=loss(u), params={"x": u}, distributions={"x": UNIT})
        trial.number = number
        matrix.add(trial)
    return matrix


SPREAD = [number * 0.618 % 1.0 for number in range(15)]
BOTH_HALVES = [u for spread in SPREAD[:6] for u in (spread / 2, 1.0 - spread / 2)]
CANDIDATES = np.linspace(0.0, 1.0, 201)


def chosen(surrogate: Surrogate, matrix: TrialMatrix, *running: float) -> float:
    """Return the candidate that the model prefers while others are running."""
    rate = surrogate.rating(matrix, np.array(running).reshape(-1, 1))
    return float(CANDIDATES[np.argmax(rate(CANDIDATES[:, None]))])


def test_the_model_finds_the_minimum_of_a_parabola() -> None:
    """After fifteen trials the preferred candidate is close to the minimum."""
    matrix = measured(parabola, SPREAD)

    assert chosen(Surrogate(MODELLED), matrix) == pytest.approx(0.3, abs=0.05)


def test_the_model_forgets_failures_of_values_that_others_had() -> None:
    """The machine was to blame, even if the trial failed before it had all of its values."""
    complete: list[dict[str, float]] = [{"x": 0.2, "y": 0.5}, {"x": 0.4, "y": 0.6}]
    failed: list[dict[str, float]] = [{"x": 0.2, "y": 0.5}, {"x": 0.4}, {}, {"x": 0.2, "y": 0.6}]
    matrix = TrialMatrix([MINIMIZE], 200)
    for number, params in enumerate([*complete, *failed]):
        is_complete = number < len(complete)
        trial = create_trial(
            state=TrialState.COMPLETE if is_complete else TrialState.FAIL,
            value=float(number) if is_complete else None,
            params=params,
            distributions=dict.fromkeys(params, UNIT),
        )
        trial.number = number
        matrix.add(trial)

    assert learnt_rows(matrix, len(matrix)) == [0, 1, 5]


def test_the_model_avoids_running_trials() -> None:
    """Of two equally good places, the second worker gets the one that the first left."""
    matrix, surrogate = measured(two_valleys, BOTH_HALVES), Surrogate(MODELLED)
    first = chosen(surrogate, matrix)
    second = chosen(surrogate, matrix, first)

    assert two_valleys(first) < 0.005 > two_valleys(second)
    assert abs(first - second) > 0.3


def test_a_new_model_prefers_what_the_old_one_would() -> None:
    """Memory saves time and changes nothing, so that a resumed search is the same."""
    old = Surrogate(MODELLED)
    for end in range(2, 16):
        matrix, running = measured(two_valleys, SPREAD[:end]), SPREAD[end - 1] / 2
        assert chosen(old, matrix, running) == chosen(Surrogate(MODELLED), matrix, running)


@pytest.mark.parametrize("quantile", [0.3, 0.7])
def test_astronomical_losses_leave_the_good_ones_apart(quantile: float) -> None:
    """However bad other losses are, the good ones differ as if those were at the limit."""
    good, low = [0.0, 1.0, 2.0, 3.0], 3.0  # Of nine losses above the best, the 0.3-quantile.
    for bad in (1e3, 1e9, 1e300):
        limited = scaled([*good, *[bad] * 6], quantile, 20.0)
        assert limited == pytest.approx(scaled([*good, *[20.0 * low] * 6], quantile, math.inf))
        unlimited = scaled([*good, *[bad] * 6], quantile, math.inf)
        assert unlimited[3] - unlimited[0] < limited[3] - limited[0]


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30))
def test_losses_below_the_limit_count_as_they_are(values: list[int]) -> None:
    """The limit changes a loss only if it is so many times the 0.3-quantile above the best."""
    above = np.array([value - min(values) for value in values if value > min(values)])
    limit = above.max() / np.quantile(above, 0.3, method="lower") if len(above) else 1.0

    assert scaled(values, 0.3, 1.001 * limit) == pytest.approx(scaled(values, 0.3, math.inf))


def test_the_limit_knows_trials_with_a_loss_alone() -> None:
    """Trials that tie with the best, failed and infeasible ones do not move it."""
    values = [1.0, 2.0, 3.0, 1e9]
    ranks = [fitness.rank(added(value), [MINIMIZE]) for value in [0.0, *values]]
    ties = [fitness.rank(added(0.0), [MINIMIZE])] * 20
    infeasible = fitness.rank(violating(5.0, 1.0), [MINIMIZE])
    others = [None, infeasible, fitness.rank(added(math.inf), [MINIMIZE])] * 20

    limited = warped([*ranks, *ties, *others], 0.0, max_loss_ratio=20.0)

    at_limit = np.log(20.0 * 1.0 + 1.0)  # A margin of 1, the least loss above the best.
    expected = [0.0, np.log(2.0), np.log(3.0), np.log(4.0), at_limit]
    assert np.diff(limited[:5]) / (limited[1] - limited[0]) == pytest.approx(
        np.diff(expected) / np.log(2.0)
    )


def test_infeasible_trials_are_a_wall() -> None:
    """It is twice the 0.3-quantile high, more where violated, and never above the worst loss."""
    values = [0.0, 1.0, 2.0, 3.0, 50.0]
    ranks = [fitness.rank(added(value), [MINIMIZE]) for value in values]
    trials = violating(math.inf, 1.0), violating(0.5, 2.0), added(math.inf)
    others = [*(fitness.rank(trial, [MINIMIZE]) for trial in trials), None]
    found, full = warped([*ranks, *others], 0.0, wall_ratio=2.0), warped([*ranks, *others], 0.0)
    low = warped([*ranks[:2], *others], 0.0, wall_ratio=2.0)

    assert found[2] < found[5] < found[6] < found[4] == found[7] == found[8]
    assert full[4] == full[7] == full[8] < full[5] < full[6]
    assert low[1] == low[4] == low[5] < low[2] < low[3]


def test_losses_of_the_front_count_as_they_are() -> None:
    """It may span decades; what it dominates counts as at most its greatest loss."""
    front = [fitness.Rank(0.0, False, 0, (10.0**k, float(-k)), k) for k in range(8)]
    behind = [fitness.Rank(0.0, False, 0, (loss, -0.5), 9) for loss in (2e3, 1e30)]
    ranks = [*front, *behind]
    limited = warped(ranks, 0.0, max_loss_ratio=1.0)
    clipped = warped([*front, behind[0], behind[1]._replace(losses=(1e7, -0.5))], 0.0)

    assert limited == pytest.approx(clipped)
    assert warped(ranks, 0.0, 1, max_loss_ratio=1.0) == pytest.approx(warped(ranks, 0.0, 1))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12))
def test_the_front_is_of_candidates_that_none_dominates(losses: list[tuple[int, int]]) -> None:
    """As the fronts of `tests.several` say; with one objective it is the best."""
    ranks = [
        fitness.Rank(0.0, False, 0, tuple(map(float, each)), number)
        for number, each in enumerate(losses)
    ]
    others = [None, fitness.Rank(1.0, False, 0, (-1.0, -1.0), 98)]
    first = several.fronts(losses)[0] if losses else []
    best = min((first for first, _ in losses), default=None)
    single = [rank._replace(losses=rank.losses[:1]) for rank in ranks]

    assert [*np.flatnonzero(on_front([*ranks, *others]))] == sorted(first)
    assert on_front(single).tolist() == [each == best for each, _ in losses]


def test_astronomical_violations_leave_the_small_ones_apart() -> None:
    """While no trial is feasible, violations are the losses."""
    violations = [1.0, 2.0, 3.0, 4.0, *[1e30] * 6]
    ranks = [fitness.rank(violating(0.0, each), [MINIMIZE]) for each in violations]

    limited, unlimited = warped(ranks, 0.3, max_loss_ratio=20.0), warped(ranks, 0.3)

    assert limited[3] - limited[0] > 10.0 * (unlimited[3] - unlimited[0])


def scaled(values: Sequence[float], quantile: float, max_loss_ratio: float) -> np.ndarray:
    """Return values on the model's scale."""
    ranks = [fitness.rank(added(value), [MINIMIZE]) for value in values]
    return warped(ranks, quantile, max_loss_ratio=max_loss_ratio)


@pytest.mark.parametrize("factor", [2.0**-60, 2.0**-10, 2.0**10, 2.0**60])
@pytest.mark.parametrize("shift", [0.0, 2.0**10])
def test_losses_that_are_shifted_and_multiplied_are_the_same_to_the_model(
    factor: float, shift: float
) -> None:
    """By powers of 2, which change no rounding; limits for bad losses and the wall follow."""

    def scaled(factor: float, shift: float) -> np.ndarray:
        values = [0.0, 1.0, 2.0, 3.0, 40.0, 1e3, 1e6, 1e9]
        trials: list[FrozenTrial] = [added((value + shift) * factor) for value in values]
        trials += [added(math.inf), failed(), added(-9.0, constraints={"c": 1.0})]
        ranks = [fitness.rank(trial, [MINIMIZE]) for trial in trials]
        return warped(ranks, 0.3, max_loss_ratio=20.0, wall_ratio=2.0)

    assert scaled(factor, shift) == pytest.approx(scaled(1.0, 0.0))

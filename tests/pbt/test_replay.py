"""Schedules trained again."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest
from optuna import Trial, TrialPruned
from optuna.trial import TrialState

from optuna_ga import InParallel, best_of_final_generation, parent_to_continue, replay, schedule_of
from tests.pbt.walks import one_by_one, walk
from tests.studies import story


def test_a_replay_comes_to_the_same_where_nothing_is_random() -> None:
    """Each repeat takes all steps of the line again, and the study does not change."""
    study, objective = walk()
    before = story(study)
    best = best_of_final_generation(study)
    ended = replay(study, best, one_by_one(objective), 3)

    assert [trial.value for trial in ended] == [best.value] * 3
    assert [trial.number for trial in ended] == [15, 16, 17]
    assert story(study) == before


def test_repeats_differ_by_the_number_of_their_first_trial() -> None:
    """Noise that is seeded by the first trial's number differs from repeat to repeat."""
    study, objective = walk()
    checkpoints = objective.checkpoints

    def noisy(trial: Trial) -> float:
        parent = parent_to_continue(trial)
        noise = trial.number if parent is None else checkpoints.load(parent)["noise"]
        trial.suggest_float("step", -1.0, 1.0)
        checkpoints.save(trial, {"noise": noise})
        return float(noise)

    assert [t.value for t in replay(study, 23, one_by_one(noisy), 4)] == [0.0, 1.0, 2.0, 3.0]
    assert [t.value for t in replay(study, 23, one_by_one(noisy), 1)] == [0.0]


def test_a_repeat_that_diverges_ends_there() -> None:
    """Its value is infinite, and the other repeats continue."""
    study, objective = walk()

    def diverging(trial: Trial) -> float:
        value = objective(trial)
        return math.inf if trial.number == 3 else value  # The second repeat's second trial.

    ended = replay(study, 23, one_by_one(diverging), 2)
    assert [trial.value for trial in ended] == [study.trials[23].value, math.inf]
    assert ended[1].number == 3


def stateless(trial: Trial) -> float:
    """Return a value, and save no state."""
    return trial.suggest_float("step", -1.0, 1.0)


@pytest.mark.parametrize("n_repeats", [1, 3])
def test_a_replay_that_saves_no_state_is_an_error(n_repeats: int) -> None:
    """Its trials would be those of the first segment; the error says what the search says."""
    study, _ = walk()
    n_segments = len(schedule_of(study, 23))
    with pytest.raises(ValueError) as caught:
        replay(study, 23, one_by_one(stateless), n_repeats)

    assert f"after segment 1 of {n_segments} none of the {n_repeats} complete" in str(caught.value)
    assert "has saved a state. Call `Checkpoints.save(trial, state)`" in str(caught.value)


def test_a_schedule_of_one_segment_needs_no_state() -> None:
    """Nothing continues it."""
    study, _ = walk()
    ended = replay(study, 2, one_by_one(stateless), 2)

    assert [trial.value for trial in ended] == [study.trials[2].params["step"]] * 2


def test_repeats_that_all_diverge_at_once_end_there() -> None:
    """They have no state that is worth keeping."""
    ended = replay(walk()[0], 23, one_by_one(lambda trial: math.inf), 2)

    assert [trial.number for trial in ended] == [0, 1]


def test_an_error_in_a_replay_is_passed_on() -> None:
    """The error of the evaluation is raised, as in `optimize_generations`."""

    def raises(trials: list[Trial]) -> list[float]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        replay(walk(8)[0], 7, raises)


def stopping(objective: Callable[[Trial], float]) -> Callable[[Trial], float]:
    """Return the objective, which also stops its study in every trial."""

    def stops(trial: Trial) -> float:
        trial.study.stop()
        return objective(trial)

    return stops


def in_a_thread(objective: Callable[[Trial], float]) -> InParallel:
    """Return an evaluation by a single thread."""
    return InParallel(objective, ThreadPoolExecutor(1))


@pytest.mark.parametrize("evaluation", [one_by_one, in_a_thread])
def test_an_objective_that_stops_its_study_can_be_replayed(
    evaluation: Callable[[Callable[[Trial], float]], Any],
) -> None:
    """All segments are trained, as without the stop."""
    study, objective = walk()
    ended = replay(study, 23, evaluation(stopping(objective)), 2)

    assert [trial.value for trial in ended] == [study.trials[23].value] * 2


def test_processes_cannot_replay_in_memory() -> None:
    """The error comes before the first trial."""
    study, objective = walk(8)
    with ProcessPoolExecutor(1) as executor, pytest.raises(ValueError, match="in memory"):
        replay(study, 7, InParallel(objective, executor))


def test_the_number_of_repeats_is_checked() -> None:
    """There must be at least one repeat."""
    study, objective = walk(8)
    with pytest.raises(ValueError, match="`n_repeats` must be at least 1, but 0 was given"):
        replay(study, 7, one_by_one(objective), 0)


@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.COMPLETE])
def test_a_repeat_without_a_state_ends_there(state: TrialState) -> None:
    """Pruned in its first segment, or without a state; the other repeats take all steps."""
    study, objective = walk()

    def ending(trial: Trial) -> float:
        if trial.number != 1:
            return objective(trial)
        if state == TrialState.PRUNED:
            raise TrialPruned
        return trial.suggest_float("step", -1.0, 1.0)

    ended = replay(study, 23, lambda trials: map(ending, trials), 3)

    assert [trial.number for trial in ended] == [11, 1, 12]
    assert ended[1].state == state
    assert [ended[n].value for n in (0, 2)] == [study.trials[23].value] * 2


def test_no_repeat_is_pruned_by_optunas_usual_pruner() -> None:
    """Later trials report far worse values than the median, and go on."""
    study, objective = walk()

    def reporting(trial: Trial) -> float:
        trial.report(10.0**trial.number, 0)
        assert not trial.should_prune()
        return objective(trial)

    ended = replay(study, 23, one_by_one(reporting), 6)

    assert [trial.value for trial in ended] == [study.trials[23].value] * 6


def test_there_may_be_a_million_repeats_at_most() -> None:
    """The error shows the limit."""
    study, objective = walk(8)
    with pytest.raises(ValueError, match="`n_repeats` must be at most 1000000"):
        replay(study, 7, one_by_one(objective), 1_000_001)

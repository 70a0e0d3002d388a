"""The paper's answer: the best individual of the final population."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna import Study
from optuna.samplers import PartialFixedSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import best_of_final_generation, front_of_final_generation
from tests.several import study_of_two, with_values
from tests.studies import OpenDatabase, added, failed, of_four, pruned, run, sphere, study_with

LAST_FOUR = [added(5), added(3), added(4), added(6)]


def test_it_is_the_best_of_the_last_generation() -> None:
    """A better trial of an earlier generation is not the answer."""
    study = study_with(*[added(0)] * 4, *LAST_FOUR)

    assert best_of_final_generation(study).number == 5
    assert study.best_trial.number == 0


def test_it_is_the_largest_when_maximizing() -> None:
    """The direction of the study decides which value is best."""
    study = study_with(*[added(9)] * 4, *LAST_FOUR, direction="maximize")

    assert best_of_final_generation(study).number == 7


def test_a_generation_that_is_not_full_does_not_count() -> None:
    """The final generation is the last full one."""
    study = study_with(*LAST_FOUR, added(0), added(0), added(0))

    assert best_of_final_generation(study).number == 1


def test_a_generation_with_a_running_trial_does_not_count() -> None:
    """The final generation is the last one whose trials have all finished."""
    study = study_with(*LAST_FOUR)
    running = study.ask()
    study.add_trials([added(0)] * 3)
    assert best_of_final_generation(study).number == 1

    study.tell(running, 7)
    assert best_of_final_generation(study).number == 5


@pytest.mark.parametrize(
    ("final", "best"),
    [
        ([failed(), added(9), failed(), added(8)], 3),
        ([pruned(intermediate_values={9: 0.0}), added(8), failed(), failed()], 1),
        ([failed(), pruned(intermediate_values={1: 0.0}), pruned(), failed()], 1),
        (
            [
                added(1),
                added(2, constraints={"c": 0.0}),
                added(0, constraints={"c": 1.0}),
                failed(),
            ],
            0,
        ),
        ([added(math.inf), added(-math.inf), added(0), failed()], 1),
        ([added(1), added(1), added(1), added(1)], 0),
    ],
)
def test_it_is_ranked_as_parents_are(final: list[FrozenTrial], best: int) -> None:
    """Feasible precedes infeasible, complete precedes pruned, and failed trials never count."""
    assert best_of_final_generation(study_with(*[added(0)] * 4, *final)).number == 4 + best


def recorded_study(storage: Any) -> None:
    """Record a study of two generations of four, the better first."""
    study = optuna.create_study(study_name="s", storage=storage, sampler=of_four())
    study.optimize(lambda trial: sphere(trial) + trial.number // 4, n_trials=8)


def final_numbers(study: Study, size: int) -> list[int]:
    """Return the trials of the final generation from the best to the worst."""
    trials = study.trials[-size:]
    return [trial.number for trial in sorted(trials, key=lambda trial: trial.values[0])]


def test_the_population_size_is_the_samplers() -> None:
    """The study's sampler has the population size, even if nothing is recorded."""
    study = run(of_four(record=False), 8)

    assert best_of_final_generation(study).number == final_numbers(study, 4)[0]


@pytest.mark.parametrize("sampler", [None, RandomSampler(), PartialFixedSampler({}, of_four())])
def test_the_population_size_of_another_samplers_study_is_the_recorded_one(
    open_database: OpenDatabase, sampler: Any
) -> None:
    """A study that is loaded without its sampler has the recorded size."""
    recorded_study(open_database())
    study = optuna.load_study(study_name="s", storage=open_database(), sampler=sampler)

    assert best_of_final_generation(study).number == final_numbers(study, 4)[0]


def test_the_population_size_given_goes_before_all_others() -> None:
    """Any study can be read in generations of any size."""
    study = run(of_four(), 12)

    assert best_of_final_generation(study, 6).number == final_numbers(study, 6)[0]
    assert best_of_final_generation(study, population_size=12).number == study.best_trial.number


def test_an_unknown_population_size_must_be_given() -> None:
    """The error names the argument and the sampler that does not know."""
    study = run(RandomSampler(), 8)

    words = r"`population_size` must be given.*RandomSampler"
    with pytest.raises(ValueError, match=words) as caught:
        best_of_final_generation(study)
    assert "ga_population_size" not in str(caught.value)


@pytest.mark.parametrize("size", [1, 0, -4])
def test_a_population_size_that_is_too_small_is_refused(size: int) -> None:
    """A generation has at least two trials."""
    with pytest.raises(ValueError, match=f"`population_size` must be at least 2, but {size} was"):
        best_of_final_generation(study_with(), size)


@pytest.mark.parametrize("size", [4.0, "4", True])
def test_a_population_size_that_is_no_integer_is_refused(size: Any) -> None:
    """The error names the argument and the value."""
    with pytest.raises(TypeError, match=f"`population_size` must be an integer, but {size!r} was"):
        best_of_final_generation(study_with(), size)


@pytest.mark.parametrize("history", [[], [added(0)] * 3])
def test_there_is_no_answer_before_a_generation_has_finished(history: list[FrozenTrial]) -> None:
    """The error says how many trials a generation takes."""
    with pytest.raises(ValueError, match="No generation of the study has 4 finished trials"):
        best_of_final_generation(study_with(*history))


def test_there_is_no_answer_if_the_final_generation_failed() -> None:
    """An earlier generation does not stand in for it."""
    with pytest.raises(ValueError, match="All 4 trials of generation 1 failed"):
        best_of_final_generation(study_with(*[added(0)] * 4, *[failed()] * 4))


def test_there_is_no_answer_for_several_objectives() -> None:
    """The best of several objectives is not one trial."""
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=of_four())

    with pytest.raises(ValueError, match=r"the study has 2\. Use `front_of_final_generation`"):
        best_of_final_generation(study)


FRONTS = [(0, 0), (0, 1), (9, 9), (9, 9)]


@pytest.mark.parametrize(
    ("final", "front"),
    [
        ([(1, 5), (5, 1), (3, 3), (4, 4)], {4, 5, 6}),
        ([(1, 5), (1, 5), (2, 5), (0, 6)], {4, 5, 7}),
        ([(math.inf, 5), (9, 9), (9, 9), (9, -math.inf)], {7}),
    ],
)
def test_the_front_is_of_the_final_generation(
    final: list[tuple[float, float]], front: set[int]
) -> None:
    """A better trial of an earlier generation is not in it, and equal trials all are."""
    history = [with_values(*values) for values in [*FRONTS, *final]]
    study = study_of_two(of_four(), history=history)

    assert {trial.number for trial in front_of_final_generation(study)} == front


def test_infeasible_and_failed_trials_are_in_no_front_of_feasible_trials() -> None:
    """If no trial is feasible, those with the smallest violation are the front."""
    worse = [with_values(0, 0, constraints={"c": violation}) for violation in (3.0, 2.0, 2.0)]
    lost = optuna.create_trial(state=TrialState.FAIL)
    study = study_of_two(of_four(), history=[with_values(9, 9), *worse])
    assert [trial.number for trial in front_of_final_generation(study)] == [0]

    study.add_trials([lost, *worse])
    assert [trial.number for trial in front_of_final_generation(study)] == [6, 7]


def test_the_front_of_one_objective_is_all_trials_of_the_best_value() -> None:
    """They are in the order of their numbers."""
    study = study_with(*map(added, (3, 1, 2, 1)))

    assert [trial.number for trial in front_of_final_generation(study)] == [1, 3]


def test_a_final_generation_that_failed_has_no_front() -> None:
    """As it has no best trial."""
    with pytest.raises(ValueError, match="All 4 trials of generation 0 failed"):
        front_of_final_generation(study_of_two(of_four(), history=[failed()] * 4))


def test_the_answer_is_the_callers_own() -> None:
    """Changing it does not change the study."""
    study = study_with(*LAST_FOUR)
    best_of_final_generation(study).params["x"] = 0.0

    assert study.trials[1].params == {"x": 0.5}


def test_a_training_that_diverged_to_a_good_value_is_never_the_answer() -> None:
    """In population-based training it could not be a parent, however good its value looks."""
    saved = {"ga_checkpoint": "state"}
    diverged = added(-math.inf, user_attrs=saved)
    sound = [added(value, user_attrs=saved) for value in (5, 3, 4)]

    assert best_of_final_generation(study_with(diverged, *sound)).number == 2
    bad = [added(math.inf, user_attrs=saved), added(7)]
    assert best_of_final_generation(study_with(diverged, diverged, *bad)).number == 3
    with pytest.raises(ValueError, match="failed or diverged"):
        best_of_final_generation(study_with(*[diverged] * 4))
    assert best_of_final_generation(study_with(added(-math.inf), *[added(1)] * 3)).number == 0

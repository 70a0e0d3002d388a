"""Generation by generation the trials are the same as one by one."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna import Trial, TrialPruned
from optuna.pruners import ThresholdPruner
from optuna.samplers import (
    BaseSampler,
    NSGAIISampler,
    PartialFixedSampler,
    RandomSampler,
    TPESampler,
)
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from optuna_ga import best_of_final_generation, optimize_generations
from tests.logs import messages_of
from tests.running.evaluations import (
    COMPLETE,
    FAIL,
    PRUNED,
    REPORTS,
    Recorder,
    backwards,
    in_threads,
    random_study,
    spheres,
    states,
)
from tests.studies import of_four, run, sphere, story


@pytest.mark.parametrize("elitism", [False, True])
@pytest.mark.parametrize("evaluate", [spheres, backwards, in_threads])
def test_a_generation_at_once_makes_the_same_trials(
    evaluate: Callable[[list[Trial]], list[Any]], elitism: bool
) -> None:
    """However a generation is evaluated, its trials are those of `study.optimize`."""
    study = optuna.create_study(sampler=of_four(elitism=elitism))
    optimize_generations(study, evaluate, 8)

    assert story(run(of_four(elitism=elitism), 32)) == story(study)


def test_every_storage_serves(storage: BaseStorage) -> None:
    """A study in memory and one in a journal have the same trials."""
    study = optuna.create_study(sampler=of_four(), storage=storage)
    for n_generations in (2, 5):
        optimize_generations(study, in_threads, n_generations)

    assert story(run(of_four(), 20)) == story(study)


def test_a_new_sampler_continues(storage: BaseStorage) -> None:
    """A second call with another sampler of the same seed makes the same search."""
    study = optuna.create_study(sampler=of_four(), storage=storage)
    optimize_generations(study, spheres, 3)
    study.sampler = of_four()
    optimize_generations(study, spheres, 5)

    assert story(run(of_four(), 20)) == story(study)


def test_pruning_from_inside_makes_the_same_trials() -> None:
    """A trial that reports and asks `should_prune` is pruned as in `study.optimize`."""

    def objective(trial: Trial) -> float:
        value = sphere(trial)
        for step in range(REPORTS):
            trial.report(value * (step + 1), step)
            if trial.should_prune():
                raise TrialPruned
        return value

    def evaluate(trials: list[Trial]) -> list[Any]:
        results: list[Any] = []
        for trial in trials:
            try:
                results.append(objective(trial))
            except TrialPruned as pruned:
                results.append(pruned)
        return results

    pruner = ThresholdPruner(upper=1.0)
    study = optuna.create_study(sampler=of_four(), pruner=pruner)
    optimize_generations(study, evaluate, 5)

    assert story(run(of_four(), 20, objective, pruner=pruner)) == story(study)
    assert {COMPLETE, PRUNED} == set(states(study))


@pytest.mark.parametrize("size", [1, 3])
def test_each_generation_is_one_call(size: int) -> None:
    """The evaluation gets every generation once, its trials in the order of their numbers."""
    evaluate = Recorder()
    optimize_generations(random_study(), evaluate, 4, population_size=size)

    assert evaluate.calls == [list(range(i * size, i * size + size)) for i in range(4)]


def test_a_study_without_its_sampler_is_refused_by_the_name_of_its_sampler() -> None:
    """A study that is loaded without `sampler=` has Optuna's default."""
    study = run(of_four(), 8)
    study.sampler = TPESampler(seed=0)
    with pytest.raises(ValueError) as caught:
        optimize_generations(study, spheres, 3)

    assert "the study's sampler, a TPESampler, has none" in str(caught.value)
    assert f"recorded was `{of_four()!r}`" in str(caught.value)
    assert "as `sampler=`" in str(caught.value)
    assert len(study.trials) == 8


def test_the_default_sampler_in_place_of_the_recorded_is_warned_of_once() -> None:
    """The warning names both."""
    study = run(of_four(), 8)
    study.sampler = TPESampler(seed=0)
    with messages_of("optuna.generations", logging.WARNING) as messages:
        optimize_generations(study, spheres, 4, population_size=4)

    (message,) = messages
    assert "New trials come from Optuna's default sampler, a TPESampler." in message
    assert f"recorded was `{of_four()!r}`" in message


def test_another_sampler_that_was_chosen_is_not_warned_of() -> None:
    """Only the default may be an oversight."""
    study = run(of_four(), 8)
    study.sampler = NSGAIISampler(population_size=4, seed=0)
    with messages_of("optuna.generations", logging.WARNING) as messages:
        optimize_generations(study, spheres, 4)

    assert messages == []


@pytest.mark.parametrize("first", [of_four(), RandomSampler(seed=0)])
def test_a_study_that_goes_on_with_a_ga_sampler_is_not_warned_of(first: BaseSampler) -> None:
    """Trials of every sampler count."""
    study = run(first, 8)
    study.sampler = PartialFixedSampler({"x": 0.5}, of_four())
    with messages_of("optuna.generations", logging.WARNING) as messages:
        optimize_generations(study, spheres, 4)

    assert messages == []


def test_the_population_size_of_the_sampler_may_be_overruled() -> None:
    """A `population_size` that is given takes precedence over the sampler's."""
    evaluate = Recorder()
    optimize_generations(optuna.create_study(sampler=of_four()), evaluate, 2, population_size=6)

    assert [len(numbers) for numbers in evaluate.calls] == [6, 6]


@pytest.mark.parametrize(
    "sampler",
    [RandomSampler(seed=0), NSGAIISampler(population_size=5, seed=0), TPESampler(seed=0)],
)
def test_any_sampler_serves(sampler: BaseSampler) -> None:
    """With a `population_size` the sampler need not know generations."""
    evaluate = Recorder()
    study = optuna.create_study(sampler=sampler)
    optimize_generations(study, evaluate, 3, population_size=5)

    assert [len(numbers) for numbers in evaluate.calls] == [5, 5, 5]
    assert states(study) == [COMPLETE] * 15


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_sampler_of_some_parameters_keeps_its_generations() -> None:
    """A `PartialFixedSampler` leaves them to the sampler of the other parameters."""
    evaluate = Recorder()
    study = optuna.create_study(sampler=PartialFixedSampler({"x": 0.5}, of_four()))
    optimize_generations(study, evaluate, 2)

    assert [len(numbers) for numbers in evaluate.calls] == [4, 4]
    assert {trial.params["x"] for trial in study.trials} == {0.5}
    assert best_of_final_generation(study).number >= 4


@pytest.mark.parametrize("sampler", [RandomSampler(), TPESampler()])
def test_a_sampler_without_generations_needs_a_population_size(sampler: BaseSampler) -> None:
    """The error says what is missing and why, and no trial is started."""
    study = optuna.create_study(sampler=sampler)

    with pytest.raises(ValueError, match=f"`population_size`.*{type(sampler).__name__}"):
        optimize_generations(study, spheres, 1)
    assert study.trials == []


def test_n_generations_is_the_total() -> None:
    """A later call runs the missing generations, if any."""
    study = random_study()
    n_calls = []
    for n_generations in (2, 2, 5, 3):
        evaluate = Recorder()
        optimize_generations(study, evaluate, n_generations, population_size=3)
        n_calls.append(len(evaluate.calls))

    assert n_calls == [2, 0, 3, 0]
    assert len(study.trials) == 15


@pytest.mark.parametrize("n_generations", [1, 3])
def test_a_half_full_generation_is_filled_up(n_generations: int) -> None:
    """After other trials, the first call completes their generation."""
    sampler = of_four()
    study = run(sampler, 3)
    evaluate = Recorder()
    optimize_generations(study, evaluate, n_generations)

    whole = [[4, 5, 6, 7], [8, 9, 10, 11]][: n_generations - 1]
    assert evaluate.calls == [[3], *whole]
    assert story(run(of_four(), 4 * n_generations)) == story(study)


def test_seven_of_ten_are_filled_up_to_ten() -> None:
    """Existing trials count, and the next generations are whole."""
    evaluate = Recorder()
    study = run(RandomSampler(seed=0), 7)
    optimize_generations(study, evaluate, 3, population_size=10)

    assert evaluate.calls == [[7, 8, 9], list(range(10, 20)), list(range(20, 30))]


def test_enqueued_trials_are_taken_first() -> None:
    """They count as members of their generation; the rest of the queue joins the next one."""
    study = random_study()
    for i in range(4):
        study.enqueue_trial({"x": i / 8})
    evaluate = Recorder()
    optimize_generations(study, evaluate, 2, population_size=3)

    assert evaluate.calls == [[0, 1, 2], [3, 4, 5]]
    assert [trial.params["x"] for trial in study.trials[:4]] == [0.0, 0.125, 0.25, 0.375]
    assert states(study) == [COMPLETE] * 6


def test_enqueued_trials_beyond_the_last_generation_wait() -> None:
    """Enqueued trials for which no generation is left wait for a later call."""
    study = random_study()
    for _ in range(4):
        study.enqueue_trial({"x": 0.5})
    optimize_generations(study, spheres, 1, population_size=3)
    assert states(study) == [COMPLETE] * 3 + [TrialState.WAITING]

    optimize_generations(study, spheres, 2, population_size=3)
    assert states(study) == [COMPLETE] * 6


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("n_generations", 0, ValueError),
        ("n_generations", True, TypeError),
        ("n_generations", 1.5, TypeError),
        ("population_size", 0, ValueError),
        ("population_size", True, TypeError),
        ("population_size", "4", TypeError),
        ("timeout", -1, ValueError),
        ("timeout", math.nan, ValueError),
        ("timeout", True, TypeError),
        ("timeout", "1", TypeError),
        ("show_progress_bar", 1, TypeError),
    ],
)
def test_a_bad_argument_is_named(name: str, value: Any, kind: type[Exception]) -> None:
    """The error names the argument and its value, and no trial is started."""
    study = random_study()
    arguments = {"n_generations": 1, "population_size": 2, name: value}

    with pytest.raises(kind, match=f"`{name}` .*{value!r}"):
        optimize_generations(study, spheres, **arguments)
    assert study.trials == []


def test_a_study_is_optimized_once_at_a_time() -> None:
    """A call inside of the evaluation is an error of the evaluation."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        optimize_generations(trials[0].study, spheres, 2, population_size=2)
        return spheres(trials)

    study = random_study()
    with pytest.raises(RuntimeError, match="already being optimized"):
        optimize_generations(study, evaluate, 2, population_size=2)
    assert states(study) == [FAIL] * 2


def test_an_objective_cannot_begin_generations_of_its_study() -> None:
    """The same holds inside of `study.optimize`."""

    def objective(trial: Trial) -> float:
        optimize_generations(trial.study, spheres, 2, population_size=2)
        return 0.0

    with pytest.raises(RuntimeError, match="already being optimized"):
        random_study().optimize(objective, n_trials=1)

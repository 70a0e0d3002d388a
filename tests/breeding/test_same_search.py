"""The adaptive search is the same however it is carried out."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import optuna
import pytest
from optuna import Study, Trial
from optuna.study import StudyDirection

from optuna_ga import GASampler, InParallel, optimize_generations
from tests.breeding.samplers import (
    KINDS,
    Make,
    ask_together,
    cheap,
    conditional,
    mixed,
    model_free,
    of_every_kind,
    points,
)
from tests.studies import run, sphere, story

Objective = Callable[[Trial], float]
Evaluate = Callable[[Objective, list[Trial]], Iterable[Any]]


def plainly(objective: Objective, trials: Sequence[Trial]) -> list[float]:
    """Evaluate a generation, one trial after another."""
    return [objective(trial) for trial in trials]


def backwards(objective: Objective, trials: Sequence[Trial]) -> list[float]:
    """Evaluate a generation, beginning with its last trial."""
    return plainly(objective, trials[::-1])[::-1]


def in_threads(objective: Objective, trials: list[Trial]) -> Iterable[Any]:
    """Evaluate a generation, four trials at once."""
    with ThreadPoolExecutor(4) as executor:
        return list(InParallel(objective, executor)(trials))


def in_generations(
    sampler: GASampler, evaluate: Evaluate = plainly, objective: Objective = mixed, n: int = 3
) -> Study:
    """Return a study of `n` generations."""
    study = optuna.create_study(sampler=sampler)
    optimize_generations(study, partial(evaluate, objective), n)
    return study


@of_every_kind
@pytest.mark.parametrize("evaluate", [backwards, in_threads])
@pytest.mark.parametrize(("objective", "n"), [(mixed, 3), (conditional, 6)])
def test_a_generation_is_the_same_however_it_is_evaluated(
    make: Make, evaluate: Evaluate, objective: Objective, n: int
) -> None:
    """Order and threads change neither genes nor records."""
    expected = in_generations(make(5, seed=0), plainly, objective, n)

    assert story(expected) == story(in_generations(make(5, seed=0), evaluate, objective, n))


def failing(trial: Trial) -> float:
    """Return a value of parameters of every kind, in one trial of three none by chance."""
    value = mixed(trial)
    return math.nan if trial.number % 3 == 0 else value


def badly(trial: Trial) -> float:
    """Return a value of parameters of every kind, in one trial of four a bad one by chance."""
    value = mixed(trial)
    return 5.0 + trial.number % 7 / 2.0 if trial.number % 4 == 0 else value


def failing_on_a_grid(trial: Trial) -> float:
    """Return a value of 64 points, in one trial of three none by chance."""
    x, y = trial.suggest_int("x", 0, 7), trial.suggest_int("y", 0, 7)
    return math.nan if trial.number * 7 % 3 == 0 else float(abs(x - 5) + abs(y - 2))


def resumed(make: Make, objective: Objective, size: int, n: int) -> Study:
    """Return a study of `n` generations, each of which begins with a new sampler."""
    study = optuna.create_study()
    for n_generations in range(1, n + 1):
        study.sampler = make(size, seed=0)
        optimize_generations(study, partial(plainly, objective), n_generations)
    return study


@of_every_kind
@pytest.mark.parametrize(("objective", "n"), [(failing, 5), (badly, 8), (failing_on_a_grid, 6)])
def test_bad_trials_by_chance_leave_a_search_the_same(
    objective: Objective, n: int, make: Make
) -> None:
    """However it is evaluated, and if each generation begins with a new sampler."""
    expected = story(in_generations(make(10, seed=0), plainly, objective, n))

    assert story(in_generations(make(10, seed=0), backwards, objective, n)) == expected
    assert story(in_generations(make(10, seed=0), in_threads, objective, n)) == expected
    assert story(resumed(make, objective, 10, n)) == expected


def renamed(trial: Trial) -> float:
    """Return a value of a parameter that is another in each trial, and of one that stays."""
    return sphere(trial) + trial.suggest_int(f"n{trial.number}", 0, 1)


@cheap
def test_names_that_change_leave_a_generation_the_same(make: Make) -> None:
    """So many names that not all are taken into account."""
    expected = in_generations(make(5, seed=0), plainly, renamed, 15)

    assert story(expected) == story(in_generations(make(5, seed=0), backwards, renamed, 15))


def small(trial: Trial) -> float:
    """Return a value of a space of twelve points."""
    x, y = trial.suggest_int("x", 0, 3), trial.suggest_int("y", 0, 2)
    return float((x - 1) ** 2 + y)


@cheap
@pytest.mark.filterwarnings("ignore:Fixed parameter:UserWarning")
def test_values_enqueued_out_of_range_leave_a_generation_the_same(make: Make) -> None:
    """Whether or not the trial has suggested the parameter."""

    def story_of(evaluate: Evaluate) -> Any:
        study = optuna.create_study(sampler=make(6, seed=0))
        optimize_generations(study, partial(evaluate, small), 1)
        study.enqueue_trial({"x": 9})
        optimize_generations(study, partial(evaluate, small), 2)
        return story(study)

    assert story_of(plainly) == story_of(backwards)


@cheap
def test_a_search_is_the_same_without_records(make: Make) -> None:
    """Recording changes nothing but the records."""
    recorded, unrecorded = (in_generations(make(5, seed=0, record=r)) for r in (True, False))

    assert points(recorded) == points(unrecorded)
    assert unrecorded.user_attrs == {}
    assert all(trial.user_attrs == {} for trial in unrecorded.trials)


@cheap
def test_another_seed_makes_another_search(make: Make) -> None:
    """No two trials of searches with different seeds are the same."""
    first, second = (set(points(run(make(4, seed=seed), 8))) for seed in (0, 1))

    assert not first & second


def unpickled(sampler: GASampler, make: Make) -> GASampler:
    """Return the sampler after pickling, as another process receives it."""
    sent: GASampler = pickle.loads(pickle.dumps(sampler))
    return sent


def copied(sampler: GASampler, make: Make) -> GASampler:
    """Return a deep copy."""
    return copy.deepcopy(sampler)


def anew(sampler: GASampler, make: Make) -> GASampler:
    """Return a new sampler with the same seed."""
    return make(4, seed=0)


@pytest.mark.parametrize(
    ("make", "replace"),
    [(model_free, unpickled), (model_free, copied), *((make, anew) for make in KINDS.values())],
)
def test_a_search_continues_with_another_sampler_object(
    make: Make, replace: Callable[[GASampler, Make], GASampler]
) -> None:
    """Replacing the sampler before every trial changes nothing."""
    study = optuna.create_study(sampler=make(4, seed=0))
    for _ in range(16):
        study.optimize(mixed, n_trials=1)
        assert isinstance(study.sampler, GASampler)
        study.sampler = replace(study.sampler, make)

    assert story(run(make(4, seed=0), 16, mixed)) == story(study)


@cheap
def test_one_sampler_serves_two_studies_at_once(make: Make) -> None:
    """A sampler's memory of one study never reaches another."""
    sampler = make(4, seed=0)
    directions = [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE]
    studies = [optuna.create_study(sampler=sampler, direction=d) for d in directions]
    for study in studies * 10:
        study.optimize(sphere, n_trials=1)

    for study, direction in zip(studies, directions, strict=True):
        assert story(run(make(4, seed=0), 10, direction=direction)) == story(study)


def completed_late(make: Make, *, lost: bool, between: bool) -> dict[str, Any]:
    """Return the parameters of a trial that suggests one of them first and the rest later.

    Args:
        make: Makes the sampler.
        lost: Whether the sampler is lost after the first gene.
        between: Whether a trial that started later is sampled before the rest.
    """
    study = run(make(4, seed=0), 13)
    study.ask()
    trial = study.ask()
    trial.suggest_float("x", -1.0, 1.0)
    if lost:
        study.sampler = make(4, seed=0)
        trial = Trial(study, trial._trial_id)
    if between:
        sphere(study.ask())
    sphere(trial)
    return trial.params


@of_every_kind
@pytest.mark.parametrize("between", [False, True])
def test_a_half_suggested_trial_continues_with_another_sampler(make: Make, between: bool) -> None:
    """Its other genes are the same, as long as no other trial has finished in between."""
    kept, lost = (completed_late(make, lost=lost, between=between) for lost in (False, True))

    assert kept == lost


def narrow(trial: Trial) -> float:
    """Return a value of five parameters, one of a narrow range and one whose range changes."""
    x = trial.suggest_float("narrow", 1.7e9, 1.7e9 + 1.0) - 1.7e9
    y = trial.suggest_float("changing", 0.0, 1.0 if trial.number < 9 else 3.0)
    return (x - 0.3) ** 2 + (y - 0.9) ** 2 + sphere(trial)


@of_every_kind
def test_a_search_in_odd_ranges_continues_with_another_sampler_object(make: Make) -> None:
    """A new sampler before every trial and between two genes changes nothing."""
    study = optuna.create_study(sampler=make(4, seed=0))
    for _ in range(18):
        study.sampler = make(4, seed=0)
        trial = study.ask()
        trial.suggest_float("narrow", 1.7e9, 1.7e9 + 1.0)
        study.sampler = make(4, seed=0)
        study.tell(trial, narrow(Trial(study, trial._trial_id)))

    assert points(study) == points(run(make(4, seed=0), 18, narrow))


def overlapping(make: Make, *, lost: bool) -> Study:
    """Return a study in which two trials run at a time and every other one outlives the next."""
    study = optuna.create_study(sampler=make(4, seed=0))
    (older,) = ask_together(study, 1, sphere)
    for number in range(16):
        if lost:
            study.sampler = make(4, seed=0)
        (newer,) = ask_together(study, 1, sphere)
        first, older = (newer, older) if number % 2 else (older, newer)
        study.tell(*first)
    return study


@cheap
def test_results_may_arrive_in_any_order(make: Make) -> None:
    """A sampler that saw the results arrive continues as one that reads them all at once."""
    kept, lost = (overlapping(make, lost=lost) for lost in (False, True))

    assert story(kept) == story(lost)

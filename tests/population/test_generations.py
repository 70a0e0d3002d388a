"""Pools of parents where workers overlap, come late or die."""

from __future__ import annotations

import math
import random
from bisect import insort
from collections.abc import Callable, Container, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study, Trial
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import GASampler
from optuna_ga._optuna_internals import read_trials
from optuna_ga._population import study_trials
from optuna_ga._population.generations import Generations
from tests.studies import (
    added,
    bred,
    constant,
    next_parents,
    of_four,
    overtaken,
    parents,
    parents_by_the_rules,
    run,
    sphere,
    study_with,
)


def test_more_workers_than_members_draw_at_random_and_lose_nothing() -> None:
    """Trials asked before the first result are random, and all of them can become parents."""
    study = optuna.create_study(sampler=of_four())
    trials = [study.ask() for _ in range(12)]
    for trial in trials:
        sphere(trial)
    for trial, value in zip(trials, [5, 0, 6, 7, 8, 1, 9, 5, 6, 7, 8, 9], strict=True):
        study.tell(trial, value)

    assert not bred(study)
    assert next_parents(study) == {1, 5}


def test_a_late_result_is_in_the_next_pool() -> None:
    """A result too late for its own successors is in the pool of the generation after."""
    study = overtaken(of_four())
    study.optimize(sphere, n_trials=4)

    assert all(3 in parents(trial) for trial in study.trials[8:])
    assert not any(3 in parents(trial) for trial in study.trials[:8])


def test_a_late_result_is_in_one_pool_only() -> None:
    """Later pools no longer have it."""
    study = overtaken(of_four())
    study.optimize(sphere, n_trials=12)

    assert not any(3 in parents(trial) for trial in study.trials[12:])


def test_the_pool_of_a_running_generation_is_filled_up_with_the_latest_older_trials() -> None:
    """Two trials of generation 1 have finished; the last two of generation 0 join them."""
    study = study_with(added(0), added(1), added(7), added(8))
    trials = [study.ask() for _ in range(4)]
    for trial, value in zip(trials[:2], (9, 10), strict=True):
        sphere_in_unit(trial)
        study.tell(trial, value)

    assert next_parents(study) == {2, 3}


def sphere_in_unit(trial: Trial) -> float:
    """Return the square of a gene."""
    return trial.suggest_float("x", 0.0, 1.0) ** 2


def test_a_trial_that_runs_for_ever_stops_nothing() -> None:
    """Later generations are bred from all other trials by the rules."""
    study = run(of_four(), 5)
    study.ask()
    study.optimize(sphere, n_trials=34)

    assert study.trials[5].state == TrialState.RUNNING
    for trial in study.trials[8:12]:
        assert set(parents(trial)) < {3, 4, 6, 7}
    for trial in study.trials[12:]:
        assert {number // 4 for number in parents(trial)} == {trial.number // 4 - 1}


class LaggingStorage(JournalStorage):
    """Storage that does not yet list trial 5, which another process is creating."""

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        trials = super().get_all_trials(study_id, deepcopy, states)
        return [trial for trial in trials if trial.number != 5]

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        if trial_number == 5:
            raise KeyError(trial_number)
        return super().get_trial_id_from_study_id_trial_number(study_id, trial_number)


def test_a_trial_that_is_not_listed_yet_is_done_without(tmp_path: Path) -> None:
    """Trials are found by their numbers, not by their places in a list."""
    storage = LaggingStorage(JournalFileBackend(f"{tmp_path}/journal.log"))
    study = optuna.create_study(storage=storage, sampler=of_four())
    study.add_trials([added(value) for value in (9, 9, 9, 9, 3, 0, 1, 2)])
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)

    assert set(parents(study.trials[-1])) == {6, 7}


class CountingStorage(InMemoryStorage):
    """Storage that counts the trials it hands out."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def get_trial(self, trial_id: int) -> FrozenTrial:
        self.reads += 1
        return super().get_trial(trial_id)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        trials = super().get_all_trials(study_id, deepcopy, states)
        self.reads += len(trials)
        return trials


@pytest.mark.parametrize("elitism", [False, True])
def test_a_long_study_is_not_read_again(elitism: bool) -> None:
    """Late generations read as few trials as early ones, though one trial runs for ever."""
    storage, reads = CountingStorage(), []
    study = optuna.create_study(sampler=of_four(elitism=elitism), storage=storage)
    study.ask()
    study.optimize(constant, n_trials=39)
    for _ in range(2):
        before = storage.reads
        study.optimize(constant, n_trials=4)
        reads.append(storage.reads - before)
        study.optimize(constant, n_trials=1000)

    assert reads[0] == reads[1] > 0


def finish(study: Study, trial: Trial, rng: random.Random) -> None:
    """End a trial in one of the ways in which trials end."""
    state = rng.choice([TrialState.COMPLETE, *TrialState])
    if rng.random() < 0.3:
        trial.set_constraint("c", rng.choice([-1.0, 1.0, 2.0]))
    for step in range(rng.randrange(3)):
        trial.report(rng.choice([0.0, 1.0, math.nan]), step)
    if state == TrialState.FAIL or state == TrialState.PRUNED:
        study.tell(trial, state=state)
    else:
        study.tell(trial, rng.randrange(50))


def odd_search(
    make: Callable[[], GASampler], rng: random.Random, **options: Any
) -> Iterator[tuple[int, list[FrozenTrial], dict[int, set[int]], set[int]]]:
    """Run trials in random order and overlap; yield their number, what they could see, parents.

    They could see the finished trials, and the unfinished trials when each trial was asked for.
    """
    study = optuna.create_study(sampler=make(), **options)
    asked: list[Trial] = []
    running: list[Trial] = []
    unfinished: dict[int, set[int]] = {}
    for _ in range(250):
        event = rng.choice(["ask", "ask", "begin", "begin", "end", "end", "enqueue", "restart"])
        if event == "ask":
            others = {
                t.number for t in study.get_trials(deepcopy=False) if not t.state.is_finished()
            }
            asked.append(study.ask())
            number = asked[-1].number
            unfinished[number] = {other for other in others if other < number}
        elif event == "begin" and asked:
            running.append(asked.pop(rng.randrange(len(asked))))
            history, number = study.get_trials(deepcopy=False), running[-1].number
            sphere(running[-1])
            yield number, history, unfinished, set(parents(study.trials[number]))
        elif event == "end" and running:
            finish(study, running.pop(rng.randrange(len(running))), rng)
        elif event == "enqueue" and rng.random() < 0.3:
            study.enqueue_trial({"x": 0.5})
        elif event == "restart":
            study.sampler = make()


def assert_parents_in_an_odd_search(
    size: int, n_parents: int, elitism: bool, direction: str, **options: Any
) -> None:
    """Assert that each trial's parents are among the best of the pool when it started."""
    make = partial(GASampler, size, parent_fraction=n_parents / size, elitism=elitism, seed=0)
    searches = odd_search(make, random.Random(size), direction=direction, **options)
    for number, history, unfinished, found in searches:
        best = parents_by_the_rules(
            history,
            number,
            population_size=size,
            n_parents=n_parents,
            elitism=elitism,
            maximize=direction == "maximize",
            unfinished=unfinished,
        )
        assert found <= set(best)
        assert len(found) == (2 if len(best) >= 2 else 0)


@pytest.mark.parametrize("elitism", [False, True])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(("size", "n_parents"), [(4, 2), (7, 3), (20, 10)])
def test_parents_follow_the_rules_in_any_history(
    size: int, n_parents: int, direction: str, elitism: bool
) -> None:
    """Parents are the best of the pool at that time, in whatever order trials run and end."""
    assert_parents_in_an_odd_search(size, n_parents, elitism, direction)


@pytest.mark.parametrize("elitism", [False, True])
def test_parents_follow_the_rules_on_any_storage(storage: BaseStorage, elitism: bool) -> None:
    """Storages are read in different ways, with the same result."""
    assert_parents_in_an_odd_search(4, 2, elitism, "minimize", storage=storage)


def generations(study: Study, **options: Any) -> Generations:
    """Return the generations of ten trials of a study."""
    return Generations(study, population_size=10, n_parents=5, **options)


def numbers(trials: list[FrozenTrial]) -> list[int]:
    """Return the numbers of trials."""
    return [trial.number for trial in trials]


def interrupted_once(study: Study, at: int) -> Callable[[FrozenTrial], bool]:
    """Return a function that raises KeyboardInterrupt in one of its calls."""
    calls = iter(range(10_000))

    def may_be_parent(trial: FrozenTrial) -> bool:
        if next(calls) == at:
            raise KeyboardInterrupt
        return True

    return may_be_parent


@pytest.mark.parametrize("at", [0, 7, 24, 39])
@pytest.mark.parametrize("elitism", [False, True])
def test_an_interrupted_read_changes_no_parents(elitism: bool, at: int) -> None:
    """Ctrl-C in a sampler's memory, which a notebook keeps."""
    study = run(optuna.samplers.RandomSampler(seed=0), 40)
    subject = generations(study, elitism=elitism, may_be_parent=interrupted_once(study, at))
    with pytest.raises(KeyboardInterrupt):
        subject.parents_of(4, study)

    expected = generations(study, elitism=elitism).parents_of(4, study)
    assert numbers(subject.parents_of(4, study)) == numbers(expected)
    assert len(subject._usable) == 40


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["_add", "_read"])
def test_a_read_that_fails_changes_no_parents(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException], name: str
) -> None:
    """Of a database, or amid the taking over of a trial."""
    study = run(optuna.samplers.RandomSampler(seed=0), 45)
    expected = numbers(generations(study, elitism=True).parents_of(4, study))
    subject = generations(study, elitism=True)
    with monkeypatch.context() as patch:
        if name == "_read":
            patch.setattr(study_trials, "read_trials", partial(failing_read, error))
        else:
            patch.setattr(study_trials, "insort", partial(failing_insort, error))
        with pytest.raises(error):
            subject.history(study, 45)

    assert numbers(subject.parents_of(4, study)) == expected
    assert sorted(numbers(subject.history(study, 45)[0])) == [*range(45)]


def failing_read(
    error: type[BaseException], study: Study, wanted: list[int]
) -> Iterator[FrozenTrial]:
    """Yield trials, and fail at the 43rd."""
    for trial in read_trials(study, wanted):
        if trial.number == 43:
            raise error
        yield trial


def failing_insort(error: type[BaseException], places: list[Any], place: Any) -> None:
    """Insert something, and fail after the 30th."""
    insort(places, place)
    if len(places) == 30:
        raise error

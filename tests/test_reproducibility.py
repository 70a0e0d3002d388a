"""The same seed makes the same search, whatever stops, resumes, shares or interleaves it."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable

import optuna
import pytest
from optuna import Study, Trial
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection

from optuna_ga import GASampler
from tests.logs import messages_of
from tests.studies import (
    Objective,
    OpenDatabase,
    added,
    bred,
    constant,
    next_parents,
    of_four,
    parents,
    run,
    sphere,
    story,
)

HASH_SEEDS = """
import json, optuna
from optuna_ga import GASampler

optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(sampler=GASampler(4, seed=7))
names = {"a", "b", "c", "d", "e"}  # Its order depends on the hash seed.
study.optimize(lambda t: sum(t.suggest_float(name, 0, 1) for name in names), n_trials=20)
params = [sorted(trial.params.items()) for trial in study.trials]
print(json.dumps([params, [trial.user_attrs for trial in study.trials]]))
"""


@pytest.mark.parametrize("objective", [sphere, constant])
def test_the_same_seed_makes_the_same_search(objective: Objective) -> None:
    """Samplers with equal settings and seeds are interchangeable, even where all values tie."""
    first = run(GASampler(5, seed=3), 30, objective)
    second = run(GASampler(5, seed=3), 30, objective)

    assert story(first) == story(second)


def test_another_seed_makes_another_search() -> None:
    """Searches with different seeds have no draw in common."""
    first, second = (run(GASampler(20, seed=seed), 20) for seed in (3, 4))

    for one, other in zip(first.trials, second.trials, strict=True):
        assert not set(one.params.values()) & set(other.params.values())


def test_another_seed_chooses_other_parents() -> None:
    """The seed decides the parents as well as the genes."""
    first, second = (run(GASampler(20, seed=seed), 40, constant) for seed in (3, 4))

    assert [parents(trial) for trial in bred(first)] != [parents(trial) for trial in bred(second)]


def test_samplers_without_a_seed_differ() -> None:
    """Each study gets a seed of its own; see `tests/breeding/test_study_seed.py`."""
    first, second = (run(GASampler(5), 5) for _ in range(2))

    assert story(first) != story(second)


def test_the_same_seed_makes_the_same_search_in_any_process() -> None:
    """Neither the process nor the order of its sets matters."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", HASH_SEEDS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
            timeout=120,
        ).stdout
        for hash_seed in ("1", "2")
    }

    assert len(outputs) == 1
    assert len(json.loads(outputs.pop())[0]) == 20


@pytest.mark.parametrize("elitism", [False, True])
@pytest.mark.parametrize(
    "splits", [pytest.param([1, 4, 6, 8], marks=pytest.mark.slow), [3, 5, 13]]
)
def test_a_resumed_search_equals_an_uninterrupted_one(
    open_database: OpenDatabase, splits: list[int], elitism: bool
) -> None:
    """A new process with a new sampler continues where the last one stopped."""
    for end in [*splits, 16]:
        study = optuna.create_study(
            study_name="resumed",
            storage=open_database(),
            sampler=of_four(elitism=elitism),
            load_if_exists=True,
        )
        study.optimize(sphere, n_trials=end - len(study.trials))

    assert story(run(of_four(elitism=elitism), 16)) == story(study)


@pytest.mark.parametrize(
    ("first", "second", "is_warned"),
    [
        (of_four(), GASampler(4, seed=1), True),
        (of_four(), GASampler(5, seed=0), True),
        (GASampler.adaptive(4, seed=0), GASampler.adaptive(4), True),
        (of_four(), of_four(), False),
        (GASampler(4), GASampler(4), False),
        (of_four(), GASampler.adaptive(4, seed=0), False),
        (RandomSampler(), of_four(), False),
        (of_four(record=False), GASampler(4, seed=1), False),
    ],
)
def test_other_settings_are_warned_of_once(
    first: BaseSampler, second: BaseSampler, is_warned: bool
) -> None:
    """The warning names both samplers; another kind of sampler is a choice."""
    study = run(first, 6)
    study.sampler = second
    with messages_of("optuna.sampler", logging.WARNING) as messages:
        study.optimize(sphere, n_trials=20)

    assert len(messages) == is_warned
    assert all(f"`{first!r}`" in text and f"`{second!r}`" in text for text in messages)


def test_the_warning_of_other_settings_names_the_latest_sampler() -> None:
    """Earlier trials may be of still another one, of which the study keeps no record."""
    study = run(of_four(), 6)
    study.sampler = GASampler(4, seed=1)
    study.optimize(sphere, n_trials=6)
    study.sampler = GASampler(4, seed=2)
    with messages_of("optuna.sampler", logging.WARNING) as messages:
        study.optimize(sphere, n_trials=6)

    (message,) = messages
    assert message.startswith(
        f"The latest sampler that the study has recorded is `{GASampler(4, seed=1)!r}`, and new "
        f"trials come from `{GASampler(4, seed=2)!r}`:"
    )


def test_the_order_of_suggestions_does_not_matter() -> None:
    """A gene is the same whether it is suggested first or last."""

    def backwards(trial: Trial) -> float:
        for name in "zy":
            trial.suggest_float(name, -1.0, 1.0)
        return sphere(trial)

    assert story(run(of_four(), 40)) == story(run(of_four(), 40, backwards))


def test_another_parameter_leaves_the_genes_alone() -> None:
    """A parameter that is added to an objective does not change the others."""

    def extended(trial: Trial) -> float:
        trial.suggest_categorical("w", ("a", "b"))
        return sphere(trial)

    study = run(of_four(), 40, extended)
    for before, after in zip(run(of_four(), 40).trials, study.trials, strict=True):
        assert before.params == {name: after.params[name] for name in "xyz"}


def unpickled(sampler: GASampler) -> GASampler:
    """Return the sampler after pickling, as another process receives it."""
    sent: GASampler = pickle.loads(pickle.dumps(sampler))
    return sent


@pytest.mark.parametrize("duplicate", [unpickled, copy.deepcopy, copy.copy])
@pytest.mark.parametrize("elitism", [False, True])
def test_a_copied_sampler_continues_like_the_original(
    duplicate: Callable[[GASampler], GASampler], elitism: bool
) -> None:
    """A sampler may be pickled or copied at any time."""
    sampler = of_four(elitism=elitism)
    study = run(sampler, 10)
    study.sampler = duplicate(sampler)
    study.optimize(sphere, n_trials=14)

    assert story(run(of_four(elitism=elitism), 24)) == story(study)


@pytest.mark.parametrize("order", range(3))
def test_a_generation_may_be_asked_at_once_and_told_in_any_order(order: int) -> None:
    """A generation asked as a batch makes the same search as trials in sequence."""
    shuffle = random.Random(order).shuffle
    study = optuna.create_study(sampler=of_four())
    for _ in range(8):
        trials = [study.ask() for _ in range(4)]
        shuffle(trials)
        values = [(trial, sphere(trial)) for trial in trials]
        shuffle(values)
        for trial, value in values:
            study.tell(trial, value)

    assert story(run(of_four(), 32)) == story(study)


def test_reseeding_changes_nothing() -> None:
    """Workers that Optuna reseeds draw what they would have drawn."""
    sampler = of_four()
    study = run(sampler, 6)
    sampler.reseed_rng()
    study.optimize(sphere, n_trials=10)

    assert story(run(of_four(), 16)) == story(study)


@pytest.mark.parametrize("storages", [(InMemoryStorage(),) * 2, (None, None)])
def test_one_sampler_serves_two_studies_at_once(
    storages: tuple[InMemoryStorage | None, InMemoryStorage | None],
) -> None:
    """A sampler's memory of one study never reaches another."""
    sampler = of_four()
    directions = (StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE)
    studies = [
        optuna.create_study(sampler=sampler, storage=storage, direction=direction)
        for storage, direction in zip(storages, directions, strict=True)
    ]
    for _ in range(20):
        for study in studies:
            study.optimize(sphere, n_trials=1)

    for study, direction in zip(studies, directions, strict=True):
        assert story(run(of_four(), 20, direction=direction)) == story(study)


def study_after_a_deleted_one(storage: BaseStorage, sampler: GASampler) -> Study:
    """Return a new study with the id of a deleted one, whose last trials were best."""
    run(sampler, 12, lambda t: constant(t) - t.number, study_name="again", storage=storage)
    optuna.delete_study(study_name="again", storage=storage)
    return optuna.create_study(study_name="again", storage=storage, sampler=sampler)


def test_nothing_is_remembered_of_a_deleted_study(open_database: OpenDatabase) -> None:
    """A study with a deleted one's id equals a study that never had a predecessor."""
    study = study_after_a_deleted_one(open_database(), of_four())
    study.optimize(sphere, n_trials=12)

    assert story(run(of_four(), 12)) == story(study)


@pytest.mark.parametrize(("n_added", "elitism"), [(4, False), (8, False), (20, True)])
def test_nothing_is_remembered_of_a_deleted_study_when_trials_are_added(
    open_database: OpenDatabase, n_added: int, elitism: bool
) -> None:
    """The same holds if the new study begins with added trials."""
    study = study_after_a_deleted_one(open_database(), of_four(elitism=elitism))
    study.add_trials([added(number) for number in range(n_added)])

    assert next_parents(study) == ({0, 1} if elitism else {n_added - 4, n_added - 3})


def taken_over(trial: Trial) -> Trial:
    """Return a running trial as another process opens it."""
    return Trial(trial.study, trial._trial_id)


def the_same(trial: Trial) -> Trial:
    """Return the running trial itself."""
    return trial


@pytest.mark.parametrize("go_on", [taken_over, the_same])
def test_a_half_suggested_trial_expresses_the_same_genes(go_on: Callable[[Trial], Trial]) -> None:
    """A trial keeps its parents when its sampler is lost and better results arrive."""
    stories = []
    for interrupt in (False, True):
        study = run(of_four(), 7)
        late, trial = study.ask(), study.ask()
        trial.suggest_float("x", -1.0, 1.0)
        if interrupt:
            sphere(late)
            study.tell(late, -1.0)
            study.sampler = of_four()
            trial = go_on(trial)
        sphere(trial)
        stories.append(story(study)[trial.number])

    assert stories[0] == stories[1]


@pytest.mark.parametrize("record", [True, False])
def test_a_trial_keeps_its_parents_while_results_come_in(record: bool) -> None:
    """All genes of a trial come from two parents, though better trials finish in between."""
    stories = []
    for interrupt in (False, True):
        study = run(of_four(record=record), 7)
        late, trial = study.ask(), study.ask()
        trial.suggest_float("x", -1.0, 1.0)
        if interrupt:
            sphere(late)
            study.tell(late, -1.0)
        sphere(trial)
        stories.append(story(study)[trial.number])

    assert stories[0] == stories[1]

"""`ignored_trials`: which trials it names, and that asking changes nothing."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import optuna
import pytest
from optuna import Study, Trial
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from optuna_ga import GASampler, ignored_trials
from optuna_ga._breeding.adaptive_settings import MODELLED
from tests.logs import messages_of
from tests.studies import OpenDatabase, bad_by_chance, run, sphere, story


def failing_by_chance(trial: Trial) -> float:
    """Return the sphere's value, of every sixth trial none."""
    value = sphere(trial)
    return math.nan if trial.number % 6 == 5 else value


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What the sampler logs."""
    with messages_of("optuna.sampler", logging.INFO) as messages:
        yield messages


def numbers(study: Study) -> list[int]:
    """Return the numbers of the trials that are ignored."""
    return [trial.number for trial in ignored_trials(study)]


@pytest.mark.parametrize("objective", [bad_by_chance, failing_by_chance])
@pytest.mark.parametrize("sampler", [RandomSampler, GASampler.adaptive])
def test_they_are_bad_by_chance(
    objective: Callable[[Trial], float], sampler: Callable[..., BaseSampler]
) -> None:
    """No other is ignored, whichever sampler suggested the trials."""
    found = numbers(run(sampler(seed=1), 40, objective))

    assert found
    assert found == sorted(found)
    assert {number % 6 for number in found} == {5}


def test_without_bad_trials_there_are_none() -> None:
    """Nor among the first trials, from which no model learns yet."""
    assert numbers(run(GASampler.adaptive(seed=0), 60)) == []
    assert numbers(run(RandomSampler(seed=0), 2, bad_by_chance)) == []
    assert numbers(optuna.create_study()) == []


@pytest.mark.parametrize(
    "changes",
    [{"surrogate": False}, {"tuning": replace(MODELLED, later=None, max_loss_residual=math.inf)}],
)
def test_the_settings_of_the_studys_sampler_count(changes: dict[str, Any]) -> None:
    """Without a model, or with another limit, nothing is ignored."""
    study = run(GASampler.adaptive(seed=0), 60, bad_by_chance)
    assert numbers(study)

    study.sampler = GASampler.from_settings(replace(GASampler.adaptive().settings, **changes))

    assert numbers(study) == []


def test_a_search_goes_on_as_if_nobody_had_asked() -> None:
    """Also in the middle of a generation; the study is not written to."""

    def ask(study: Study, trial: FrozenTrial) -> None:
        before = story(study), study.user_attrs
        ignored_trials(study)
        assert (story(study), study.user_attrs) == before

    asked = optuna.create_study(sampler=GASampler.adaptive(seed=0))
    asked.optimize(bad_by_chance, n_trials=40, callbacks=[ask])

    assert story(asked) == story(run(GASampler.adaptive(seed=0), 40, bad_by_chance))


def test_a_stored_study_names_the_same(open_database: OpenDatabase) -> None:
    """When it is loaded to be looked at, with Optuna's sampler."""
    study = run(GASampler.adaptive(seed=0), 60, bad_by_chance, storage=open_database())
    loaded = optuna.load_study(study_name=study.study_name, storage=open_database())

    assert numbers(loaded) == numbers(study) != []


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]])
def test_the_first_value_that_is_ignored_is_logged(
    directions: list[Literal["minimize", "maximize"]], logged: list[str]
) -> None:
    """Once for each study; failures are not, since Optuna logs these."""
    several = len(directions) > 1

    def objective(trial: Trial) -> float | tuple[float, float]:
        value = bad_by_chance(trial)
        return (value, trial.params["x"]) if several else value

    study = optuna.create_study(sampler=GASampler.adaptive(seed=0), directions=directions)
    ignored: list[FrozenTrial] = []

    def note(study: Study, trial: FrozenTrial) -> None:
        if not ignored:
            ignored.extend(ignored_trials(study))

    study.optimize(objective, n_trials=60, callbacks=[note])
    values = ", ".join(f"{value:g}" for value in ignored[0].values)
    start = f"For now the sampler's model leaves out trial {ignored[0].number}, since "

    assert len(logged) == 1
    assert logged[0].startswith(start + ("of its values " if several else "its value ") + values)
    assert "The trial stays in the study" in logged[0]
    study.optimize(objective, n_trials=20)
    run(GASampler.adaptive(seed=0), 40, failing_by_chance)
    assert len(logged) == 1


def test_a_study_that_is_created_anew_logs_anew(logged: list[str]) -> None:
    """Its storage gives it the id of the old study."""
    sampler = GASampler.adaptive(seed=0)
    for _ in range(2):
        storage = optuna.storages.RDBStorage("sqlite://")
        run(sampler, 40, bad_by_chance, storage=storage, study_name="s")
        optuna.delete_study(study_name="s", storage=storage)
        run(sampler, 40, bad_by_chance, storage=storage, study_name="s")

    assert len(logged) == 4


def test_with_two_objectives_values_and_failures_are_named() -> None:
    """Those that are bad by chance, and no trial of the front."""

    def objective(trial: Trial) -> tuple[float, float]:
        value = failing_by_chance(trial) + (4.0 if trial.number % 6 == 2 else 0.0)
        return value, (trial.params["x"] - 0.5) ** 2

    study = run(RandomSampler(seed=0), 60, objective, directions=["minimize"] * 2)
    found = numbers(study)

    assert {number % 6 for number in found} == {2, 5}
    assert not {*found} & {trial.number for trial in study.best_trials}


def test_a_failure_whose_values_have_succeeded_is_not_named() -> None:
    """The model learns from the other result."""
    study = run(GASampler.adaptive(seed=1), 40, failing_by_chance)
    (failed, *_) = ignored_trials(study)
    study.enqueue_trial(failed.params)
    study.optimize(sphere, n_trials=1)

    assert failed.number not in numbers(study)


def test_what_is_no_study_is_refused() -> None:
    """The error names the argument."""
    with pytest.raises(TypeError, match=r"`study` must be an `optuna.Study`"):
        ignored_trials(None)  # type: ignore[arg-type]

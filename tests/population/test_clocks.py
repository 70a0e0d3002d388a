"""Late results are known by numbers and order, whatever clocks say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

import optuna
import pytest
from optuna import Study
from optuna.samplers import RandomSampler
from optuna.storages import _in_memory

from optuna_ga import GASampler
from tests.studies import next_parents, of_four, overtaken, parents, run, sphere

SetClock = Callable[..., None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Return a function that shifts in-memory storage's clock, or lets it show whole hours."""

    def set_clock(shift: timedelta = timedelta(0), *, whole_hours: bool = False) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                time = datetime.now(tz) + shift
                return time.replace(minute=0, second=0, microsecond=0) if whole_hours else time

        monkeypatch.setattr(_in_memory, "datetime", Clock)

    return set_clock


def generations_of_parents(study: Study, first: int) -> set[int]:
    """Return how many generations before a trial its parents lie, from trial `first` on."""
    return {trial.number // 4 - n // 4 for trial in study.trials[first:] for n in parents(trial)}


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("avoid_duplicates", [False, True])
def test_a_clock_that_is_set_changes_no_search(
    set_clock: SetClock, hours: int, record: bool, avoid_duplicates: bool
) -> None:
    """One process, trial after trial, takes parents from the generation before alone."""
    make = of_four(record=record, avoid_duplicates=avoid_duplicates)
    expected = run(make, 40)
    study = run(GASampler.from_settings(make.settings), 18)
    set_clock(timedelta(hours=hours))
    study.optimize(sphere, n_trials=22)

    assert [trial.params for trial in study.trials] == [trial.params for trial in expected.trials]


def test_a_clock_that_is_set_changes_no_search_that_another_process_resumes(
    set_clock: SetClock,
) -> None:
    """Late trials are recorded; a restart and a clock set back are forgotten together."""
    study = run(of_four(), 18)
    for shift in (-1, 1, -2):
        set_clock(timedelta(hours=shift))
        study.sampler = of_four()
        study.optimize(sphere, n_trials=7)

    assert generations_of_parents(study, 4) == {1}


@pytest.mark.parametrize("restart", [False, True])
def test_a_late_result_is_in_the_next_pool_where_times_are_coarse(
    set_clock: SetClock, restart: bool
) -> None:
    """Databases may keep whole seconds, in which short trials begin and end."""
    set_clock(whole_hours=True)
    study = overtaken(of_four())
    study.sampler = of_four() if restart else study.sampler
    study.optimize(sphere, n_trials=12)

    assert all(3 in parents(trial) for trial in study.trials[8:12])
    assert not any(3 in parents(trial) for trial in study.trials[12:])


@pytest.mark.parametrize("record", [False, True])
def test_punctual_results_are_in_one_pool_where_times_are_coarse(
    set_clock: SetClock, record: bool
) -> None:
    """Equal times make no trial late that was not."""
    set_clock(whole_hours=True)
    study = optuna.create_study(sampler=of_four(record=record))
    study.optimize(sphere, n_trials=40)
    expected = run(of_four(), 40)

    assert [trial.params for trial in study.trials] == [trial.params for trial in expected.trials]


def test_trials_of_another_sampler_are_late_if_times_do_not_deny_it(set_clock: SetClock) -> None:
    """Nothing is recorded there, and the times are equal."""
    set_clock(whole_hours=True)
    study = overtaken(RandomSampler(0))
    study.sampler = of_four()

    assert 3 in next_parents(study)


def test_a_trial_that_is_opened_again_keeps_its_record() -> None:
    """Trial 4 started before trial 3 had finished, though it is evaluated again afterwards."""
    study = optuna.create_study(sampler=of_four())
    trials = [study.ask() for _ in range(5)]
    for trial in trials[:3]:
        study.tell(trial, sphere(trial))
    study.tell(trials[3], -1.0, skip_if_finished=True)
    study.sampler = of_four()
    again = optuna.trial.Trial(study, trials[4]._trial_id)
    study.tell(again, sphere(again))
    study.optimize(sphere, n_trials=7)

    assert all(3 in parents(trial) for trial in study.trials[8:])

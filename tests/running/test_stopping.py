"""Callbacks, stops, timeouts and broken storage."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna import Study, Trial, TrialPruned
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import optimize_generations
from tests.running.evaluations import (
    COMPLETE,
    FAIL,
    PRUNED,
    Recorder,
    after_results,
    random_study,
    spheres,
    states,
    stop_at,
    values,
)
from tests.studies import sphere


def test_callbacks_get_each_finished_trial_in_order() -> None:
    """Callbacks get the study and each trial, failed and pruned ones included."""
    study = random_study()
    seen: list[tuple[str, Study, int, TrialState]] = []
    after_results(
        study,
        1.0,
        None,
        TrialPruned(),
        callbacks=[
            lambda study, trial: seen.append(("first", study, trial.number, trial.state)),
            lambda study, trial: seen.append(("second", study, trial.number, trial.state)),
        ],
    )

    assert seen == [
        (name, study, number, state)
        for number, state in enumerate([COMPLETE, FAIL, PRUNED])
        for name in ("first", "second")
    ]


@pytest.mark.parametrize("number", [3, 5])
def test_a_callback_may_stop_the_study(number: int) -> None:
    """The results of the generation are recorded, and no further generation starts."""
    study = random_study()
    optimize_generations(study, spheres, 9, population_size=3, callbacks=[stop_at(number)])
    assert states(study) == [COMPLETE] * 6

    optimize_generations(study, spheres, 9, population_size=3, callbacks=[stop_at(number + 3)])
    assert states(study) == [COMPLETE] * 9

    optimize_generations(study, spheres, 5, population_size=3)
    assert states(study) == [COMPLETE] * 15


def test_an_evaluation_may_stop_the_study() -> None:
    """Its generation is the last."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        trials[0].study.stop()
        return spheres(trials)

    study = random_study()
    optimize_generations(study, evaluate, 9, population_size=3)
    assert states(study) == [COMPLETE] * 3


@pytest.mark.parametrize("result", [1.0, RuntimeError()])
def test_the_study_can_be_stopped_only_while_it_is_optimized(result: Any) -> None:
    """After the call, even one that raised, `study.stop()` raises as before it."""
    study = random_study()
    after_results(study, result, catch=RuntimeError)
    with pytest.raises(ZeroDivisionError):
        optimize_generations(study, lambda _: [ZeroDivisionError()], 2, population_size=1)

    with pytest.raises(RuntimeError, match=r"Study\.stop"):
        study.stop()
    study.optimize(sphere, n_trials=1)
    assert len(study.trials) == 3


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_all_results_are_recorded_though_a_callback_raises(kind: type[BaseException]) -> None:
    """The callback's error is raised, whatever `catch` says."""

    def observe(study: Study, trial: FrozenTrial) -> None:
        if trial.number == 1:
            raise kind("callback")

    study = random_study()
    with pytest.raises(kind, match="callback"):
        after_results(study, 0.0, 1.0, None, 3.0, catch=ValueError, callbacks=[observe])
    assert states(study) == [COMPLETE, COMPLETE, FAIL, COMPLETE]
    assert values(study) == [[0.0], [1.0], None, [3.0]]


@pytest.mark.parametrize(("timeout", "n_begun"), [(0, 1), (0.0, 1), (math.inf, 4), (None, 4)])
def test_no_generation_is_begun_after_the_timeout(timeout: float | None, n_begun: int) -> None:
    """The first generation always starts, even with a timeout of zero."""
    evaluate = Recorder()
    optimize_generations(random_study(), evaluate, 4, population_size=2, timeout=timeout)

    assert len(evaluate.calls) == n_begun


def raises_at(call: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, made to raise in its n-th call."""
    n_calls = 0

    def raising(*args: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == call:
            raise OSError("unavailable")
        return function(*args)

    return raising


def test_a_storage_error_leaves_no_trial_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trials of an incomplete generation fail, and a later call resumes."""
    study = random_study()
    storage = study._storage
    monkeypatch.setattr(storage, "create_new_trial", raises_at(6, storage.create_new_trial))
    with pytest.raises(OSError, match="unavailable"):
        optimize_generations(study, spheres, 3, population_size=3)
    assert states(study) == [COMPLETE] * 3 + [FAIL] * 2

    optimize_generations(study, spheres, 3, population_size=3)
    assert states(study) == [COMPLETE] * 3 + [FAIL] * 2 + [COMPLETE] * 4


def test_a_sampler_error_leaves_none_of_the_trials_it_gave_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The trial that raised and those before it in the generation fail."""
    study = random_study()
    sampler = study.sampler
    monkeypatch.setattr(sampler, "before_trial", raises_at(3, sampler.before_trial))
    with pytest.raises(OSError, match="unavailable"):
        optimize_generations(study, spheres, 2, population_size=3)
    assert states(study) == [FAIL] * 3

    optimize_generations(study, spheres, 2, population_size=3)
    assert len(study.trials) == 6
    assert all(state.is_finished() for state in states(study))


class Fragile(RandomSampler):
    """A sampler that raises an error after trials 1 and 3, whatever their results."""

    def __init__(self, error: Exception) -> None:
        super().__init__(seed=0)
        self._error = error

    def after_trial(self, study: Study, trial: FrozenTrial, *result: Any) -> None:
        """Fail."""
        if trial.number in (1, 3):
            raise self._error


@pytest.mark.parametrize("error", [KeyError("c"), ValueError("NaN")])
def test_errors_of_a_sampler_cost_no_trial_its_result(error: Exception) -> None:
    """The first is raised once all trials are told."""
    study = optuna.create_study(sampler=Fragile(error))
    with pytest.raises(type(error)) as caught:
        after_results(study, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0)

    assert caught.value is error
    assert values(study) == [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]


class Away(InMemoryStorage):
    """A storage that is out of reach once two trials have been told."""

    n_told = 0

    def set_trial_state_values(self, *arguments: Any, **options: Any) -> bool:
        """Fail from the third trial on."""
        if self.n_told == 2:
            raise OSError("away")
        self.n_told += 1
        return super().set_trial_state_values(*arguments, **options)


def test_results_that_cannot_be_told_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """A callback's error is under way already, so the log says which trials stay running."""

    def fails(study: Study, trial: FrozenTrial) -> None:
        if trial.number == 1:
            raise KeyError("callback")

    study = optuna.create_study(storage=Away())
    logger = optuna.logging.get_logger("optuna.generations")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.WARNING, logger.name), pytest.raises(KeyError, match="callback"):
        optimize_generations(
            study, lambda trials: [0.0] * len(trials), 1, population_size=4, callbacks=[fails]
        )
    logger.removeHandler(caplog.handler)

    assert "away" in caplog.text
    assert "run again to evaluate trials 2, 3." in caplog.text
    assert [state.name for state in states(study)] == ["COMPLETE"] * 2 + ["RUNNING"] * 2

"""A killed run resumes to the study of an undisturbed one."""

from __future__ import annotations

import itertools
import logging
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study, Trial, TrialPruned
from optuna.pruners import ThresholdPruner
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import GASampler, InParallel, optimize_generations
from tests.logs import messages_of
from tests.processes import exit_codes
from tests.running.evaluations import (
    COMPLETE,
    FAIL,
    PRUNED,
    REPORTS,
    RUNNING,
    Recorder,
    random_study,
    spheres,
    states,
    stop_at,
    values,
    with_reports,
)
from tests.studies import OpenDatabase, added, of_four, run, sphere, story

slow = partial(pytest.param, marks=pytest.mark.slow)


def die() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


class MortalStudy(Study):
    """A study whose process dies when it has asked for trial 9."""

    def ask(self, *args: Any, **options: Any) -> Trial:
        trial = super().ask(*args, **options)
        if trial.number == 9:
            die()
        return trial


def run_until_killed(url: str, moment: str, elitism: bool) -> None:
    """Run four generations, and die in the third at a given moment."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        if moment == "evaluate" and trials[0].number == 8:
            with_reports(trials[:1])
            trials[1].report(sphere(trials[1]), 0)
            trials[3].suggest_float("x", -1.0, 1.0)
            die()
        return with_reports(trials)

    def observe(study: Study, trial: FrozenTrial) -> None:
        if moment == "tell" and trial.number == 9:
            die()

    optuna.create_study(study_name="killed", storage=url)
    kind = MortalStudy if moment == "ask" else Study
    study = kind("killed", url, sampler=of_four(elitism=elitism))
    optimize_generations(study, evaluate, 4, callbacks=[observe])


@pytest.mark.parametrize(
    ("moment", "elitism", "resumed"),
    [
        slow("ask", False, [8, 9, 10, 11]),
        slow("evaluate", False, [8, 9, 10, 11]),
        ("evaluate", True, [8, 9, 10, 11]),
        slow("tell", False, [10, 11]),
        slow("tell", True, [10, 11]),
    ],
)
def test_a_killed_run_resumes_as_if_it_had_not_been(
    open_database: OpenDatabase, tmp_path: Path, moment: str, elitism: bool, resumed: list[int]
) -> None:
    """Left-over trials are evaluated again under their own numbers; the study is the same."""
    url = f"sqlite:///{tmp_path}/study.db"
    assert exit_codes(run_until_killed, url, moment, elitism) == [-signal.SIGKILL]

    study = optuna.load_study(
        study_name="killed", storage=open_database(), sampler=of_four(elitism=elitism)
    )
    assert TrialState.RUNNING in states(study)
    evaluate = Recorder(with_reports)
    optimize_generations(study, evaluate, 4)

    whole = optuna.create_study(sampler=of_four(elitism=elitism))
    optimize_generations(whole, with_reports, 4)
    assert evaluate.calls == [resumed, [12, 13, 14, 15]]
    assert story(whole) == story(study)
    for one, other in zip(whole.trials, study.trials, strict=True):
        assert one.intermediate_values == other.intermediate_values
        assert len(one.intermediate_values) == REPORTS


def run_until_interrupted(url: str, kind: str, how: signal.Signals, calls: str) -> None:
    """Run four generations, interrupted in trial 10."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background ignores it.
    study = optuna.create_study(study_name="killed", storage=url, sampler=sampler_of(kind))
    optimize_generations(study, evaluations(calls, how), 4)


def sampler_of(kind: str) -> GASampler:
    """Return one of two samplers; the adaptive one learns from every finished trial."""
    return of_four() if kind == "plain" else GASampler.adaptive(4, surrogate=False, seed=0)


def evaluations(calls: str, signal_at_ten: int | None = None) -> Callable[[list[Trial]], Any]:
    """Return an evaluation, trial by trial, that is interrupted in trial 10.

    Args:
        calls: A file that gets the number of each trial that is evaluated.
        signal_at_ten: The signal that interrupts; None for no interruption.
    """

    def objective(trial: Trial) -> float:
        with Path(calls).open("a") as file:
            file.write(f"{trial.number}\n")
        trial.suggest_float("x", -1.0, 1.0)
        if trial.number == 10 and signal_at_ten is not None:
            os.kill(os.getpid(), signal_at_ten)
            time.sleep(60)
        if trial.number == 9:
            raise TrialPruned
        return math.inf if trial.number == 8 else sphere(trial)

    return lambda trials: map(objective, trials)


@pytest.mark.parametrize(
    ("kind", "how", "code"),
    [
        ("plain", signal.SIGKILL, -signal.SIGKILL),
        slow("adaptive", signal.SIGTERM, 143),
        slow("plain", signal.SIGINT, 1),
        slow("adaptive", signal.SIGKILL, -signal.SIGKILL),
        slow("plain", signal.SIGTERM, 143),
        slow("adaptive", signal.SIGINT, 1),
    ],
)
def test_an_interruption_costs_the_trial_that_was_being_evaluated(
    open_database: OpenDatabase, tmp_path: Path, kind: str, how: signal.Signals, code: int
) -> None:
    """Results that came before it are kept, and the study is that of an undisturbed run."""
    calls = tmp_path / "calls"
    url = f"sqlite:///{tmp_path}/study.db"
    assert exit_codes(run_until_interrupted, url, kind, how, str(calls)) == [code]

    study = optuna.load_study(
        study_name="killed", storage=open_database(), sampler=sampler_of(kind)
    )
    assert TrialState.FAIL not in states(study)
    optimize_generations(study, evaluations(str(calls)), 4)

    whole = optuna.create_study(sampler=sampler_of(kind))
    optimize_generations(whole, evaluations(str(tmp_path / "others")), 4)
    assert story(whole) == story(study)
    assert calls.read_text().split() == [*map(str, range(11)), *map(str, range(10, 16))]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, BrokenExecutor])
def test_whatever_interrupts_leaves_trials_running(kind: type[BaseException]) -> None:
    """Neither `catch` nor a common evaluation makes an interruption a result."""

    def evaluate(trials: list[Trial]) -> list[float]:
        sphere(trials[0])
        if trials[0].number == 4:
            raise kind("halt")
        return spheres(trials)

    study = optuna.create_study(sampler=of_four())
    with pytest.raises(kind, match="halt"):
        optimize_generations(study, evaluate, 3, catch=Exception)
    assert states(study) == [COMPLETE] * 4 + [TrialState.RUNNING] * 4

    optimize_generations(study, spheres, 3)
    assert story(study) == story(run(of_four(), 12))


def test_an_interruption_among_results_costs_no_other_result() -> None:
    """Only its trial is evaluated again."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        return [CancelledError() if t.number == 1 else sphere(t) for t in trials]

    study = optuna.create_study(sampler=of_four())
    with pytest.raises(CancelledError):
        optimize_generations(study, evaluate, 2)
    recorder = Recorder()
    optimize_generations(study, recorder, 2)

    assert recorder.calls == [[1], [4, 5, 6, 7]]
    assert story(study) == story(run(of_four(), 8))


@pytest.mark.parametrize("moment", ["before_trial", "create_new_trial"])
def test_an_interruption_while_asking_costs_no_trial(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials that have started stay running."""
    study = optuna.create_study(sampler=of_four())
    place = study.sampler if moment == "before_trial" else study._storage
    n_calls, original = itertools.count(), getattr(place, moment)

    def interrupted(*args: Any, **options: Any) -> Any:
        if next(n_calls) == 5:
            raise KeyboardInterrupt
        return original(*args, **options)

    monkeypatch.setattr(place, moment, interrupted)
    with pytest.raises(KeyboardInterrupt):
        optimize_generations(study, spheres, 3)
    assert set(states(study)) == {COMPLETE, TrialState.RUNNING}

    optimize_generations(study, spheres, 3)
    assert story(study) == story(run(of_four(), 12))


def test_a_left_over_trial_is_finished_though_no_generation_is_missing() -> None:
    """No trial stays running, even if there are enough trials."""
    study = run(of_four(), 7)
    study.ask()
    evaluate = Recorder()
    optimize_generations(study, evaluate, 1)

    assert evaluate.calls == [[7]]
    assert story(run(of_four(), 8)) == story(study)


def test_a_resumed_trial_can_be_pruned_by_what_it_reported() -> None:
    """Its first report of a step counts; reporting the step again changes nothing."""
    study = random_study(pruner=ThresholdPruner(upper=1.0))
    study.ask().report(2.0, 0)

    def evaluate(trials: list[Trial]) -> list[Any]:
        trials[0].report(0.5, 0)
        return [TrialPruned() if trials[0].should_prune() else 0.0]

    optimize_generations(study, evaluate, 1, population_size=1)
    assert states(study) == [PRUNED]
    assert values(study) == [[2.0]]


def test_a_resumed_trial_is_pruned_no_earlier_than_if_it_had_run_through() -> None:
    """Its pruner sees no step that it has not come to again."""

    def objective(trial: Trial) -> float:
        for step in range(4):
            trial.report(2.0 if step == 3 else 0.5, step)
            trial.set_user_attr("steps", step + 1)
            if trial.should_prune():
                raise TrialPruned
        return 0.0

    study = random_study(pruner=ThresholdPruner(upper=1.0))
    trial = study.ask()
    for step in range(4):  # Interrupted after the last report.
        trial.report(2.0 if step == 3 else 0.5, step)
    optimize_generations(study, lambda trials: map(objective, trials), 1, population_size=1)

    assert (states(study), values(study)) == ([PRUNED], [[2.0]])
    assert study.trials[0].user_attrs == {"steps": 4}


@pytest.mark.parametrize("first", [True, False], ids=["suggests-first", "suggests-later"])
@pytest.mark.parametrize("kind", [list, slow(iter)])
def test_a_second_call_on_the_same_study_is_named(
    kind: Callable[[Any], Any], first: bool, open_database: OpenDatabase
) -> None:
    """It takes over the running trials; the first call says so and changes no result."""
    study = optuna.create_study(study_name="s", storage=open_database(), sampler=of_four())

    def evaluate(trials: list[Trial]) -> Any:
        values = spheres(trials) if first else []
        other = optuna.load_study(study_name="s", storage=open_database(), sampler=of_four())
        optimize_generations(other, lambda trials: map(sphere, trials), 2)
        return kind(values or spheres(trials))

    with pytest.raises(RuntimeError, match="Trial 0 has been finished by another call"):
        optimize_generations(study, evaluate, 2)
    assert story(study) == story(run(of_four(), 8))


class Interrupted:
    """An objective that does something in trial 5, and is interrupted in trial 6, once.

    Args:
        in_trial_five: What it does there.
    """

    def __init__(self, in_trial_five: Callable[[Trial], object]) -> None:
        self.calls: list[int] = []
        self._in_trial_five = in_trial_five

    def __call__(self, trial: Trial) -> float:
        self.calls.append(trial.number)
        value = sphere(trial)
        if trial.number == 5:
            self._in_trial_five(trial)
        if trial.number == 6 and self.calls.count(6) == 1:
            raise KeyboardInterrupt
        return value


def raise_a_bug(trial: Trial) -> None:
    """Raise an error."""
    raise ZeroDivisionError("bug")


def mapped(objective: Callable[[Trial], float]) -> Callable[[list[Trial]], Any]:
    """Return an evaluation, trial by trial."""
    return lambda trials: map(objective, trials)


def in_a_thread(objective: Callable[[Trial], float]) -> Callable[[list[Trial]], Any]:
    """Return an evaluation by a single thread, which goes on after an interruption."""
    return InParallel(objective, ThreadPoolExecutor(1))


def listed(objective: Callable[[Trial], float]) -> Callable[[list[Trial]], Any]:
    """Return an evaluation that lists results, interruptions among them."""

    def result(trial: Trial) -> Any:
        try:
            return objective(trial)
        except BaseException as error:
            return error

    return lambda trials: [result(trial) for trial in trials]


EVALUATIONS = [mapped, in_a_thread, listed]


@pytest.mark.parametrize(
    ("evaluation", "named"),
    [(mapped, "trials 6, 7"), (in_a_thread, "trial 6"), (listed, "trial 6")],
)
def test_an_interruption_names_the_trials_that_are_evaluated_again(
    evaluation: Callable[..., Any], named: str
) -> None:
    """Those are what the next run calls the objective with, and no other."""
    objective = Interrupted(lambda trial: None)
    study = optuna.create_study(sampler=of_four())
    with (
        messages_of("optuna.generations", logging.WARNING) as messages,
        pytest.raises(KeyboardInterrupt),
    ):
        optimize_generations(study, evaluation(objective), 2)
    assert [f"to evaluate {named} and to continue" in message for message in messages] == [True]

    n_calls = len(objective.calls)
    optimize_generations(study, mapped(objective), 2)
    assert objective.calls[n_calls:] == [int(number) for number in re.findall("[0-9]+", named)]


def test_an_interruption_names_a_trial_whose_error_is_to_end_the_search() -> None:
    """It is evaluated again, too, since its error is not kept."""
    objective = Interrupted(raise_a_bug)
    study = optuna.create_study(sampler=of_four())
    with (
        messages_of("optuna.generations", logging.WARNING) as messages,
        pytest.raises(KeyboardInterrupt),
    ):
        optimize_generations(study, mapped(objective), 2)

    assert "to evaluate trials 5, 6, 7 and" in messages[0]


@pytest.mark.parametrize("evaluation", EVALUATIONS)
def test_a_stop_outlives_an_interruption(evaluation: Callable[..., Any]) -> None:
    """Trial 5, whose result is kept, is not evaluated again to call `study.stop()` again."""
    objective = Interrupted(lambda trial: trial.study.stop())
    study = optuna.create_study(sampler=of_four())
    with pytest.raises(KeyboardInterrupt):
        optimize_generations(study, evaluation(objective), 4)
    assert states(study) == [COMPLETE] * 4 + [RUNNING] * 4

    optimize_generations(study, evaluation(objective), 4)
    assert objective.calls.count(5) == 1
    assert story(study) == story(run(of_four(), 8))

    optimize_generations(study, evaluation(objective), 4)
    assert story(study) == story(run(of_four(), 16))


@pytest.mark.parametrize("stops_in", ["evaluate", "callback"])
def test_a_stop_outlives_a_kill_between_two_results(
    stops_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trial 5 is told, so that only trials that are still running can say it."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        if trials[0].number == 4 and stops_in == "evaluate":
            trials[0].study.stop()
        return spheres(trials)

    study = optuna.create_study(sampler=of_four())
    finish = study._storage.set_trial_state_values
    callbacks = [stop_at(5)] if stops_in == "callback" else []

    def dying(trial_id: int, *result: Any) -> bool:
        if study._storage.get_trial(trial_id).number == 6:
            raise SystemExit
        return finish(trial_id, *result)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(study._storage, "set_trial_state_values", dying)
        optimize_generations(study, evaluate, 4, callbacks=callbacks)
    assert states(study) == [COMPLETE] * 6 + [RUNNING] * 2

    optimize_generations(study, evaluate, 4)
    assert story(study) == story(run(of_four(), 8))


@pytest.mark.parametrize("evaluation", EVALUATIONS)
def test_an_error_that_ends_a_search_ends_it_after_an_interruption(
    evaluation: Callable[..., Any],
) -> None:
    """Its trial is evaluated again, and raises again."""
    objective = Interrupted(raise_a_bug)
    study = optuna.create_study(sampler=of_four())
    with pytest.raises(KeyboardInterrupt):
        optimize_generations(study, evaluation(objective), 4)
    assert states(study) == [COMPLETE] * 4 + [RUNNING] * 4

    with pytest.raises(ZeroDivisionError, match="bug"):
        optimize_generations(study, evaluation(objective), 4)
    assert states(study) == [COMPLETE] * 5 + [FAIL] + [COMPLETE] * 2
    assert [objective.calls.count(number) for number in (4, 5)] == [1, 2]


@pytest.mark.parametrize("evaluation", EVALUATIONS)
def test_a_caught_error_is_kept(evaluation: Callable[..., Any]) -> None:
    """It is a result like any other."""
    objective = Interrupted(raise_a_bug)
    study = optuna.create_study(sampler=of_four())
    with pytest.raises(KeyboardInterrupt):
        optimize_generations(study, evaluation(objective), 2, catch=ZeroDivisionError)
    optimize_generations(study, evaluation(objective), 2, catch=ZeroDivisionError)

    assert states(study) == [COMPLETE] * 5 + [FAIL] + [COMPLETE] * 2
    assert objective.calls.count(5) == 1


def adding_at_two(study: Study, trial: FrozenTrial) -> None:
    """Add a finished trial to the study when trial 2 is told."""
    if trial.number == 2:
        study.add_trial(added(0.5))


def test_trials_that_a_callback_adds_count() -> None:
    """The next generation is filled up, so that all later ones are whole."""
    evaluate, study = Recorder(), optuna.create_study(sampler=of_four())
    optimize_generations(study, evaluate, 4, callbacks=[adding_at_two])

    assert evaluate.calls == [[0, 1, 2, 3], [5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]


def test_a_kill_after_a_callback_has_added_a_trial_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The trial that was not told belongs to an earlier generation than those not yet asked."""

    def kill(study: Study, trial: FrozenTrial) -> None:
        if trial.number == 2:
            monkeypatch.setattr(study, "tell", die_softly)

    study = optuna.create_study(sampler=of_four())
    with pytest.raises(SystemExit):
        optimize_generations(study, spheres, 4, callbacks=[adding_at_two, kill])
    assert states(study) == [COMPLETE] * 3 + [RUNNING, COMPLETE]
    monkeypatch.undo()
    evaluate = Recorder()
    optimize_generations(study, evaluate, 4)

    whole = optuna.create_study(sampler=of_four())
    optimize_generations(whole, spheres, 4, callbacks=[adding_at_two])
    assert evaluate.calls == [[3], [5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
    assert story(study) == story(whole)


def die_softly(*args: Any, **options: Any) -> None:
    """Stand in for a method of a process that ends there."""
    raise SystemExit


def test_a_call_that_finds_nothing_to_do_says_so() -> None:
    """A user may take the total of generations for further ones."""
    study = optuna.create_study(sampler=of_four())
    with messages_of("optuna.generations", logging.INFO) as messages:
        optimize_generations(study, spheres, 2)
        assert not any("Nothing to evaluate" in message for message in messages)
        messages.clear()
        optimize_generations(study, spheres, 2)

    (message,) = messages
    assert "2 generations of 4 trials are the total, and 8 trials have finished" in message


@pytest.mark.parametrize("n_finished", [4, 5, 6])
def test_a_left_over_trial_beyond_the_total_is_finished_alone(n_finished: int) -> None:
    """No trial joins it, since no generation is missing."""
    study = run(of_four(), n_finished)
    study.ask()
    evaluate = Recorder()
    optimize_generations(study, evaluate, 1)

    assert evaluate.calls == [[n_finished]]
    assert story(run(of_four(), n_finished + 1)) == story(study)


def test_an_interruption_gives_up_no_trial() -> None:
    """Only of a trial that breaks executors does the advice say how to go on without it."""
    objective = Interrupted(lambda trial: None)
    with (
        messages_of("optuna.generations", logging.WARNING) as messages,
        pytest.raises(KeyboardInterrupt),
    ):
        optimize_generations(optuna.create_study(sampler=of_four()), mapped(objective), 2)

    assert messages == [
        "The evaluation was interrupted. Results that have come are kept: run again to evaluate "
        "trials 6, 7 and to continue."
    ]


class Deaf(InMemoryStorage):
    """A storage that is interrupted, once, as it is to write what has mutated."""

    interrupts = True

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        if key == "ga_mutated" and self.interrupts:
            self.interrupts = False
            raise KeyboardInterrupt
        super().set_trial_user_attr(trial_id, key, value)


def test_mutated_genes_are_recorded_if_that_is_interrupted() -> None:
    """Optuna ends the trial even so, and no later run could record them."""
    study = optuna.create_study(sampler=of_four(), storage=Deaf())
    with pytest.raises(KeyboardInterrupt):
        optimize_generations(study, spheres, 3)
    optimize_generations(study, spheres, 3)

    assert story(study) == story(run(of_four(), 12))

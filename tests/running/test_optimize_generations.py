"""Generation by generation: the same trials as one by one, whatever happens in between."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna import Study, Trial, TrialPruned
from optuna.pruners import ThresholdPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import optimize_generations
from tests.studies import OpenDatabase, of_four, run, sphere, story
from tests.terminals import open_terminal

COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
REPORTS = 3

KILLED = """
import os, signal, sys
import optuna
from optuna_ga import optimize_generations
from tests.studies import of_four, sphere
from tests.running.test_optimize_generations import with_reports

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class MortalStudy(optuna.Study):
    def ask(self, *args, **options):
        trial = super().ask(*args, **options)
        if moment == "ask" and trial.number == 9:
            die()
        return trial

def evaluate(trials):
    if moment == "evaluate" and trials[0].number == 8:
        with_reports(trials[:1])
        trials[1].report(sphere(trials[1]), 0)
        trials[3].suggest_float("x", -1.0, 1.0)
        die()
    return with_reports(trials)

def observe(study, trial):
    if moment == "tell" and trial.number == 9:
        die()

url, moment, elitism = sys.argv[1:]
sampler = of_four(elitism=elitism == "True")
optuna.create_study(study_name="killed", storage=url)
study = MortalStudy("killed", url, sampler=sampler)
optimize_generations(study, evaluate, 4, callbacks=[observe])
"""


def spheres(trials: Sequence[Trial]) -> list[Any]:
    """Evaluate a generation, one trial after another."""
    return [sphere(trial) for trial in trials]


def backwards(trials: Sequence[Trial]) -> list[Any]:
    """Evaluate a generation, beginning with its last trial."""
    return spheres(trials[::-1])[::-1]


def in_threads(trials: Sequence[Trial]) -> list[Any]:
    """Evaluate a generation, all trials at once."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(sphere, trials))


def with_reports(trials: Sequence[Trial]) -> list[Any]:
    """Evaluate a generation and report some values of each trial on the way."""
    for trial in trials:
        for step in range(REPORTS):
            trial.report(sphere(trial) + step, step)
    return spheres(trials)


class Recorder:
    """Evaluates generations, and keeps the numbers of the trials of each call."""

    def __init__(self, evaluate: Callable[[list[Trial]], Sequence[Any]] = spheres) -> None:
        self.calls: list[list[int]] = []
        self._evaluate = evaluate

    def __call__(self, trials: list[Trial]) -> Sequence[Any]:
        self.calls.append([trial.number for trial in trials])
        return self._evaluate(trials)


def random_study(**options: Any) -> Study:
    """Return a study whose sampler knows no generations."""
    return optuna.create_study(sampler=RandomSampler(seed=0), **options)


def after_results(study: Study, *results: Any, **options: Any) -> Study:
    """Return the study after one generation with these results."""
    options = {"population_size": len(results), **options}
    optimize_generations(study, lambda trials: results, 1, **options)
    return study


def states(study: Study) -> list[TrialState]:
    """Return the state of every trial."""
    return [trial.state for trial in study.trials]


def values(study: Study) -> list[list[float] | None]:
    """Return the values of every trial."""
    return [trial.values for trial in study.trials]


def stop_at(number: int) -> Callable[[Study, FrozenTrial], None]:
    """Return a callback that stops the study at this trial."""

    def observe(study: Study, trial: FrozenTrial) -> None:
        if trial.number == number:
            study.stop()

    return observe


# The same trials


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
    """A study in memory and one in a journal file have the same trials."""
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
    """A trial that reports and asks whether to go on is pruned as in `study.optimize`."""

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


# Calls and generations


@pytest.mark.parametrize("size", [1, 3])
def test_each_generation_is_one_call(size: int) -> None:
    """The evaluation gets every generation once, its trials in the order of their numbers."""
    evaluate = Recorder()
    optimize_generations(random_study(), evaluate, 4, population_size=size)

    assert evaluate.calls == [list(range(i * size, i * size + size)) for i in range(4)]


def test_the_population_size_of_the_sampler_may_be_overruled() -> None:
    """A given `population_size` goes before that of the sampler."""
    evaluate = Recorder()
    optimize_generations(optuna.create_study(sampler=of_four()), evaluate, 2, population_size=6)

    assert [len(numbers) for numbers in evaluate.calls] == [6, 6]


@pytest.mark.parametrize(
    "sampler",
    [RandomSampler(seed=0), NSGAIISampler(population_size=5, seed=0), TPESampler(seed=0)],
)
def test_any_sampler_serves(sampler: BaseSampler) -> None:
    """With a `population_size`, the sampler need not know generations."""
    evaluate = Recorder()
    study = optuna.create_study(sampler=sampler)
    optimize_generations(study, evaluate, 3, population_size=5)

    assert [len(numbers) for numbers in evaluate.calls] == [5, 5, 5]
    assert states(study) == [COMPLETE] * 15


@pytest.mark.parametrize("sampler", [RandomSampler(), TPESampler()])
def test_a_sampler_without_generations_needs_a_population_size(sampler: BaseSampler) -> None:
    """The error says what is missing and why, and nothing is begun."""
    study = optuna.create_study(sampler=sampler)

    with pytest.raises(ValueError, match=f"`population_size`.*{type(sampler).__name__}"):
        optimize_generations(study, spheres, 1)
    assert study.trials == []


def test_n_generations_is_the_total() -> None:
    """A later call does what is missing; there may be nothing."""
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
    """After trials from elsewhere, the first call completes a generation."""
    sampler = of_four()
    study = run(sampler, 3)
    evaluate = Recorder()
    optimize_generations(study, evaluate, n_generations)

    whole = [[4, 5, 6, 7], [8, 9, 10, 11]][: n_generations - 1]
    assert evaluate.calls == [[3], *whole]
    assert story(run(of_four(), 4 * n_generations)) == story(study)


def test_seven_of_ten_are_filled_up_to_ten() -> None:
    """What is there counts, and the next generations are whole."""
    evaluate = Recorder()
    study = run(RandomSampler(seed=0), 7)
    optimize_generations(study, evaluate, 3, population_size=10)

    assert evaluate.calls == [[7, 8, 9], list(range(10, 20)), list(range(20, 30))]


def test_enqueued_trials_are_taken_first() -> None:
    """They count as trials of their generation, and what exceeds it is taken by the next."""
    study = random_study()
    for i in range(4):
        study.enqueue_trial({"x": i / 8})
    evaluate = Recorder()
    optimize_generations(study, evaluate, 2, population_size=3)

    assert evaluate.calls == [[0, 1, 2], [3, 4, 5]]
    assert [trial.params["x"] for trial in study.trials[:4]] == [0.0, 0.125, 0.25, 0.375]
    assert states(study) == [COMPLETE] * 6


def test_enqueued_trials_beyond_the_last_generation_wait() -> None:
    """Those for which no generation is left wait for a later call."""
    study = random_study()
    for _ in range(4):
        study.enqueue_trial({"x": 0.5})
    optimize_generations(study, spheres, 1, population_size=3)
    assert states(study) == [COMPLETE] * 3 + [TrialState.WAITING]

    optimize_generations(study, spheres, 2, population_size=3)
    assert states(study) == [COMPLETE] * 6


# Killed and resumed


@pytest.mark.parametrize(
    ("moment", "elitism", "resumed"),
    [
        ("ask", False, [8, 9, 10, 11]),
        ("evaluate", False, [8, 9, 10, 11]),
        ("evaluate", True, [8, 9, 10, 11]),
        ("tell", False, [10, 11]),
        ("tell", True, [10, 11]),
    ],
)
def test_a_killed_run_resumes_as_if_it_had_not_been(
    open_database: OpenDatabase, tmp_path: Path, moment: str, elitism: bool, resumed: list[int]
) -> None:
    """Left-over trials are evaluated under their own numbers, and the study is the same."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, f"sqlite:///{tmp_path}/study.db", moment, str(elitism)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr

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


def test_a_left_over_trial_is_finished_though_no_generation_is_missing() -> None:
    """Nothing stays running, even if there are trials enough."""
    study = run(of_four(), 7)
    study.ask()
    evaluate = Recorder()
    optimize_generations(study, evaluate, 1)

    assert evaluate.calls == [[7]]
    assert story(run(of_four(), 8)) == story(study)


def test_a_resumed_trial_can_be_pruned_by_what_it_reported() -> None:
    """What a trial reported before it was left over counts, and not what it reports again."""
    study = random_study(pruner=ThresholdPruner(upper=1.0))
    study.ask().report(2.0, 0)

    def evaluate(trials: list[Trial]) -> list[Any]:
        trials[0].report(0.5, 0)
        return [TrialPruned() if trials[0].should_prune() else 0.0]

    optimize_generations(study, evaluate, 1, population_size=1)
    assert states(study) == [PRUNED]
    assert values(study) == [[2.0]]


# Results


@pytest.mark.parametrize(
    "result",
    [1.0, 1, True, np.float32(1.0), np.int64(1), np.bool_(True), np.array(1.0), [1.0], (1,)],
)
def test_a_number_is_a_result(result: Any) -> None:
    """Any kind of number will do, also as the only one of a sequence."""
    assert values(after_results(random_study(), result)) == [[1.0]]


@pytest.mark.parametrize("result", [math.inf, -math.inf])
def test_an_infinity_is_a_result(result: float) -> None:
    """Infinite values are legal in Optuna."""
    study = after_results(random_study(), result, 0.0)

    assert values(study) == [[result], [0.0]]
    assert states(study) == [COMPLETE] * 2


@pytest.mark.parametrize("result", [math.nan, None, np.float64("nan")])
def test_no_value_fails_the_trial_alone(result: float | None) -> None:
    """NaN and None are a failure that raises nothing."""
    study = after_results(random_study(), 1.0, result, 2.0)

    assert states(study) == [COMPLETE, FAIL, COMPLETE]
    assert values(study) == [[1.0], None, [2.0]]


def test_a_pruned_trial_has_the_value_of_its_last_report() -> None:
    """That is what Optuna gives it too; without a report there is none."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        for step in range(REPORTS):
            trials[0].report(10.0 + step, step)
        return [TrialPruned("no use"), TrialPruned(), 1.0]

    study = random_study()
    optimize_generations(study, evaluate, 1, population_size=3)
    assert states(study) == [PRUNED, PRUNED, COMPLETE]
    assert values(study) == [[12.0], None, [1.0]]


def test_the_error_of_a_trial_is_raised_once_all_are_told() -> None:
    """The first error is raised, the others keep their values, and nothing is begun."""
    study = random_study()
    first, second = RuntimeError("first"), ValueError("second")

    with pytest.raises(RuntimeError) as caught:
        after_results(study, 0.0, first, second, 3.0)
    assert caught.value is first
    assert states(study) == [COMPLETE, FAIL, FAIL, COMPLETE]
    assert values(study) == [[0.0], None, None, [3.0]]


@pytest.mark.parametrize(
    "catch", [ZeroDivisionError, ArithmeticError, (KeyError, ZeroDivisionError), [Exception]]
)
def test_a_caught_error_ends_nothing(catch: Any) -> None:
    """The trial fails and the next generation is begun."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        return [ZeroDivisionError(), 1.0]

    study = random_study()
    optimize_generations(study, evaluate, 2, population_size=2, catch=catch)
    assert states(study) == [FAIL, COMPLETE] * 2


def test_another_error_is_not_caught() -> None:
    """`catch` is for the errors that it names."""
    with pytest.raises(ZeroDivisionError):
        after_results(random_study(), ZeroDivisionError(), 1.0, catch=(KeyError, OSError))


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("catch", [(), OSError])
def test_an_error_of_the_evaluation_fails_the_generation(
    kind: type[BaseException], catch: Any
) -> None:
    """It holds for all trials of the generation, none of which stays running."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        if trials[0].number:
            sphere(trials[0])
            raise kind("halt")
        return spheres(trials)

    study = random_study()
    with pytest.raises(kind, match="halt"):
        optimize_generations(study, evaluate, 4, population_size=3, catch=catch)
    assert states(study) == [COMPLETE] * 3 + [FAIL] * 3


def test_a_caught_error_of_the_evaluation_ends_nothing() -> None:
    """The generation fails and the next one is begun."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        if trials[0].number:
            return spheres(trials)
        raise ValueError

    study = random_study()
    optimize_generations(study, evaluate, 2, population_size=3, catch=ValueError)
    assert states(study) == [FAIL] * 3 + [COMPLETE] * 3


def test_an_evaluation_may_prune_the_generation() -> None:
    """All its trials are pruned, and the next one is begun."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        for trial in trials:
            trial.report(float(trial.number), 0)
        raise TrialPruned

    study = random_study()
    optimize_generations(study, evaluate, 2, population_size=2)
    assert states(study) == [PRUNED] * 4
    assert values(study) == [[0.0], [1.0], [2.0], [3.0]]


@pytest.mark.parametrize("results", [[], [1.0], [1.0] * 4, {}])
def test_the_wrong_number_of_results_fails_the_generation(results: Any) -> None:
    """Nobody can know which result is whose; the error names the trials."""
    study = random_study()

    with pytest.raises(ValueError, match=rf"\b0, 1, 2\b.*{len(results)}"):
        optimize_generations(study, lambda trials: results, 1, population_size=3)
    assert states(study) == [FAIL] * 3


@pytest.mark.parametrize("results", [None, 1.0])
def test_results_must_be_a_sequence(results: Any) -> None:
    """An evaluation that returns no results at all fails the generation."""
    study = random_study()

    with pytest.raises(TypeError):
        optimize_generations(study, lambda trials: results, 1, population_size=2)
    assert states(study) == [FAIL] * 2


@pytest.mark.parametrize("result", ["abc", "1", object(), 1j, [], [1.0, 2.0], ValueError])
def test_a_result_of_the_wrong_type_fails_the_trial(result: Any) -> None:
    """The error names the trial, and the others keep their values."""
    study = random_study()

    with pytest.raises(TypeError, match="trial 1,"):
        after_results(study, 0.0, result, 2.0)
    assert states(study) == [COMPLETE, FAIL, COMPLETE]
    assert values(study) == [[0.0], None, [2.0]]


def test_an_error_about_a_result_can_be_caught() -> None:
    """`catch` holds for the errors of the driver about results too."""
    study = after_results(random_study(), "abc", 1.0, catch=TypeError)

    assert states(study) == [FAIL, COMPLETE]


def several_objectives() -> Study:
    """Return a study with two objectives and four trials in a generation."""
    sampler = NSGAIISampler(population_size=4, seed=0)
    return optuna.create_study(sampler=sampler, directions=["minimize", "maximize"])


@pytest.mark.parametrize("kind", [tuple, list, np.array])
def test_several_objectives_have_a_sequence_of_values(
    kind: Callable[[Sequence[float]], Any],
) -> None:
    """Each trial has as many values as the study has directions."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        return [kind([sphere(trial), float(trial.number)]) for trial in trials]

    study = several_objectives()
    optimize_generations(study, evaluate, 3)
    assert [pair[1] for pair in values(study) if pair] == list(range(12))


@pytest.mark.parametrize("result", [1.0, [1.0], [1.0, 2.0, 3.0], "ab", [1.0, "b"]])
def test_several_objectives_need_as_many_values(result: Any) -> None:
    """The error names the trial, and the others keep their values."""
    study = several_objectives()

    with pytest.raises(TypeError, match="trial 2,"):
        after_results(study, *[[0.0, 0.0]] * 2, result, [1.0, 1.0])
    assert states(study) == [COMPLETE, COMPLETE, FAIL, COMPLETE]


def test_one_nan_among_several_values_fails_the_trial() -> None:
    """A trial that lacks one of its values has failed."""
    study = after_results(several_objectives(), [0.0, math.nan], [0.0, 1.0])

    assert states(study) == [FAIL, COMPLETE]


# Callbacks and the end


def test_callbacks_get_each_finished_trial_in_order() -> None:
    """They are called with the study and the trial, failed and pruned ones too."""
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
    """The generation is told to its end, and no further one is begun, in every call."""
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
    """After the call, and after one that raised, the study is as before."""
    study = random_study()
    after_results(study, result, catch=RuntimeError)
    with pytest.raises(ZeroDivisionError):
        optimize_generations(study, lambda _: [ZeroDivisionError()], 2, population_size=1)

    with pytest.raises(RuntimeError, match=r"Study\.stop"):
        study.stop()
    study.optimize(sphere, n_trials=1)
    assert len(study.trials) == 3


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_all_results_are_told_though_a_callback_raises(kind: type[BaseException]) -> None:
    """The error of the callback is raised, whatever is caught for trials."""

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
    """The first one is begun always, so a call without time evaluates one."""
    evaluate = Recorder()
    optimize_generations(random_study(), evaluate, 4, population_size=2, timeout=timeout)

    assert len(evaluate.calls) == n_begun


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
    """The error names the argument and its value, and nothing is begun."""
    study = random_study()
    arguments = {"n_generations": 1, "population_size": 2, name: value}

    with pytest.raises(kind, match=f"`{name}` .*{value!r}"):
        optimize_generations(study, spheres, **arguments)
    assert study.trials == []


def test_a_study_is_optimized_once_at_a_time() -> None:
    """A call inside of the evaluation is an error of that evaluation."""

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


@pytest.mark.parametrize("shown", [True, False])
def test_the_progress_bar_is_shown_on_request(
    monkeypatch: pytest.MonkeyPatch, shown: bool
) -> None:
    """It tells the trials, the generation, the time left and the best value."""
    terminal = open_terminal(monkeypatch)
    study = run(RandomSampler(seed=0), 2)
    optimize_generations(study, spheres, 4, population_size=2, show_progress_bar=shown)
    found = terminal.getvalue()

    assert bool(found) == shown
    if shown:
        last = found.replace("\n", "\r").rstrip("\r").split("\r")[-1]
        assert "8/8" in last
        assert "00:00<00:00" in last
        assert "generation 3" in last
        assert f"best {study.best_value:.6g}" in last


def test_the_progress_bar_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no terminal nothing is written."""
    optimize_generations(random_study(), spheres, 4, population_size=2, show_progress_bar=True)

    assert capsys.readouterr() == ("", "")


def test_the_progress_bar_bears_several_objectives_and_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There may be no best value to show."""
    terminal = open_terminal(monkeypatch)
    after_results(several_objectives(), [0.0, 0.0], None, show_progress_bar=True)
    after_results(random_study(), None, TrialPruned(), show_progress_bar=True)

    assert terminal.getvalue().count("2/2") == 2


def test_the_progress_bar_leaves_logs_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the user has switched Optuna's handler off, nothing is logged beside the bar."""
    optuna.logging.disable_default_handler()
    monkeypatch.setattr(logging.getLogger("optuna"), "level", logging.INFO)
    terminal = open_terminal(monkeypatch)
    try:
        optimize_generations(random_study(), spheres, 2, population_size=2, show_progress_bar=True)
    finally:
        optuna.logging.enable_default_handler()

    assert "4/4" in terminal.getvalue()
    assert "finished" not in terminal.getvalue()


LOGGING = """
import optuna
from optuna_ga import optimize_generations

study = optuna.create_study()
evaluate = lambda trials: [trial.suggest_float("x", 0, 1) for trial in trials]
optimize_generations(study, evaluate, 3, population_size=2, show_progress_bar=True)
"""


def test_logs_stay_whole_beside_the_progress_bar() -> None:
    """In a real terminal each begins a line of its own."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    subprocess.run([sys.executable, "-c", LOGGING], stderr=terminal, check=True, timeout=120)
    found = os.read(controller, 1_000_000).decode()
    os.close(controller)
    os.close(terminal)
    lines = found.replace("\r", "\n").split("\n")
    logs = [line for line in lines if "finished with value" in line]

    assert len(logs) == 6
    assert all(re.match(r"(\x1b\[\d*m)*\[I", line) for line in logs)
    assert any("6/6" in line and "finished" not in line for line in lines)


# Trials that cannot be had


def raises_at(call: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, but for its n-th call, which raises."""
    n_calls = 0

    def raising(*args: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == call:
            raise OSError("unavailable")
        return function(*args)

    return raising


def test_a_storage_error_leaves_no_trial_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a generation cannot be had in full, its trials fail, and a later call goes on."""
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
    """The trials asked before it fail, and so does the one that it lost."""
    study = random_study()
    sampler = study.sampler
    monkeypatch.setattr(sampler, "before_trial", raises_at(3, sampler.before_trial))
    with pytest.raises(OSError, match="unavailable"):
        optimize_generations(study, spheres, 2, population_size=3)
    assert states(study) == [FAIL] * 3

    optimize_generations(study, spheres, 2, population_size=3)
    assert len(study.trials) == 6
    assert all(state.is_finished() for state in states(study))


class Unconvertible:
    """A result whose conversion fails in a way of its own."""

    def __float__(self) -> float:
        """Fail."""
        raise RuntimeError("lost")


@pytest.mark.parametrize("result", [10**400, Unconvertible(), b"1", {1.0: 2.0}])
def test_a_result_that_is_no_number_costs_no_other_trial_its_value(result: Any) -> None:
    """However its conversion fails: that trial fails, and an error names it."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    with pytest.raises(TypeError, match="for trial 1"):
        optimize_generations(study, lambda trials: [0.0, result, 2.0], 1, population_size=3)

    assert [trial.value for trial in study.trials] == [0.0, None, 2.0]
    assert study.trials[1].state == TrialState.FAIL


def test_evaluate_may_empty_its_list() -> None:
    """The list is its own; the trials are told all the same."""

    def evaluate(trials: list[Trial]) -> list[float]:
        return [float(trials.pop().number) for _ in range(len(trials))]

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    optimize_generations(study, evaluate, 1, population_size=3)

    assert [trial.value for trial in study.trials] == [2.0, 1.0, 0.0]


def test_the_progress_bar_bears_infeasible_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no best value to show until one is feasible."""
    terminal = open_terminal(monkeypatch)

    def evaluate(trials: list[Trial]) -> list[float]:
        for trial in trials:
            trial.set_constraint("c", 1.0)
        return [1.0] * len(trials)

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    optimize_generations(study, evaluate, 2, population_size=2, show_progress_bar=True)

    assert "4/4" in terminal.getvalue()
    assert "best" not in terminal.getvalue()

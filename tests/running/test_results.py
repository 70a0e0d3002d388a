"""Results of evaluations: numbers, prunings, errors and nonsense."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from optuna import Trial, TrialPruned
from optuna.trial import TrialState

from optuna_ga import optimize_generations
from tests.logs import messages_of
from tests.running.evaluations import (
    COMPLETE,
    FAIL,
    PRUNED,
    REPORTS,
    after_results,
    random_study,
    several_objectives,
    spheres,
    states,
    values,
)
from tests.studies import sphere


@pytest.mark.parametrize(
    "result",
    [1.0, 1, True, np.float32(1.0), np.int64(1), np.bool_(True), np.array(1.0), [1.0], (1,)],
)
def test_a_number_is_a_result(result: Any) -> None:
    """Any kind of number is accepted, also as the only item of a sequence."""
    assert values(after_results(random_study(), result)) == [[1.0]]


@pytest.mark.parametrize("result", [math.inf, -math.inf])
def test_an_infinity_is_a_result(result: float) -> None:
    """Infinite values are legal in Optuna."""
    study = after_results(random_study(), result, 0.0)

    assert values(study) == [[result], [0.0]]
    assert states(study) == [COMPLETE] * 2


@pytest.mark.parametrize("result", [math.nan, None, np.float64("nan")])
def test_no_value_fails_the_trial_alone(result: float | None) -> None:
    """NaN and None fail the trial and raise nothing."""
    study = after_results(random_study(), 1.0, result, 2.0)

    assert states(study) == [COMPLETE, FAIL, COMPLETE]
    assert values(study) == [[1.0], None, [2.0]]


def test_a_pruned_trial_has_the_value_of_its_last_report() -> None:
    """Without a report it has no value, as in `study.optimize`."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        for step in range(REPORTS):
            trials[0].report(10.0 + step, step)
        return [TrialPruned("no use"), TrialPruned(), 1.0]

    study = random_study()
    optimize_generations(study, evaluate, 1, population_size=3)
    assert states(study) == [PRUNED, PRUNED, COMPLETE]
    assert values(study) == [[12.0], None, [1.0]]


def test_the_error_of_a_trial_is_raised_once_all_are_recorded() -> None:
    """The first error is raised after the other values are recorded."""
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
    """The trial fails and the next generation starts."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        return [ZeroDivisionError(), 1.0]

    study = random_study()
    optimize_generations(study, evaluate, 2, population_size=2, catch=catch)
    assert states(study) == [FAIL, COMPLETE] * 2


def test_another_error_is_not_caught() -> None:
    """`catch` is for the errors that it names."""
    with pytest.raises(ZeroDivisionError):
        after_results(random_study(), ZeroDivisionError(), 1.0, catch=(KeyError, OSError))


def test_a_caught_error_hides_no_other() -> None:
    """The first error that is not caught is raised, though another came before it."""
    study = random_study()
    with pytest.raises(ZeroDivisionError):
        after_results(study, KeyError(), ZeroDivisionError(), 1.0, catch=KeyError)
    assert states(study) == [FAIL, FAIL, COMPLETE]


@pytest.mark.parametrize("catch", [(), OSError])
def test_an_error_of_the_evaluation_fails_the_generation(catch: Any) -> None:
    """All trials of the generation fail, and none is left running."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        if trials[0].number:
            sphere(trials[0])
            raise ValueError("halt")
        return spheres(trials)

    study = random_study()
    with pytest.raises(ValueError, match="halt"):
        optimize_generations(study, evaluate, 4, population_size=3, catch=catch)
    assert states(study) == [COMPLETE] * 3 + [FAIL] * 3


def test_a_caught_error_of_a_map_is_logged_with_its_traceback() -> None:
    """It shows the line that raised it."""

    def raises(trial: Trial) -> float:
        raise ValueError(f"halt {trial.number}")

    with messages_of("optuna.generations", logging.WARNING) as messages:
        optimize_generations(
            random_study(), lambda ts: map(raises, ts), 1, population_size=2, catch=ValueError
        )

    assert ['raise ValueError(f"halt {trial.number}")' in text for text in messages] == [True] * 2


def test_an_error_of_the_evaluation_is_logged_with_one_traceback() -> None:
    """The trials that share it are logged by a line each."""

    def raises(trials: list[Trial]) -> list[float]:
        raise ValueError("halt")

    with messages_of("optuna.generations", logging.WARNING) as messages:
        optimize_generations(random_study(), raises, 1, population_size=3, catch=ValueError)

    assert [text.count("Traceback") for text in messages] == [1, 0, 0]


def test_a_caught_error_of_the_evaluation_ends_nothing() -> None:
    """The generation fails and the next one starts."""

    def evaluate(trials: list[Trial]) -> list[Any]:
        if trials[0].number:
            return spheres(trials)
        raise ValueError

    study = random_study()
    optimize_generations(study, evaluate, 2, population_size=3, catch=ValueError)
    assert states(study) == [FAIL] * 3 + [COMPLETE] * 3


def one_after_another(trials: list[Trial]) -> list[float]:
    """Evaluate a generation whose second trial is pruned, in a form that loses the others."""
    return [pruned_in_one(trial) for trial in trials]


def yielding(trials: list[Trial]) -> Iterator[float]:
    """Evaluate the same generation by a generator, which ends with the pruning."""
    for trial in trials:
        yield pruned_in_one(trial)


def pruned_in_one(trial: Trial) -> float:
    """Prune trial 1, and return the numbers of the others."""
    if trial.number == 1:
        raise TrialPruned
    return float(trial.number)


@pytest.mark.parametrize(
    ("evaluate", "expected"),
    [(one_after_another, [FAIL] * 4), (yielding, [COMPLETE, PRUNED, FAIL, FAIL])],
)
def test_one_pruning_does_not_prune_a_generation(
    evaluate: Callable[[list[Trial]], Any], expected: list[TrialState]
) -> None:
    """The error says what to return instead."""
    study = random_study()
    with pytest.raises(RuntimeError, match=r"prunes a single trial.*`map\(objective, trials\)`"):
        optimize_generations(study, evaluate, 2, population_size=4)

    assert states(study) == expected


def test_exceptions_of_a_map_belong_to_their_trials() -> None:
    """The trials after them are evaluated."""

    def objective(trial: Trial) -> float:
        if trial.number == 2:
            raise OSError
        return pruned_in_one(trial)

    study = random_study()
    with pytest.raises(OSError):
        optimize_generations(study, lambda trials: map(objective, trials), 2, population_size=4)

    assert states(study) == [COMPLETE, PRUNED, FAIL, COMPLETE]
    assert values(study) == [[0.0], None, None, [3.0]]


def running_out_of_data(trial: Trial) -> float:
    """Raise a StopIteration in trial 1, as an empty data loader does."""
    return next(iter([])) if trial.number == 1 else sphere(trial)


def test_an_iterator_that_ends_in_an_objective_fails_its_trial_alone() -> None:
    """A map goes on after a StopIteration of its function."""
    study = random_study()
    with pytest.raises(StopIteration):
        optimize_generations(
            study, lambda trials: map(running_out_of_data, trials), 1, population_size=4
        )

    assert states(study) == [COMPLETE, FAIL, COMPLETE, COMPLETE]


def test_a_map_that_ends_early_fails_the_generation() -> None:
    """Its own end is no failure of the next trial."""
    study = random_study()
    with pytest.raises(ValueError, match="it returned 2"):
        optimize_generations(study, lambda trials: map(sphere, trials[:2]), 1, population_size=4)

    assert states(study) == [FAIL] * 4


class UnnamedError(Exception):
    """An error that cannot be shown."""

    def __repr__(self) -> str:
        """Fail."""
        raise RuntimeError("no repr")


class UnnamedPruned(TrialPruned):
    """A pruning that cannot say why."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no str")


@pytest.mark.parametrize(("error", "state"), [(UnnamedError, FAIL), (UnnamedPruned, PRUNED)])
def test_an_exception_without_words_costs_no_other_trial_its_value(
    error: type[Exception], state: TrialState
) -> None:
    """The log names its type instead."""
    study = after_results(random_study(), 0.0, error(), 2.0, catch=UnnamedError)

    assert states(study) == [COMPLETE, state, COMPLETE]


def test_pairs_may_come_in_any_order() -> None:
    """Each result goes to the trial beside it; trials are told in their order."""

    def backwards(trials: list[Trial]) -> Iterator[tuple[Trial, float]]:
        return ((trial, float(trial.number)) for trial in reversed(trials))

    study, told = random_study(), []
    optimize_generations(
        study, backwards, 1, population_size=3, callbacks=[lambda _, trial: told.append(trial)]
    )

    assert values(study) == [[0.0], [1.0], [2.0]]
    assert [trial.number for trial in told] == [0, 1, 2]


@pytest.mark.parametrize("numbers", [[0, 1], [0, 1, 2, 2], [0, 1, 1], [0, 0, 1, 2]])
def test_the_wrong_number_of_pairs_fails_the_generation(numbers: list[int]) -> None:
    """Results that are missing or come twice may all be mistaken."""
    study = random_study()
    with pytest.raises(ValueError, match=r"one result for each trial, 3 for trials 0, 1, 2,"):
        optimize_generations(
            study, lambda trials: iter([(trials[n], 1.0) for n in numbers]), 1, population_size=3
        )

    assert states(study) == [FAIL] * 3


@pytest.mark.parametrize("results", [[], [1.0], [1.0] * 4])
def test_the_wrong_number_of_results_fails_the_generation(results: Any) -> None:
    """Results cannot be matched to trials; the error names the trials."""
    study = random_study()

    with pytest.raises(ValueError, match=rf"\b0, 1, 2\b.*{len(results)}"):
        optimize_generations(study, lambda trials: results, 1, population_size=3)
    assert states(study) == [FAIL] * 3


@pytest.mark.parametrize(
    "results",
    [
        None,
        1.0,
        np.array(1.0),
        {0: 1.0, 1: 2.0},
        {1.0, 2.0},
        frozenset({1.0, 2.0}),
        "12",
        b"12",
        pd.DataFrame({0: [1.0], 1: [2.0]}),
    ],
)
def test_results_must_have_an_order(results: Any) -> None:
    """Keys, members and characters are no values, though there is one for each trial."""
    study = random_study()

    with pytest.raises(TypeError, match="must return a sequence or an iterator"):
        optimize_generations(study, lambda trials: results, 1, population_size=2)
    assert states(study) == [FAIL] * 2


@pytest.mark.parametrize("kind", [tuple, np.array, pd.Series, torch.tensor, deque, iter])
def test_any_ordered_results_serve(kind: Callable[[list[float]], Any]) -> None:
    """Arrays, tensors and iterators hold one result for each trial, too."""
    study = random_study()
    optimize_generations(study, lambda trials: kind([1.0, 2.0]), 1, population_size=2)

    assert values(study) == [[1.0], [2.0]]


def test_results_may_have_a_gradient() -> None:
    """Losses that were not detached are numbers."""
    losses = torch.tensor([1.0, 2.0], requires_grad=True)

    assert values(after_results(random_study(), *losses * 2)) == [[2.0], [4.0]]
    assert values(after_results(several_objectives(), [*losses], [*losses])) == [[1.0, 2.0]] * 2


@pytest.mark.parametrize("result", ["abc", "1", object(), 1j, [], [1.0, 2.0], ValueError])
def test_a_result_of_the_wrong_type_fails_the_trial(result: Any) -> None:
    """The error names the trial, and the other trials keep their values."""
    study = random_study()

    with pytest.raises(TypeError, match="trial 1,"):
        after_results(study, 0.0, result, 2.0)
    assert states(study) == [COMPLETE, FAIL, COMPLETE]
    assert values(study) == [[0.0], None, [2.0]]


@pytest.mark.parametrize(
    ("study", "rule"), [(random_study, "a number"), (several_objectives, "2 numbers")]
)
def test_an_error_about_a_result_counts_the_objectives(
    study: Callable[[], optuna.Study], rule: str
) -> None:
    """It says how many numbers there must be."""
    with pytest.raises(TypeError, match=f"must return {rule}, an exception or None for trial 0"):
        after_results(study(), "abc")


@pytest.mark.parametrize(("result", "kind"), [(5, "an int: 5"), ({}, "a dict: {}")])
def test_an_error_about_results_names_their_type(result: Any, kind: str) -> None:
    """With the right article."""
    with pytest.raises(TypeError, match=f"but it returned {kind}."):
        optimize_generations(random_study(), lambda trials: result, 1, population_size=2)


def test_an_error_about_a_result_can_be_caught() -> None:
    """`catch` applies to the errors that `optimize_generations` itself raises about results."""
    study = after_results(random_study(), "abc", 1.0, catch=TypeError)

    assert states(study) == [FAIL, COMPLETE]


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
    """The error names the trial, and the other trials keep their values."""
    study = several_objectives()

    with pytest.raises(TypeError, match="trial 2,"):
        after_results(study, *[[0.0, 0.0]] * 2, result, [1.0, 1.0])
    assert states(study) == [COMPLETE, COMPLETE, FAIL, COMPLETE]


def test_one_nan_among_several_values_fails_the_trial() -> None:
    """A trial that lacks one of its values has failed."""
    study = after_results(several_objectives(), [0.0, math.nan], [0.0, 1.0])

    assert states(study) == [FAIL, COMPLETE]


class Unconvertible:
    """A result whose conversion to float raises an unusual error."""

    def __float__(self) -> float:
        """Fail."""
        raise RuntimeError("lost")


@pytest.mark.parametrize(
    "result", [10**400, Unconvertible(), b"1", {1.0: 2.0}, pd.DataFrame([3.0])]
)
def test_a_result_that_is_no_number_costs_no_other_trial_its_value(result: Any) -> None:
    """Whatever the conversion raises, that trial fails and an error names it."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    with pytest.raises(TypeError, match="for trial 1"):
        optimize_generations(study, lambda trials: [0.0, result, 2.0], 1, population_size=3)

    assert [trial.value for trial in study.trials] == [0.0, None, 2.0]
    assert study.trials[1].state == TrialState.FAIL


def test_evaluate_may_empty_its_list() -> None:
    """The list is a copy, so all results are still recorded."""

    def evaluate(trials: list[Trial]) -> list[float]:
        return [float(trials.pop().number) for _ in range(len(trials))]

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    optimize_generations(study, evaluate, 1, population_size=3)

    assert [trial.value for trial in study.trials] == [2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (2.0, "finished with value: 2.0 and parameters: {}. Best is trial 0 with value: 2.0."),
        (TrialPruned("too slow"), "pruned. too slow"),
        (None, "failed with parameters {}: the result is None"),
        (math.nan, "failed with parameters {}: the result is nan"),
        (OSError("disk"), "failed with parameters {}: OSError('disk')\nOSError: disk"),
    ],
)
def test_the_log_says_what_became_of_a_trial(result: Any, line: str) -> None:
    """And why, if it has no value."""
    with messages_of("optuna.generations", logging.INFO) as messages:
        after_results(random_study(), result, catch=OSError)

    assert messages == [f"Trial 0 {line}"]


def test_an_error_about_a_pruning_of_several_says_where_it_was_raised() -> None:
    """The pruning is the cause of the error."""

    def raises(trials: list[Any]) -> list[float]:
        raise pruning

    pruning = TrialPruned("too slow")
    with pytest.raises(RuntimeError, match="prunes a single trial") as caught:
        optimize_generations(random_study(), raises, 1, population_size=2)

    assert caught.value.__cause__ is pruning

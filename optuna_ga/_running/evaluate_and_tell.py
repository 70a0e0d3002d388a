"""One generation: evaluated in one call, its results kept as they come and told in trial order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

import optuna
from optuna import Trial
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._checks import listed_trials
from optuna_ga._optuna_internals import is_storage_error, was_stopped
from optuna_ga._running.arguments import OBJECTIVE_GIVEN
from optuna_ga._running.matched_results import checked_results, error_of_several, matched_results
from optuna_ga._running.outcome import (
    NoResult,
    Outcome,
    Result,
    interrupts,
    is_kept,
    keep,
    keep_stop,
    kept,
    outcome_of,
    tell,
    text_of,
    uncaught,
)
from optuna_ga._running.rounds import BrokenByTrialError

Evaluate = Callable[[list[Trial]], Iterable[Result | NoResult | tuple[Trial, Any]]]
Callback = Callable[[Study, FrozenTrial], None]

_logger = optuna.logging.get_logger("optuna.generations")


def evaluate_and_tell(
    study: Study,
    evaluate: Evaluate,
    trials: Sequence[Trial],
    observers: Sequence[Callback] = (),
    caught: tuple[type[Exception], ...] = (),
) -> BaseException | None:
    """Evaluate trials together, tell each result, and return the first error that is not caught.

    Trials that got a result before an interruption are not evaluated again. If one of them
    stopped the study, it is stopped again.

    Args:
        study: The study, in an optimization loop.
        evaluate: Evaluates the trials that have no result yet.
        trials: The trials, in the order of their numbers.
        observers: Called with the study and each finished trial.
        caught: Kinds of exceptions that are ordinary results.

    Raises:
        BaseException: Whatever interrupts the evaluation. Then no trial is told, and the results
            that have come are kept on their trials.
    """
    if any(map(was_stopped, trials)):
        study.stop()
    outcomes = {trial.number: found for trial in trials if (found := kept(trial)) is not None}
    missing = [trial for trial in trials if trial.number not in outcomes]
    try:
        if missing:
            _evaluate(evaluate, missing, outcomes, caught)
        _raise_if_lost(missing, outcomes, caught)
    except BaseException as interruption:
        again = [n for n in _numbers(missing) if not is_kept(outcomes.get(n), caught)]
        broken_by = [n for n in again if _has_broken_executors(outcomes.get(n))]
        _advise(interruption, again, broken_by)
        raise
    _tell(study, trials, [outcomes[trial.number] for trial in trials], observers)
    errors = [uncaught(outcomes[trial.number], caught) for trial in trials]
    return next((error for error in errors if error is not None), None)


def _raise_if_lost(
    trials: Sequence[Trial],
    outcomes: Mapping[int, Outcome],
    caught: tuple[type[Exception], ...],
) -> None:
    """Raise the first interruption among the outcomes, if any, and keep the others."""
    found = [(trial, outcomes[trial.number]) for trial in trials]
    errors = [outcome.error for _, outcome in found if outcome.state == TrialState.RUNNING]
    if errors and errors[0] is not None:
        for trial, outcome in found:
            keep(trial, outcome, caught)
        raise errors[0]


def _advise(interruption: BaseException, numbers: Sequence[int], broken_by: Sequence[int]) -> None:
    """Say how to go on after an interruption, in the log and in a note on it.

    Args:
        interruption: The interruption.
        numbers: The numbers of the trials that the next run evaluates.
        broken_by: The numbers of those that are known to end their workers.
    """
    task = f"to evaluate {listed_trials(numbers)} and " if numbers else ""
    advice = (
        "The evaluation was interrupted. Results that have come are kept: run again "
        f"{task}to continue."
    )
    if broken_by:
        calls = ", ".join(f"`study.tell({n}, state=TrialState.FAIL)`" for n in broken_by)
        advice += f" To go on without {listed_trials(broken_by)}, call {calls} before."
    _logger.warning(advice)
    if hasattr(interruption, "add_note"):  # Since Python 3.11.
        interruption.add_note(advice)


def _has_broken_executors(outcome: Outcome | None) -> bool:
    return outcome is not None and isinstance(outcome.error, BrokenByTrialError)


def _numbers(trials: Sequence[Trial]) -> list[int]:
    return [trial.number for trial in trials]


def _evaluate(
    evaluate: Evaluate,
    trials: Sequence[Trial],
    outcomes: dict[int, Outcome],
    caught: tuple[type[Exception], ...],
) -> None:
    """Add each trial's outcome by its number; keep on the trials what an iterator yields.

    An exception of `evaluate` is the result of every trial.

    Raises:
        BaseException: Whatever interrupts `evaluate`.
        TypeError: If `evaluate` takes its list for a trial.
    """
    given = list(trials)  # A copy, since `evaluate` may change its list.
    try:
        results = evaluate(given)
        # An interruption ends the iterator, which cancels trials that wait in an executor.
        with closing(matched_results(trials, checked_results(results, trials))) as matched:
            for trial, result in matched:
                outcome = outcome_of(trial, result)
                if isinstance(results, Iterator):
                    keep(trial, outcome, caught)
                outcomes[trial.number] = outcome
    except Exception as error:
        if interrupts(error):
            raise
        if isinstance(error, AttributeError) and error.obj is given:
            raise TypeError(f"{OBJECTIVE_GIVEN}; see the error above.") from error
        common = error_of_several(error)
        outcomes.update({trial.number: outcome_of(trial, common) for trial in trials})


def _tell(
    study: Study,
    trials: Sequence[Trial],
    outcomes: Sequence[Outcome],
    observers: Sequence[Callback],
) -> None:
    """Tell each trial its result, in trial order."""
    n_told = 0
    try:
        for trial, outcome in zip(trials, outcomes, strict=True):
            keep_stop(trials[-1])  # The last to be told, should this process be killed meanwhile.
            finished = tell(study, trial, outcome)
            n_told += 1
            # An error of several trials is shown in full once.
            is_known = any(other.error is outcome.error for other in outcomes[: n_told - 1])
            _log(study, finished, outcome, None if is_known else outcome.error)
            for observe in observers:
                observe(study, finished)
    finally:  # Even if an observer raises or the user interrupts, no result is lost.
        _tell_quietly(study, trials[n_told:], outcomes[n_told:])


def _tell_quietly(study: Study, trials: Sequence[Trial], outcomes: Sequence[Outcome]) -> None:
    """Tell each trial its result while an error is under way, past which others do not come."""
    for position, (trial, outcome) in enumerate(zip(trials, outcomes, strict=True)):
        try:
            study.tell(trial, outcome.values, outcome.state, skip_if_finished=True)
        except Exception as error:
            if not is_storage_error(error):
                continue  # The sampler's; the trial is told even so.
            lost = listed_trials(_numbers(trials[position:]))
            _logger.warning(
                f"Results are lost, since the storage raised {text_of(error, repr)}: run again to "
                f"evaluate {lost}."
            )
            return


def _log(study: Study, trial: FrozenTrial, outcome: Outcome, error: BaseException | None) -> None:
    """Log a trial's outcome; the error is shown with its traceback."""
    if outcome.state == TrialState.COMPLETE:
        if _logger.isEnabledFor(logging.INFO):  # Looking for the best trial may take a query.
            _logger.info(_completed(study, trial))
    elif outcome.state == TrialState.PRUNED:
        _logger.info(f"Trial {trial.number} pruned. {outcome.reason}")
    else:
        _logger.warning(
            f"Trial {trial.number} failed with parameters {trial.params}: {outcome.reason}",
            exc_info=error,
        )


def _completed(study: Study, trial: FrozenTrial) -> str:
    """Return the line of the log on a complete trial, as `Study.optimize` writes it."""
    values = f"value: {trial.value}" if len(study.directions) == 1 else f"values: {trial.values}"
    line = f"Trial {trial.number} finished with {values} and parameters: {trial.params}."
    with suppress(ValueError, RuntimeError):  # No trial is feasible yet; several objectives.
        best = study.best_trial
        line += f" Best is trial {best.number} with value: {best.value}."
    return line

"""Outcomes: what a trial becomes by the result of its evaluation, and results that come early.

A generation is told once all its trials have a result, because samplers and pruners take finished
trials into account: the study would depend on the order of arrival. A result that comes before
the generation is complete is written on its trial, which stays running. Then an interruption
costs no result that has arrived.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import BrokenExecutor, CancelledError
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from optuna import Trial, TrialPruned
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._checks import shown
from optuna_ga._optuna_internals import (
    early_result,
    is_sampler_error,
    is_stopped,
    is_storage_error,
    stored,
    write_early_result,
    write_early_stop,
)

Result: TypeAlias = float | Sequence[float] | BaseException | None
"""Result of a trial: its value or values; an exception or None if it has no value."""

_LONGEST_REASON = 500  # Characters; some databases limit the length of an attribute.


class AnotherCallError(RuntimeError):
    """Another call has finished a trial that this call evaluates."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"Trial {number} has been finished by another call while this call evaluated it. Only "
            "one call of `optimize_generations` may work on a study at a time; end the others."
        )


class NoResult(NamedTuple):
    """Stands in for the result of a trial whose evaluation was interrupted.

    Attributes:
        error: The interruption, such as the error of a broken executor.
    """

    error: BaseException


class Outcome(NamedTuple):
    """The arguments of `Study.tell` for one trial.

    Attributes:
        state: The trial's state: finished, or running if it has no result.
        values: The values of a complete trial.
        reason: Text for the log if the trial is not complete.
        error: The exception to raise: unless it is caught, or in any case if the trial has no
            result.
    """

    state: TrialState
    values: list[float] | None = None
    reason: str = ""
    error: BaseException | None = None


def outcome_of(trial: Trial, result: Result | NoResult) -> Outcome:
    """Return the outcome of a trial with this result."""
    if isinstance(result, NoResult):
        return Outcome(TrialState.RUNNING, error=result.error)
    if isinstance(result, TrialPruned):
        return Outcome(TrialState.PRUNED, reason=text_of(result))
    if isinstance(result, BaseException):
        state = TrialState.RUNNING if interrupts(result) else TrialState.FAIL
        return Outcome(state, reason=text_of(result, repr), error=result)
    if result is None:
        return Outcome(TrialState.FAIL, reason="the result is None")
    values = numbers(result)
    n_objectives = len(trial.study.directions)
    if len(values) != n_objectives:
        must = "a number" if n_objectives == 1 else f"{n_objectives} numbers"
        error = TypeError(
            f"`evaluate` must return {must}, an exception or None for trial "
            f"{trial.number}, but it returned {shown(result)}."
        )
        return Outcome(TrialState.FAIL, reason=str(error), error=error)
    if any(map(math.isnan, values)):
        return Outcome(TrialState.FAIL, reason=f"the result is {shown(result)}")
    return Outcome(TrialState.COMPLETE, values)


def text_of(error: BaseException, form: Callable[[object], str] = str) -> str:
    """Return the `str` or `repr` of an exception, or another text if its class raises an error."""
    try:
        return form(error)
    except Exception:
        return shown(error)


def interrupts(error: BaseException) -> bool:
    """Return whether an error says nothing about a trial, but ended its evaluation.

    Such errors are whatever is not an `Exception`, such as a KeyboardInterrupt or SystemExit;
    a broken executor or a cancelled future; another call; and a storage out of reach.
    """
    return (
        not isinstance(error, Exception)
        or isinstance(error, (BrokenExecutor, CancelledError, AnotherCallError))
        or is_storage_error(error)
    )


def numbers(result: object) -> list[float]:
    """Return the number or numbers of a result as floats; an empty list if it has none.

    Every exception of a conversion is caught, so that the other trials keep their results.
    """
    if isinstance(result, (bytes, str, Mapping, Set)):
        return []
    try:
        result = plain(result)
        return [float(result)]  # type: ignore[arg-type]
    except Exception:
        pass
    try:
        return [float(plain(value)) for value in result] if isinstance(result, Sequence) else []
    except Exception:
        return []


def plain(value: Any) -> Any:
    """Return the numbers or lists of an array or tensor, and any other value as it is.

    A tensor may have a gradient or lie on another device.
    """
    return value.tolist() if hasattr(value, "tolist") else value


def uncaught(outcome: Outcome, caught: tuple[type[Exception], ...]) -> BaseException | None:
    """Return the error of an outcome unless it is of a kind that is caught, or there is none."""
    return None if isinstance(outcome.error, caught) else outcome.error


def is_kept(outcome: Outcome | None, caught: tuple[type[Exception], ...]) -> bool:
    """Return whether `keep` writes an outcome: it is a result that does not end the search."""
    if outcome is None or not outcome.state.is_finished():
        return False
    return uncaught(outcome, caught) is None


def keep(trial: Trial, outcome: Outcome, caught: tuple[type[Exception], ...]) -> None:
    """Write the outcome, if it has one, on a trial that stays running for now.

    An error that is not caught is not written, so that its trial is evaluated again after an
    interruption, and raises it again.

    Raises:
        AnotherCallError: If the trial has finished.
    """
    if not is_kept(outcome, caught):
        return
    keep_stop(trial)
    values = [repr(value) for value in outcome.values or ()]  # JSON knows no infinity.
    with _finished_by_nobody_else(trial):
        write_early_result(trial, [outcome.state.name, values, outcome.reason[:_LONGEST_REASON]])


def keep_stop(trial: Trial) -> None:
    """Write on a running trial that its study was stopped, if it was.

    Raises:
        AnotherCallError: If the trial has finished.
    """
    if is_stopped(trial.study):
        with _finished_by_nobody_else(trial):
            write_early_stop(trial)


@contextmanager
def _finished_by_nobody_else(trial: Trial) -> Iterator[None]:
    """Raise an AnotherCallError if the trial that is written on has finished."""
    try:
        yield
    except UpdateFinishedTrialError as error:
        raise AnotherCallError(trial.number) from error


def tell(study: Study, trial: Trial, outcome: Outcome) -> FrozenTrial:
    """Tell a trial its outcome and return it.

    Raises:
        AnotherCallError: If it has been told already.
    """
    try:
        return study.tell(trial, outcome.values, outcome.state)
    except ValueError as error:
        # Optuna tells the trial even if the sampler raises an error.
        if not is_sampler_error(error) and stored(trial.study, trial).state.is_finished():
            raise AnotherCallError(trial.number) from error
        raise


def kept(trial: Trial) -> Outcome | None:
    """Return the outcome that an interrupted call wrote on a resumed trial, if any.

    A value that `keep` cannot have written is no outcome: the trial is evaluated again.
    """
    match early_result(trial):
        case [("PRUNED" | "FAIL") as state, [], str(reason)]:
            return Outcome(TrialState[state], None, reason)
        case ["COMPLETE", list(written), str()]:
            values = numbers(written) if all(isinstance(v, str) for v in written) else []
            complete = len(values) == len(trial.study.directions)
            if complete and not any(map(math.isnan, values)):
                return Outcome(TrialState.COMPLETE, values)
    return None

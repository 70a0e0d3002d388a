"""Outcomes: what a trial becomes by the result of its evaluation, and results that come early.

A generation is told once all its trials have a result, because samplers and pruners take finished
trials into account: the study would depend on the order of arrival. A result that comes before
the generation is complete is written on its trial, which stays running. Then an interruption
costs no result that has arrived.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import BrokenExecutor, CancelledError
from typing import Any, NamedTuple, TypeAlias

from optuna import Trial, TrialPruned
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._checks import shown
from optuna_ga._optuna_internals import early_result, is_storage_error, stored, write_early_result

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
        return Outcome(TrialState.PRUNED, reason=str(result))
    if isinstance(result, BaseException):
        state = TrialState.RUNNING if interrupts(result) else TrialState.FAIL
        return Outcome(state, reason=repr(result), error=result)
    if result is None:
        return Outcome(TrialState.FAIL, reason="the result is None")
    values = numbers(result)
    n_objectives = len(trial.study.directions)
    if len(values) != n_objectives:
        error = TypeError(
            f"`evaluate` must return {n_objectives} number(s), an exception or None for trial "
            f"{trial.number}, but it returned {shown(result)}."
        )
        return Outcome(TrialState.FAIL, reason=str(error), error=error)
    if any(map(math.isnan, values)):
        return Outcome(TrialState.FAIL, reason=f"the result is {shown(result)}")
    return Outcome(TrialState.COMPLETE, values)


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


def keep(trial: Trial, outcome: Outcome) -> None:
    """Write the outcome of a trial that stays running for now.

    Raises:
        AnotherCallError: If the trial has finished.
    """
    values = [repr(value) for value in outcome.values or ()]  # JSON knows no infinity.
    try:
        write_early_result(trial, [outcome.state.name, values, outcome.reason[:_LONGEST_REASON]])
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
        if stored(trial).state.is_finished():
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

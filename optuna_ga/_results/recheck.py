"""`recheck_best`: evaluate the best trials of a noisy objective again."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import optuna
from optuna.pruners import NopPruner
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial, TrialState

from optuna_ga._checks import check_callable, check_int, shown
from optuna_ga._optuna_internals import only_direction
from optuna_ga._population.fitness import fittest, loss_of

_logger = optuna.logging.get_logger("optuna.recheck")


@dataclass(frozen=True)
class Rechecked:
    """A trial whose parameters were evaluated again.

    Attributes:
        trial: The trial, with its value from the search.
        values: The values of the repeated evaluations, `n_repeats` less the failed ones.
        errors: The exceptions of the repeats that failed.
    """

    trial: FrozenTrial
    values: tuple[float, ...]
    errors: tuple[Exception, ...] = ()

    @property
    def mean(self) -> float:
        """Mean of the repeats; excludes the value from the search, which selection has biased.

        NaN if all repeats failed.
        """
        if not self.values:
            return math.nan
        return sum(value / len(self.values) for value in self.values)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; NaN for a single repeat or infinite values."""
        if len(self.values) < 2 or not all(map(math.isfinite, self.values)):
            return math.nan
        try:
            return statistics.stdev(self.values) / math.sqrt(len(self.values))
        except OverflowError:  # The deviation is beyond all floats.
            return math.inf


def recheck_best(
    study: Study,
    objective: Callable[[BaseTrial], float],
    *,
    n_best: int = 5,
    n_repeats: int = 3,
) -> list[Rechecked]:
    """Evaluate the best trials again, and return them sorted by their new means.

    With a noisy objective the best trial of a search is partly the luckiest one, so its value
    overestimates its parameters. The means of the repeats exclude the value from the search and
    are far less biased. Some bias remains, because the first result is the luckiest of
    `n_best` means; for an unbiased estimate evaluate that trial once more. The study does not
    change.

    The objective is called with an `optuna.trial.FixedTrial` that has the trial's parameters and,
    in every call, a new number that no trial of the study has; objectives may seed their noise
    with it. Its `study` is a copy of the study in memory. Every trial gets its first repeat before
    any trial gets its second.

    A repeat fails if the objective raises an exception, a TrialPruned included, or returns no
    number. It is logged, kept in `Rechecked.errors` and left out of the mean; the other repeats
    go on. Means of trials whose repeats failed may be too good, so look at `errors` first.

    Args:
        study: A study with one objective.
        objective: The study's objective.
        n_best: Number of trials to evaluate again, at least 1: the best complete trials with
            different parameters, feasible ones first; fewer if the study has fewer.
        n_repeats: Number of repeats for each trial, at least 1.

    Returns:
        The trials and their new values, the best mean first; a trial without a value is last.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `n_best` or `n_repeats` is less than 1, or if the study has several
            objectives or no complete trial.
        Exception: The first exception of the objective, if every repeat failed.
    """
    check_callable("objective", objective)
    n_best = check_int("n_best", n_best, minimum=1)
    n_repeats = check_int("n_repeats", n_repeats, minimum=1)
    direction = only_direction(
        study, "`recheck_best`", "Evaluate each of `study.best_trials` again instead."
    )
    best = _best(study, n_best)
    rechecked = [Rechecked(copy.deepcopy(trial), ()) for trial in best]
    number = len(study.get_trials(deepcopy=False))
    for _ in range(n_repeats):
        for position, before in enumerate(rechecked):
            rechecked[position] = _repeated(before, objective, study, number)
            number += 1
    if not any(checked.values for checked in rechecked):
        raise rechecked[0].errors[0]
    return sorted(rechecked, key=lambda checked: loss_of(checked.mean, direction))


def _repeated(
    before: Rechecked, objective: Callable[[BaseTrial], float], study: Study, number: int
) -> Rechecked:
    """Return the trial after one more repeat, whose trial has the given number."""
    name = f"Repeat {number} of trial {before.trial.number}"
    try:
        value = _as_number(objective(_RepeatTrial(study, before.trial.params, number)))
        if math.isnan(value):
            raise ValueError("The objective returned NaN.")
    except Exception as error:
        _logger.warning(f"{name} failed: {error!r}", exc_info=error)
        return replace(before, errors=(*before.errors, error))
    _logger.info(f"{name} finished with value {value}.")
    return replace(before, values=(*before.values, value))


def _as_number(result: Any) -> float:
    try:
        return float(result)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`objective` must return a number, but it returned {shown(result)}."
        ) from error


class _RepeatTrial(FixedTrial):
    """A trial with given parameters, whose study is a copy in memory."""

    def __init__(self, study: Study, params: dict[str, Any], number: int) -> None:
        super().__init__(params, number)
        self._original = study

    @cached_property
    def study(self) -> Study:
        """A copy, so that the objective can change nothing of the study."""
        storage = InMemoryStorage()
        copied = optuna.create_study(
            storage=storage,
            pruner=NopPruner(),
            study_name=self._original.study_name,
            directions=self._original.directions,
        )
        # `add_trials` refuses values out of their range, which enqueued trials may have.
        study_id = storage.get_study_id_from_name(copied.study_name)
        for trial in self._original.get_trials():
            storage.create_new_trial(study_id, trial)
        for key, value in self._original.user_attrs.items():
            copied.set_user_attr(key, value)
        return copied


def _best(study: Study, n: int) -> list[FrozenTrial]:
    """Return the `n` best complete trials with different parameters, the fittest first."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if not complete:
        raise ValueError("The study has no complete trial yet.")
    best: list[FrozenTrial] = []
    for trial in fittest(complete, len(complete), study.directions):
        if not any(_have_same_params(trial, other) for other in best):
            best.append(trial)
        if len(best) == n:
            break
    return best


def _have_same_params(trial: FrozenTrial, other: FrozenTrial) -> bool:
    """Return whether trials have equal parameters; a choice that is NaN equals itself."""
    if trial.params.keys() != other.params.keys():
        return False
    pairs = ((value, other.params[name]) for name, value in trial.params.items())
    return all(a == b or (a != a and b != b) for a, b in pairs)

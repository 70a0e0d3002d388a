"""`recheck_best`: evaluate the best trials of a noisy objective again."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from optuna.study import Study
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial, TrialState

from optuna_ga._checks import check_int
from optuna_ga._optuna_internals import only_direction
from optuna_ga._population.fitness import fittest, loss_of


@dataclass(frozen=True)
class Rechecked:
    """A trial whose parameters were evaluated again.

    Attributes:
        trial: The trial, with its value from the search.
        values: The values of the repeated evaluations `(n_repeats,)`.
    """

    trial: FrozenTrial
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the repeats; excludes the value from the search, which selection has biased."""
        return sum(value / len(self.values) for value in self.values)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; NaN for a single repeat or infinite values."""
        if len(self.values) < 2 or not all(map(math.isfinite, self.values)):
            return math.nan
        return statistics.stdev(self.values) / math.sqrt(len(self.values))


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
    are far less biased. A small bias remains, because the first result is the luckiest of
    `n_best` means; for an unbiased estimate evaluate that trial once more. The study does not
    change.

    The objective is called with an `optuna.trial.FixedTrial` that has the trial's parameters and,
    in every call, a new number that no trial of the study has; objectives may seed their noise
    with it. Every trial gets its first repeat before any trial gets its second.

    Args:
        study: A study with one objective.
        objective: The study's objective. Its exceptions are passed on.
        n_best: Number of trials to evaluate again, at least 1: the best complete trials with
            different parameters, feasible ones first; fewer if the study has fewer.
        n_repeats: Number of repeats for each trial, at least 1.

    Returns:
        The trials and their new values, the best mean first.

    Raises:
        TypeError: If `n_best` or `n_repeats` is not an integer.
        ValueError: If `n_best` or `n_repeats` is less than 1, or if the study has several
            objectives or no complete trial.
    """
    n_best = check_int("n_best", n_best, minimum=1)
    n_repeats = check_int("n_repeats", n_repeats, minimum=1)
    direction = only_direction(study)
    best = _best(study, n_best)
    values: list[list[float]] = [[] for _ in best]
    number = len(study.get_trials(deepcopy=False))
    for _ in range(n_repeats):
        for trial, repeats in zip(best, values, strict=True):
            repeats.append(float(objective(FixedTrial(trial.params, number))))
            number += 1
    rechecked = [
        Rechecked(copy.deepcopy(trial), tuple(repeats))
        for trial, repeats in zip(best, values, strict=True)
    ]
    return sorted(rechecked, key=lambda checked: loss_of(checked.mean, direction))


def _best(study: Study, n: int) -> list[FrozenTrial]:
    """Return the `n` best complete trials with different parameters, the fittest first."""
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if not complete:
        raise ValueError("The study has no complete trial yet.")
    best: list[FrozenTrial] = []
    for trial in fittest(complete, len(complete), study.direction):
        if all(trial.params != other.params for other in best):
            best.append(trial)
        if len(best) == n:
            break
    return best

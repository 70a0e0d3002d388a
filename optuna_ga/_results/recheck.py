"""An honest finish for noisy objectives: the best trials are evaluated again."""

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
    """A trial with the values of its repeats.

    Attributes:
        trial: The trial, with the value that it got in the search.
        values: What its parameters got when they were evaluated again `(n_repeats,)`.
    """

    trial: FrozenTrial
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean of the repeats, without the value that the trial was chosen for."""
        return sum(value / len(self.values) for value in self.values)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, NaN for a single repeat."""
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
    """Evaluate the best trials again, and return them with the best mean first.

    Where the same parameters get another value each time, the best trial of a search is partly
    the luckiest one, and its value flatters it. The repeats do so far less: the value from the
    search is not part of their mean, but the answer is still the luckiest of `n_best` means, so
    that an unbiased figure takes one more evaluation of it. The study stays as it is.

    The objective is called with an `optuna.trial.FixedTrial` that has the parameters and a number
    that no trial of the study has, each time another, for objectives that seed their noise by it.
    Every trial gets its first repeat before any gets its second.

    Args:
        study: A study with one objective.
        objective: The objective of the study. What it raises is passed on.
        n_best: How many of the best trials with different parameters are evaluated again, at
            least 1; fewer if the study has fewer complete ones. Feasible trials come first.
        n_repeats: How often each is evaluated, at least 1.

    Raises:
        TypeError: If `n_best` or `n_repeats` is no integer.
        ValueError: If one of them is too small, if the study has several objectives, or if it has
            no complete trial.
    """
    n_best = check_int("n_best", n_best, minimum=1)
    n_repeats = check_int("n_repeats", n_repeats, minimum=1)
    direction = only_direction(study)
    best = _best(study, n_best)
    values: list[list[float]] = [[] for _ in best]
    number = len(study.get_trials(deepcopy=False))
    for _ in range(n_repeats):
        for trial, found in zip(best, values, strict=True):
            found.append(float(objective(FixedTrial(trial.params, number))))
            number += 1
    rechecked = [
        Rechecked(copy.deepcopy(trial), tuple(found))
        for trial, found in zip(best, values, strict=True)
    ]
    return sorted(rechecked, key=lambda checked: loss_of(checked.mean, direction))


def _best(study: Study, n: int) -> list[FrozenTrial]:
    """Return the best complete trials of which no two have the same parameters."""
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

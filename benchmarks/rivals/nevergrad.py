"""Nevergrad's optimizers as Optuna samplers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import nevergrad as ng
import numpy as np
from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from benchmarks.rivals.asking import AskingSampler, from_number, n_steps, searched
from benchmarks.rivals.unit_cube import value_at

_WORST = 1e20  # Nevergrad warns of more.


class NevergradSampler(AskingSampler):
    """Asks an optimizer of Nevergrad before each trial, and returns the value to it.

    It minimizes. A trial without a value counts as a very bad trial.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self._asked: dict[int, Any] = {}  # By number of trial.

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Ask for the trial's parameters."""
        self._asked[trial.number] = self._optimizer.ask()

    def tell(self, number: int, values: Sequence[float] | None) -> None:
        """Return the value of the trial's parameters to Nevergrad."""
        value = values[0] if values else _WORST
        self._optimizer.tell(self._asked.pop(number), min(value, _WORST))


class DESampler(NevergradSampler):
    """Differential evolution in the unit cube: TwoPointsDE, with a population of 30.

    Args:
        space: Every parameter that a trial may have.
        n_trials: Number of trials, Nevergrad's budget.
        seed: Seed of all draws.
    """

    def __init__(self, space: Mapping[str, BaseDistribution], *, n_trials: int, seed: int) -> None:
        # Nevergrad's own deviation for a range; given, because the default warns.
        cube = ng.p.Array(init=np.full(len(space), 0.5)).set_mutation(sigma=1 / 6)
        cube.set_bounds(0.0, 1.0, full_range_sampling=True)
        cube.random_state = np.random.RandomState(seed)
        super().__init__(ng.optimizers.TwoPointsDE(cube, budget=n_trials))
        self._coordinates = {name: index for index, name in enumerate(space)}

    def value(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """Return the value of a parameter at the trial's point."""
        return value_at(distribution, self._asked[number].value[self._coordinates[name]])


class NGOptSampler(NevergradSampler):
    """Nevergrad's choice among its optimizers by the kinds of parameters and the budget.

    Args:
        space: Every parameter that a trial may have.
        n_trials: Number of trials, Nevergrad's budget.
        n_workers: Trials that run at a time. With more than said, some optimizers wait for ever.
        seed: Seed of all draws.
    """

    def __init__(
        self,
        space: Mapping[str, BaseDistribution],
        *,
        n_trials: int,
        n_workers: int,
        seed: int,
    ) -> None:
        parameters = ng.p.Dict(
            **{name: _parameter(found) for name, found in searched(space).items()}
        )
        parameters.random_state = np.random.RandomState(seed)
        super().__init__(ng.optimizers.NGOpt(parameters, budget=n_trials, num_workers=n_workers))

    def value(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """Return Nevergrad's value of a parameter."""
        return from_number(distribution, self._asked[number].value[name])


def _parameter(distribution: BaseDistribution) -> ng.p.Parameter:
    """Return Nevergrad's parameter. Choices and steps are numbered from 0."""
    match distribution:
        case CategoricalDistribution(choices=choices):
            return ng.p.Choice(range(len(choices)))
        case IntDistribution(log=True, low=low, high=high):
            return ng.p.Log(lower=low, upper=high).set_integer_casting()
        case FloatDistribution(log=True, low=low, high=high):
            return ng.p.Log(lower=low, upper=high)
        case FloatDistribution(low=low, high=high, step=None):
            return ng.p.Scalar(lower=low, upper=high)
        case IntDistribution() | FloatDistribution():
            return ng.p.Scalar(lower=0, upper=n_steps(distribution) - 1).set_integer_casting()
    raise AssertionError(distribution)

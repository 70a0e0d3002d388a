"""Samplers that ask another package's optimizer for all parameters of a trial at once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState


class AskingSampler(BaseSampler):
    """A sampler that asks before a trial, and hands out each parameter when it is suggested.

    A parameter of a branch that the trial does not take is asked for and never used.
    """

    @abstractmethod
    def value(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """Return the value of a parameter, which was asked for before the trial began."""

    @abstractmethod
    def tell(self, number: int, values: Sequence[float] | None) -> None:
        """Return the values of a trial to the optimizer; it has none if it is not complete."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: each parameter is handed out when it is suggested."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing, since no parameter is sampled relative to others."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the value of a parameter that was asked for before the trial began."""
        return self.value(trial.number, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Return the values of the trial to the optimizer."""
        self.tell(trial.number, values if state == TrialState.COMPLETE else None)


def searched(space: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """Return the parameters with more than one value, which alone Optuna asks samplers for."""
    return {
        name: distribution for name, distribution in space.items() if not distribution.single()
    }


def n_steps(distribution: IntDistribution | FloatDistribution) -> int:
    """Return the number of values of a parameter with steps."""
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    assert distribution.step is not None
    return round((distribution.high - distribution.low) / distribution.step) + 1


def from_number(distribution: BaseDistribution, found: Any) -> Any:
    """Return the value of a parameter, given an optimizer's number.

    Choices and steps are numbered from 0. Numbers that rounding took out of range are clipped.
    """
    match distribution:
        case CategoricalDistribution(choices=choices):
            return choices[int(found)]
        case IntDistribution(log=False, low=low, high=high, step=step):
            return min(max(low + step * round(found), low), high)
        case IntDistribution(low=low, high=high):
            return min(max(round(found), low), high)
        case FloatDistribution(low=low, high=high, step=float(step)):
            return min(max(low + step * round(found), low), high)
        case FloatDistribution(low=low, high=high):
            return min(max(float(found), low), high)
    raise AssertionError(distribution)

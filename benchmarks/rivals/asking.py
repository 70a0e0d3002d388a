"""Samplers that ask another package's optimizer for all parameters of a trial at once."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
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

    def tell(self, number: int, value: float) -> None:
        """Note the value of a trial with one objective, inf if it has none."""

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
        """Return the value of the trial to the optimizer."""
        is_complete = state == TrialState.COMPLETE and values
        self.tell(trial.number, values[0] if values and is_complete else math.inf)


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

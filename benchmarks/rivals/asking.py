"""A sampler that asks another package's optimizer for all parameters of a trial at once."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial


class AskingSampler(BaseSampler):
    """A sampler that asks before a trial, and hands out each parameter when it is suggested.

    A parameter of a branch that the trial does not take is asked for and never used.
    """

    @abstractmethod
    def value(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """Return the value of a parameter, which was asked for before the trial began."""

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

"""The columns of a matrix of genes: which parameters have one, and in which distributions.

Shapes: D parameters. Genes are positions on the unit scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from optuna_ga._population.choices import are_equal
from optuna_ga._population.genes import Gene, is_inheritable, nearest_value
from optuna_ga._population.unit_scale import encoder

Distributions = Mapping[str, BaseDistribution]

_RENEWED_AFTER = 0.1
_MAX_CHANGES = 64


class Columns:
    """The columns of a matrix whose trials may have new parameters, or other distributions.

    Taking over a distribution costs the matrix time for each of its trials, so the amortized cost
    of a trial is bounded. A parameter whose range changes is taken over only if a tenth of the
    trials have arrived since it last was. New names, kinds and choices are taken over at once with
    64 trials, later only if a tenth of the trials have arrived since they last were: a study with
    a new name in every trial has few columns.

    Attributes:
        distributions: The parameters' distributions, by column.
        positions: The positions of the columns, by parameter.
        encoders: Functions that map a parameter's value to its gene.
        version: Changes whenever a distribution is taken over.
        ranges_vary: Whether a parameter has had two distributions.
        are_missing: Whether a trial has had a parameter without a column.
    """

    def __init__(self) -> None:
        self.distributions: dict[str, BaseDistribution] = {}
        self.positions: dict[str, int] = {}
        self.encoders: dict[str, Callable[[Gene], float]] = {}
        self.version = 0
        self.ranges_vary = False
        self.are_missing = False
        self._taken_over: dict[str, int] = {}  # Number of trials when a parameter was taken over.
        self._n_changes = 0  # Trials with which names, kinds or choices were taken over,
        self._changed_at = 0  # and the number of trials at the last of them.

    def others(self, distributions: Distributions) -> Distributions:
        """Return which of a trial's distributions are not those of its columns."""
        return {
            name: distribution
            for name, distribution in distributions.items()
            if not are_equal(self.distributions.get(name), distribution)
        }

    def take_over(self, others: Distributions, n_trials: int) -> Distributions:
        """Take over those of the latest trial's other distributions that are due; return them.

        Args:
            others: The other distributions of the latest trial.
            n_trials: Number of trials in the matrix, with the latest.
        """
        self.ranges_vary |= any(name in self.distributions for name in others)
        due = self._due(others, n_trials)
        for name, distribution in due.items():
            self.positions.setdefault(name, len(self.positions))
            self.distributions[name] = distribution
            self.encoders[name] = encoder(distribution)
            self.version += 1
            self._taken_over[name] = n_trials
        self.are_missing |= any(name not in self.distributions for name in others)
        return due

    def note_varying(self) -> None:
        """Note that a parameter has had two distributions, as a running trial shows."""
        self.ranges_vary = True

    def encoded(self, params: Mapping[str, Gene], distributions: Distributions) -> np.ndarray:
        """Return parameters `(D,)` on the unit scale; NaN where they are absent."""
        units = np.full(len(self.distributions), np.nan)
        for name, value in params.items():
            distribution = self.distributions.get(name)
            if distribution is None or not is_inheritable(
                value, distributions[name], distribution
            ):
                continue
            nearest = nearest_value(distribution, value)
            units[self.positions[name]] = self.encoders[name](nearest)
        return units

    def hold(self, params: Mapping[str, Gene], distributions: Distributions) -> bool:
        """Return whether all values are values of the columns' distributions.

        A parameter that no finished trial has had is ignored.

        Args:
            params: The values.
            distributions: The distributions that they are from, if not from the columns'.
        """
        for name, value in params.items():
            distribution = self.distributions.get(name)
            if distribution is None:
                if self.are_missing:
                    return False
            elif not (
                is_inheritable(value, distributions.get(name, distribution), distribution)
                and nearest_value(distribution, value) == value
            ):
                return False
        return True

    def _due(self, others: Distributions, n_trials: int) -> Distributions:
        """Return which of the latest trial's other distributions are to be taken over now.

        If names, kinds or choices are among them, the change is counted.
        """

        def is_tenth_since(n: int) -> bool:
            return n_trials - n >= _RENEWED_AFTER * n_trials

        changes_due = self._n_changes < _MAX_CHANGES or is_tenth_since(self._changed_at)
        ranges = {
            name for name, distribution in others.items() if self._is_range(name, distribution)
        }
        due = {
            name: distribution
            for name, distribution in others.items()
            if (is_tenth_since(self._taken_over[name]) if name in ranges else changes_due)
        }
        if not ranges.issuperset(due):
            self._n_changes += 1
            self._changed_at = n_trials
        return due

    def _is_range(self, name: str, distribution: BaseDistribution) -> bool:
        """Return whether a distribution differs from its column's in the range of numbers only."""
        return type(self.distributions.get(name)) is type(distribution) and not isinstance(
            distribution, CategoricalDistribution
        )

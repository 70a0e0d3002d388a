"""Genes that a candidate is given, as those of a model's optimum, rather than bred.

Shapes: D parameters. Genes are positions on the unit scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from optuna.distributions import BaseDistribution

from optuna_ga._population.choices import are_equal
from optuna_ga._population.genes import is_inheritable, nearest_value
from optuna_ga._population.unit_scale import from_unit, to_unit


class GivenGenes(NamedTuple):
    """The genes of a point, and what they are positions in.

    Attributes:
        genes: The genes `(D,)`.
        distributions: The parameters' distributions, by name.
    """

    genes: np.ndarray
    distributions: Mapping[str, BaseDistribution]

    def within(self, distributions: Mapping[str, BaseDistribution]) -> np.ndarray:
        """Return the genes in other distributions, NaN for parameters that the point lacks.

        Where a range has changed, a gene is that of the nearest value.
        """
        by_name = dict(zip(self.distributions, self.genes.tolist(), strict=True))
        found = [self._gene(by_name, name, each) for name, each in distributions.items()]
        return np.array(found, float)

    def _gene(self, by_name: Mapping[str, float], name: str, wanted: BaseDistribution) -> float:
        own = self.distributions.get(name)
        if own is None:
            return math.nan
        if are_equal(own, wanted):
            return by_name[name]
        value = from_unit(own, by_name[name])
        if not is_inheritable(value, own, wanted):
            return math.nan
        return to_unit(wanted, nearest_value(wanted, value))

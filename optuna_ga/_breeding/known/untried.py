"""Random children that repeat no known trial.

Shapes: K children, D parameters. Genes are positions on the unit scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product

import numpy as np
from optuna.distributions import BaseDistribution

from optuna_ga._breeding.known.known_trials import KnownTrials
from optuna_ga._population.draws import generator
from optuna_ga._population.genes import n_values
from optuna_ga._population.unit_scale import grid, snapped_to_grid

Distributions = Mapping[str, BaseDistribution]

_N_RANDOM = 256
_MAX_ENUMERATED = 10_000  # So many points are looked at where a space is nearly exhausted.


def untried_children(known: KnownTrials, seed: int, number: int, fixed: np.ndarray) -> np.ndarray:
    """Return random children `(K, D)` for trial `number` that repeat no known trial.

    They are the new children among 256 random ones. If none is new and the space is discrete, they
    are all remaining points; of more than 10,000 points, the new ones among 10,000 random draws. K
    is 0 if nothing was found.

    Args:
        known: The known trials.
        seed: Seed of all draws.
        number: The trial's number.
        fixed: Genes `(D,)` that are given, NaN for free genes.
    """
    distributions = known.matrix.distributions
    children = overwritten(_random_children(distributions, seed, number, _N_RANDOM), fixed)
    new = known.new(children)
    if not new.any():
        children = overwritten(_many_points(distributions, seed, number), fixed)
        new = known.new(children)
    return np.asarray(children[new])


def overwritten(children: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Return children `(K, D)` with the given genes `(D,)`, which are NaN where free."""
    return np.where(np.isnan(fixed), children, fixed)


def _random_children(distributions: Distributions, seed: int, number: int, n: int) -> np.ndarray:
    """Return random children `(n, D)`."""
    columns = [
        snapped_to_grid(distribution, generator(seed, number, "random", name).random(n))
        for name, distribution in distributions.items()
    ]
    return np.column_stack(columns)


def _many_points(distributions: Distributions, seed: int, number: int) -> np.ndarray:
    """Return all points of a discrete space `(K, D)` in random order, or many of a large one.

    Points of branches that exclude each other count as many times as there are combinations of
    their parameters, so that a space may be smaller than it seems.
    """
    kinds = distributions.values()
    cells = [n_values(kind) for kind in kinds]
    if None in cells:
        return np.zeros((0, len(cells)))
    if math.prod(n for n in cells if n is not None) > _MAX_ENUMERATED:
        return _random_children(distributions, seed, number, _MAX_ENUMERATED)
    grids = [positions for kind in kinds if (positions := grid(kind)) is not None]
    points = np.array(list(product(*grids)))
    return np.asarray(generator(seed, number, "order").permutation(points))

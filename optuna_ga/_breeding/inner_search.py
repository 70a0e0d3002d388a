"""The inner search: an evolution on a model, which finds the candidate that it rates highest.

Generations of candidates are bred from the candidates that a model rates highest, by the operators
that breed children from trials. Where constraints leave little room, few candidates that are bred
from trials may be feasible, and the best of them is far from the best that there is.

Shapes: K candidates, D parameters. Genes are positions on the unit scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from optuna.distributions import BaseDistribution

from optuna_ga._breeding.adaptive_operators import express, plan
from optuna_ga._breeding.adaptive_settings import Tuning
from optuna_ga._population.draws import generator

_N_GENERATIONS = 4


def highest_rated(
    genes: np.ndarray,
    rate: Callable[[np.ndarray], np.ndarray],
    distributions: Mapping[str, BaseDistribution],
    tuning: Tuning,
    key: tuple[int, ...],
) -> np.ndarray:
    """Return the genes `(D,)` that are rated highest among all generations.

    Args:
        genes: The first generation `(K, D)`.
        rate: Returns ratings `(K,)` of genes `(K, D)`, higher for better.
        distributions: The parameters' distributions, by name.
        tuning: Constants of the operators, and how many parents and candidates there are.
        key: Key of all draws.
    """
    ratings = rate(genes)
    for generation in range(_N_GENERATIONS):
        best = np.argsort(-ratings, kind="stable")[: tuning.n_parents]
        genes, ratings = genes[best], ratings[best]
        bred = _bred(genes, distributions, tuning, (*key, generation))
        genes, ratings = np.vstack([genes, bred]), np.concatenate([ratings, rate(bred)])
    return np.asarray(genes[ratings.argmax()])


def _bred(
    parents: np.ndarray,
    distributions: Mapping[str, BaseDistribution],
    tuning: Tuning,
    key: tuple[int, ...],
) -> np.ndarray:
    """Return the genes `(K, D)` of candidates that are bred from parents `(E, D)`."""
    plans = plan(tuning.n_candidates, len(parents), tuning, generator(*key, "inner search"))
    rngs = [generator(*key, "inner search", name) for name in distributions]

    def donors(position: int) -> np.ndarray:  # Of parents that lack a parameter; none does.
        return np.asarray(parents[:, position])

    bred, _ = express(plans, parents.T, donors, [*distributions.values()], tuning, rngs, {})
    return bred.T

"""The adaptive operators: crossover, steps and mutation that scale themselves.

They breed many candidates at once. A candidate draws its plan once: which operator, which parents,
which coefficients. Genes are expressed from the plan, each by its own draws, so a child needs no
search space known beforehand. A number is made by one of two operators, since neither is best
everywhere:

- affine: an affine combination of all parents, around a mean that leans to the fitter parents. It
  has the parents' covariance, so that genes that vary together keep doing so, and a spread that
  adapts as the search converges, times a random factor over an order of magnitude;
- step: a step from one parent, whose size is random over orders of magnitude, in each gene by
  itself, so that the search continues where all parents agree.

Choices have no distances: each comes from one of two parents, whichever operator makes numbers.
Where a parameter has many choices, fresh draws may be among some of these alone.

Shapes: K candidates, E parents, the fittest first, D parameters. Genes are positions on the unit
scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from optuna.distributions import BaseDistribution, CategoricalDistribution

from optuna_ga._breeding.adaptive_settings import Tuning
from optuna_ga._breeding.many_choices import FreshChoices
from optuna_ga._population.genes import n_cells
from optuna_ga._population.unit_scale import snapped_to_grid


class Plan(NamedTuple):
    """The draws that candidates make once.

    Attributes:
        affine: Whether numbers are affine combinations rather than steps `(K,)`.
        first: Position of one parent, from which steps start `(K,)`.
        second: Position of another parent, for choices `(K,)`.
        weights: Coefficients of the affine combination of all parents `(K, E)`.
        steps: Sizes of the steps `(K,)`.
    """

    affine: np.ndarray
    first: np.ndarray
    second: np.ndarray
    weights: np.ndarray
    steps: np.ndarray

    def only(self, candidate: int) -> Plan:
        """Return the plan of one candidate."""
        one = [candidate]
        return Plan(*(draws[one] for draws in self))

    def parents(self, *, choices: bool) -> list[int]:
        """Return the positions of the first candidate's parents, ascending.

        Args:
            choices: Whether it has categorical genes, which always come from two parents.
        """
        if self.affine[0]:
            return list(range(self.weights.shape[1]))
        pair = {int(self.first[0])}
        if choices:
            pair.add(int(self.second[0]))
        return sorted(pair)


def plan(
    n_candidates: int,
    n_parents: int,
    tuning: Tuning,
    rng: Generator,
) -> Plan:
    """Return a plan for each candidate.

    Args:
        n_candidates: K.
        n_parents: E, at least 2.
        tuning: Constants of the operators.
        rng: Generator of the child's draws.
    """
    by_rank, bounds = _rank_weights(n_parents)
    uniforms = rng.random((6, n_candidates))
    first, other = bounds.searchsorted(uniforms[:2], side="right")
    shift = 1 + (uniforms[2] * (n_parents - 1)).astype(int)
    centre = (by_rank + 1 / n_parents) / 2
    spread = rng.standard_normal((n_candidates, n_parents)) / math.sqrt(n_parents)
    spread *= _power_of_10(tuning.log_spread, uniforms[3])[:, None]
    return Plan(
        affine=uniforms[4] >= tuning.step_prob,
        first=first,
        second=np.where(other == first, (first + shift) % n_parents, other),
        weights=centre + spread - spread.sum(axis=1, keepdims=True) / n_parents,
        steps=_power_of_10(tuning.log_steps, uniforms[5]),
    )


def express(
    plan: Plan,
    parents: np.ndarray,
    donors: Callable[[int], np.ndarray],
    distributions: Sequence[BaseDistribution],
    tuning: Tuning,
    rngs: Sequence[Generator],
    fresh_choices: Mapping[int, FreshChoices],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the genes of every candidate `(D, K)`, and which are drawn afresh `(D, K)`.

    Args:
        plan: The candidates' plans.
        parents: The parents' genes `(D, E)`, NaN for a parent without the parameter.
        donors: Maps a parameter's position to its genes in the fittest trials that have it; called
            for the parameters that some parent lacks.
        distributions: The parameters' distributions `(D,)`.
        tuning: Constants of the operators.
        rngs: Generators of the child's draws, one for each parameter `(D,)`.
        fresh_choices: By a parameter's position, the choices among which it is drawn afresh, if
            not among all.
    """
    uniforms, normals = _draws(rngs, len(plan.first))
    cells = [n_cells(distribution) for distribution in distributions]
    choices = np.array([isinstance(d, CategoricalDistribution) for d in distributions])
    fresh_prob = np.where(choices, tuning.fresh_choice_prob, tuning.fresh_prob)
    first, second = parents[:, plan.first], parents[:, plan.second]
    if np.isnan(parents).any():
        spare, n_donors = _spare(parents, donors)
        first, second = _two(first, second, spare[:, plan.first], spare[:, plan.second])
        # Few values hold little information on where to search.
        few = np.where(n_donors > 0, np.maximum(fresh_prob, 0.5), 1.0)
        fresh_prob = np.where(n_donors < parents.shape[1], few, fresh_prob)
    for position, (among, least_prob) in fresh_choices.items():
        uniforms[2, position] = among[(uniforms[2, position] * len(among)).astype(int)]
        fresh_prob[position] = max(fresh_prob[position], least_prob)
    picked = np.where(uniforms[0] < 0.5, first, second)
    # A step leaves its cell, where there are cells.
    least = np.array([0.5 / n_values if n_values else 0.0 for n_values in cells])[:, None]
    stepped = first + np.maximum(plan.steps, least) * normals
    numbers = np.where(plan.affine, _affine(plan, parents, picked), stepped)
    # Clipped, since optima often lie on a bound.
    numbers = np.minimum(np.maximum(numbers, 0.0), 1.0)
    fresh = uniforms[1] < fresh_prob[:, None]
    genes = np.where(fresh, uniforms[2], np.where(choices[:, None], picked, numbers))
    for position, distribution in enumerate(distributions):
        if cells[position] is not None:
            genes[position] = snapped_to_grid(distribution, genes[position])
    return genes, fresh


def _draws(rngs: Sequence[Generator], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uniform draws `(3, D, K)` and normal draws `(D, K)`, a generator for each gene."""
    uniforms, normals = np.empty((len(rngs), 3, n)), np.empty((len(rngs), n))
    for position, rng in enumerate(rngs):
        rng.random(out=uniforms[position])
        rng.standard_normal(out=normals[position])
    return uniforms.transpose(1, 0, 2), normals


def _power_of_10(exponents: tuple[float, float], uniforms: np.ndarray) -> np.ndarray:
    """Return powers of 10 with exponents at uniform positions between two numbers."""
    least, most = exponents
    return np.asarray(10.0 ** (least + (most - least) * uniforms))


@lru_cache(maxsize=64)
def _rank_weights(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the parents' weights `(n,)`, and the `n - 1` bounds between their shares of [0, 1].

    They fall with the logarithm of the rank, as in CMA-ES (Hansen 2016, arXiv:1604.00772).
    """
    weights = np.log(n + 0.5) - np.log(np.arange(1, n + 1))
    weights /= weights.sum()
    return weights, np.cumsum(weights[:-1])


def _spare(
    parents: np.ndarray, donors: Callable[[int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return genes for parents that lack them `(D, E)`, and the number of their donors `(D,)`.

    Where no parent lacks a gene, the number of donors is the number of parents.
    """
    n_parents = parents.shape[1]
    spare, n_donors = np.zeros(parents.shape), np.full(len(parents), n_parents)
    for position in np.flatnonzero(np.isnan(parents).any(axis=1)).tolist():
        found = donors(position)
        n_donors[position] = len(found)
        if len(found):
            spare[position] = found[np.arange(n_parents) % len(found)]
    return spare, n_donors


def _two(
    first: np.ndarray, second: np.ndarray, spare_first: np.ndarray, spare_second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return both parents' genes `(D, K)`, NaN filled from the other parent or from a donor."""
    lacking = np.isnan(first) & np.isnan(second)
    first = np.where(lacking, spare_first, first)
    second = np.where(lacking, spare_second, second)
    return np.where(np.isnan(first), second, first), np.where(np.isnan(second), first, second)


def _affine(plan: Plan, parents: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Return affine combinations `(D, K)` of the parents with a parameter, if two have it."""
    present = ~np.isnan(parents)
    n_present = np.add.reduce(present, axis=1)
    # Cumulated parent by parent: the order in which BLAS or NumPy's sum add, and thus their
    # rounding, depends on how many genes are combined at once and on the memory layout.
    mean = np.where(present, parents, 0.0).cumsum(axis=1)[:, -1] / np.maximum(n_present, 1)
    deviations = np.where(present, parents - mean[:, None], 0.0)
    combined = (deviations[:, None] * plan.weights).cumsum(axis=-1)[..., -1] + mean[:, None]
    return np.where((n_present > 1)[:, None], combined, otherwise)

"""Crossover, steps and mutation that scale themselves, for many candidate children at once.

A candidate draws its plan once: which way, which parents, which coefficients. Genes are expressed
from the plan, each by draws of its own, so that a child needs no search space known beforehand.
A number comes about in one of two ways, since neither is best everywhere:

- affine: an affine combination of all parents, around a mean that leans to the fitter ones. It
  has the parents' covariance, so that genes that go together stay together, and a spread that
  adapts as a search converges, times a factor that is drawn over an order of magnitude;
- step: a step from one parent, by a size that is drawn over orders of magnitude, each gene by
  itself, so that a search goes on where all parents agree.

Choices have no distances: each comes from one of two parents, whichever way the numbers go.

Shapes: K candidates, E parents, the fittest first, D parameters. Genes are on the unit scale of
their distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from optuna.distributions import BaseDistribution, CategoricalDistribution

from optuna_ga._breeding.adaptive_settings import Settings
from optuna_ga._population.genes import n_cells, resolved


class Plan(NamedTuple):
    """What candidates draw once.

    Attributes:
        affine: Whether numbers are affine combinations, rather than steps from one parent `(K,)`.
        first: Position of one parent `(K,)`.
        second: Position of another parent `(K,)`.
        weights: Coefficients of the affine combination of all parents `(K, E)`.
        steps: Sizes of steps `(K,)`; 0 for a crossover of two parents.
        screened: Whether a model is to choose among them.
    """

    affine: np.ndarray
    first: np.ndarray
    second: np.ndarray
    weights: np.ndarray
    steps: np.ndarray
    screened: bool = False

    @classmethod
    def of_pair(cls, first: int, second: int, n_candidates: int) -> Plan:
        """Return plans that all take a crossover of the same two parents."""
        return cls(
            affine=np.zeros(n_candidates, bool),
            first=np.full(n_candidates, first),
            second=np.full(n_candidates, second),
            weights=np.zeros((n_candidates, 0)),
            steps=np.zeros(n_candidates),
        )

    def only(self, candidate: int) -> Plan:
        """Return the plan of one candidate."""
        one = [candidate]
        return Plan(
            self.affine[one],
            self.first[one],
            self.second[one],
            self.weights[one],
            self.steps[one],
        )

    def parents(self, candidate: int = 0, *, choices: bool = False) -> list[int]:
        """Return the positions of one candidate's parents, ascending.

        Args:
            candidate: Which candidate.
            choices: Whether it has categorical genes, which two parents give to a step as well.
        """
        if self.affine[candidate]:
            return list(range(self.weights.shape[1]))
        pair = {int(self.first[candidate])}
        if choices or self.steps[candidate] == 0.0:
            pair.add(int(self.second[candidate]))
        return sorted(pair)


def plan(
    n_candidates: int,
    n_parents: int,
    settings: Settings,
    rng: Generator,
    *,
    screened: bool = False,
) -> Plan:
    """Return a plan for each candidate.

    Args:
        n_candidates: K.
        n_parents: E, at least 2.
        settings: The sampler's settings.
        rng: Generator of the child's draws.
        screened: Whether a model is to choose among them.
    """
    by_rank, bounds = _rank_weights(n_parents)
    uniforms = rng.random((6, n_candidates))
    first, other = bounds.searchsorted(uniforms[:2], side="right")
    shift = 1 + (uniforms[2] * (n_parents - 1)).astype(int)
    centre = (by_rank + 1 / n_parents) / 2
    spread = rng.standard_normal((n_candidates, n_parents)) / math.sqrt(n_parents)
    spread *= _power_of_10(settings.log_spread, uniforms[3])[:, None]
    return Plan(
        affine=uniforms[4] >= settings.step_prob,
        first=first,
        second=np.where(other == first, (first + shift) % n_parents, other),
        weights=centre + spread - spread.sum(axis=1, keepdims=True) / n_parents,
        steps=_power_of_10(settings.log_steps, uniforms[5]),
        screened=screened,
    )


def express(
    plan: Plan,
    parents: np.ndarray,
    donors: Callable[[int], np.ndarray],
    distributions: Sequence[BaseDistribution],
    settings: Settings,
    rngs: Sequence[Generator],
) -> tuple[np.ndarray, np.ndarray]:
    """Return genes of every candidate `(D, K)`, and which of them are drawn afresh `(D, K)`.

    Args:
        plan: The candidates' plans.
        parents: The parents' genes `(D, E)`, NaN for those that do not have the parameter.
        donors: From a parameter's position to the genes of the fittest trials that have it, for
            candidates whose parents do not. Called where a parent has none.
        distributions: What the parameters are drawn from `(D,)`.
        settings: The sampler's settings.
        rngs: Generators of the child's draws, one for each parameter, so that these do not
            depend on which others there are.
    """
    uniforms, normals = _draws(rngs, len(plan.first))
    cells = [n_cells(distribution) for distribution in distributions]
    choices = np.array([isinstance(d, CategoricalDistribution) for d in distributions])
    fresh_prob = np.where(choices, settings.fresh_choice_prob, settings.fresh_prob)
    first, second = parents[:, plan.first], parents[:, plan.second]
    if np.isnan(parents).any():
        spare, n_donors = _spare(parents, donors)
        first, second = _two(first, second, spare[:, plan.first], spare[:, plan.second])
        # Few values say little of where to search.
        few = np.where(n_donors > 0, np.maximum(fresh_prob, 0.5), 1.0)
        fresh_prob = np.where(n_donors < parents.shape[1], few, fresh_prob)
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
            genes[position] = resolved(distribution, genes[position])
    return genes, fresh


def _draws(rngs: Sequence[Generator], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uniform draws `(3, D, K)` and normal ones `(D, K)`, each gene's by its generator."""
    uniforms, normals = np.empty((len(rngs), 3, n)), np.empty((len(rngs), n))
    for position, rng in enumerate(rngs):
        rng.random(out=uniforms[position])
        rng.standard_normal(out=normals[position])
    return uniforms.transpose(1, 0, 2), normals


def _power_of_10(exponents: tuple[float, float], uniforms: np.ndarray) -> np.ndarray:
    """Return powers whose exponents are uniform between two numbers."""
    least, most = exponents
    return np.asarray(10.0 ** (least + (most - least) * uniforms))


@lru_cache(maxsize=64)
def _rank_weights(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weights `(n,)` and the positions in [0, 1] where one ends and the next begins.

    They fall with the logarithm of the rank, as those of CMA-ES do.
    """
    weights = np.log(n + 0.5) - np.log(np.arange(1, n + 1))
    weights /= weights.sum()
    return weights, np.cumsum(weights[:-1])


def _spare(
    parents: np.ndarray, donors: Callable[[int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return genes for parents that lack them `(D, E)`, and of how many donors these are `(D,)`.

    Where no parent lacks a gene, none is looked for, and there are as many donors as parents.
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
    """Return both parents' genes `(D, K)`; one that has none takes the other's, or a donor's."""
    lacking = np.isnan(first) & np.isnan(second)
    first = np.where(lacking, spare_first, first)
    second = np.where(lacking, spare_second, second)
    return np.where(np.isnan(first), second, first), np.where(np.isnan(second), first, second)


def _affine(plan: Plan, parents: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Return affine combinations `(D, K)` of those parents that have a parameter, if two do."""
    present = ~np.isnan(parents)
    n_present = np.add.reduce(present, axis=1)
    # Cumulated one parent after another: in which order BLAS or NumPy's sum add, and so how they
    # round, depends on how many genes are combined at once and on how these lie in memory.
    mean = np.where(present, parents, 0.0).cumsum(axis=1)[:, -1] / np.maximum(n_present, 1)
    deviations = np.where(present, parents - mean[:, None], 0.0)
    combined = (deviations[:, None] * plan.weights).cumsum(axis=-1)[..., -1] + mean[:, None]
    return np.where((n_present > 1)[:, None], combined, otherwise)

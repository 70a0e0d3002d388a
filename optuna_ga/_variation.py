"""Crossovers, steps and mutation that scale themselves, for many candidate children at once.

A candidate draws its plan once: which crossover, which parents, which coefficients. Genes are
expressed from the plan, each by draws of its own, so that a child needs no search space known
beforehand.
Four ways to combine parents are mixed, since none is best everywhere:

- uniform: each gene from one of two parents, moved by a small share of their distance;
- blend: each gene uniform in the parents' interval, widened by half on either side
  (BLX-0.5, Eshelman and Schaffer 1993, doi:10.1016/B978-0-08-094832-4.50018-0);
- affine: an affine combination of all parents, whose spread has the parents' covariance, so that
  genes that go together stay together;
- step: a step from one parent, by a size that is drawn over orders of magnitude.

All but the last are as wide as the parents differ, and so adapt as a search converges. Choices
have no distances: each comes from one of two parents, whichever way the numbers go.

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

from optuna_ga._genes import n_cells, resolved
from optuna_ga._settings import Settings

UNIFORM, BLEND, AFFINE, STEP = range(4)

_JITTER = 0.1  # Share of the parents' distance by which a uniform crossover moves.
_WIDENING = 0.5


class Plan(NamedTuple):
    """What candidates draw once.

    Attributes:
        crossover: Which of the four ways each takes `(K,)`.
        first: Position of one parent `(K,)`.
        second: Position of another parent `(K,)`.
        weights: Coefficients of the affine combination of all parents `(K, E)`.
        steps: Sizes of steps `(K,)`.
        screened: Whether a model is to choose among them.
    """

    crossover: np.ndarray
    first: np.ndarray
    second: np.ndarray
    weights: np.ndarray
    steps: np.ndarray
    screened: bool = False

    @classmethod
    def of_pair(cls, first: int, second: int, n_candidates: int) -> Plan:
        """Return plans that all take a uniform crossover of the same two parents."""
        return cls(
            crossover=np.full(n_candidates, UNIFORM),
            first=np.full(n_candidates, first),
            second=np.full(n_candidates, second),
            weights=np.zeros((n_candidates, 0)),
            steps=np.zeros(n_candidates),
        )

    def only(self, candidate: int) -> Plan:
        """Return the plan of one candidate."""
        one = [candidate]
        return Plan(
            self.crossover[one],
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
        if self.crossover[candidate] == AFFINE:
            return list(range(self.weights.shape[1]))
        pair = {int(self.first[candidate])}
        if choices or self.crossover[candidate] != STEP:
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
    by_rank = _rank_weights(n_parents)
    uniforms = rng.random((5, n_candidates))
    first, other = np.searchsorted(_bounds(tuple(by_rank)), uniforms[:2], side="right")
    shift = 1 + (uniforms[2] * (n_parents - 1)).astype(int)
    spread = rng.standard_normal((n_candidates, n_parents)) / math.sqrt(n_parents)
    centre = (by_rank + 1 / n_parents) / 2
    least, most = settings.log_steps
    return Plan(
        crossover=np.searchsorted(_bounds(settings.crossovers), uniforms[3], side="right"),
        first=first,
        second=np.where(other == first, (first + shift) % n_parents, other),
        weights=centre + spread - spread.sum(axis=1, keepdims=True) / n_parents,
        steps=10.0 ** (least + (most - least) * uniforms[4]),
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
    n = len(plan.first)
    uniforms = np.stack([rng.random((4, n)) for rng in rngs], axis=1)
    normals = np.stack([rng.standard_normal((2, n)) for rng in rngs], axis=1)
    first, second = parents[:, plan.first], parents[:, plan.second]
    cells = [n_cells(distribution) for distribution in distributions]
    choices = np.array([isinstance(d, CategoricalDistribution) for d in distributions])
    fresh_prob = np.where(choices, settings.fresh_choice_prob, settings.fresh_prob)
    if lacking := np.flatnonzero(np.isnan(parents).any(axis=1)).tolist():
        spare = np.zeros(parents.shape)
        for row in lacking:
            found = donors(row)
            if len(found) < parents.shape[1]:  # Few values say little of where to search.
                fresh_prob[row] = max(fresh_prob[row], 0.5) if len(found) else 1.0
            if len(found):
                spare[row] = found[np.arange(parents.shape[1]) % len(found)]
        first, second = _two(first, second, spare[:, plan.first], spare[:, plan.second])
    picked = np.where(uniforms[0] < 0.5, first, second)
    half_cells = np.array([0.5 / n_values if n_values else 0.0 for n_values in cells])
    low, gap = np.minimum(first, second), np.abs(first - second)
    ways = [
        picked + _JITTER * gap * normals[0],
        low + gap * ((1 + 2 * _WIDENING) * uniforms[1] - _WIDENING),
        _affine(plan, parents, picked),
        first + np.maximum(plan.steps, half_cells[:, None]) * normals[1],
    ]
    # Clipped, since optima often lie on a bound.
    bred = np.minimum(np.maximum(np.choose(plan.crossover, ways), 0.0), 1.0)
    fresh = uniforms[2] < fresh_prob[:, None]
    genes = np.where(fresh, uniforms[3], np.where(choices[:, None], picked, bred))
    for position, distribution in enumerate(distributions):
        if cells[position] is not None:
            genes[position] = resolved(distribution, genes[position])
    return genes, fresh


@lru_cache(maxsize=64)
def _bounds(probabilities: tuple[float, ...]) -> np.ndarray:
    """Return the positions in [0, 1] at which one outcome ends and the next begins."""
    return np.cumsum(probabilities[:-1])


@lru_cache(maxsize=64)
def _rank_weights(n: int) -> np.ndarray:
    """Return weights `(n,)` that fall with the logarithm of the rank, as those of CMA-ES do."""
    weights = np.log(n + 0.5) - np.log(np.arange(1, n + 1))
    return np.asarray(weights / weights.sum())


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
    n_present = present.sum(axis=1)
    inherited = np.where(present, parents, 0.0)
    mean = inherited.sum(axis=1) / np.maximum(n_present, 1)
    deviations = np.where(present, parents - mean[:, None], 0.0)
    # Not by BLAS, whose rounding depends on how many genes are combined at once.
    combined = (deviations[:, None] * plan.weights).sum(axis=-1)
    return np.where((n_present > 1)[:, None], mean[:, None] + combined, otherwise)

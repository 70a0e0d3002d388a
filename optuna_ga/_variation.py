"""Crossovers, steps and mutation that scale themselves, for many candidate children at once.

A candidate draws its plan once: which crossover, which parents, which coefficients. Then one gene
after another is expressed from the plan, so that a child needs no search space known beforehand.
Four ways to combine parents are mixed, since none is best everywhere:

- uniform: each gene from one of two parents, moved by a small share of their distance;
- blend: each gene uniform in the parents' interval, widened by half on either side
  (BLX-0.5, Eshelman and Schaffer 1993, doi:10.1016/B978-0-08-094832-4.50018-0);
- affine: an affine combination of all parents, whose spread has the parents' covariance, so that
  genes that go together stay together;
- step: a step from one parent, by a size that is drawn over orders of magnitude.

All but the last are as wide as the parents differ, and so adapt as a search converges. Choices
have no distances: each comes from one of two parents, whichever way the numbers go.

Shapes: K candidates, E parents, the fittest first. Genes are on the unit scale of their
distribution.
"""

from __future__ import annotations

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
    first = _drawn(by_rank, n_candidates, rng)
    other = _drawn(by_rank, n_candidates, rng)
    shift = rng.integers(1, n_parents, n_candidates)
    spread = rng.standard_normal((n_candidates, n_parents)) / np.sqrt(n_parents)
    centre = (by_rank + 1 / n_parents) / 2
    return Plan(
        crossover=_drawn(np.array(settings.crossovers), n_candidates, rng),
        first=first,
        second=np.where(other == first, (first + shift) % n_parents, other),
        weights=centre + spread - spread.mean(axis=1, keepdims=True),
        steps=10 ** rng.uniform(*settings.log_steps, n_candidates),
        screened=screened,
    )


def express(
    plan: Plan,
    parents: np.ndarray,
    donors: np.ndarray,
    distribution: BaseDistribution,
    settings: Settings,
    rng: Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return one gene of every candidate `(K,)`, and which of them are drawn afresh `(K,)`.

    Args:
        plan: The candidates' plans.
        parents: The parents' genes `(E,)`, NaN for those that do not have the parameter.
        donors: Genes of the fittest trials that have it, for candidates whose parents do not; the
            same object as `parents` if all of these have it.
        distribution: What the parameter is drawn from.
        settings: The sampler's settings.
        rng: Generator of the child's draws for this parameter.
    """
    uniforms = rng.random((4, len(plan.first)))
    normals = rng.standard_normal((2, len(plan.first)))
    if not len(donors):
        return resolved(distribution, uniforms[0]), np.ones(len(plan.first), bool)
    first, second = _two(plan, parents, donors)
    picked = np.where(uniforms[0] < 0.5, first, second)
    if isinstance(distribution, CategoricalDistribution):
        genes, fresh_prob = picked, settings.fresh_choice_prob
    else:
        cells = n_cells(distribution)
        steps = plan.steps if cells is None else np.maximum(plan.steps, 0.5 / cells)
        low, gap = np.minimum(first, second), np.abs(first - second)
        ways = [
            picked + _JITTER * gap * normals[0],
            low + gap * ((1 + 2 * _WIDENING) * uniforms[1] - _WIDENING),
            _affine(plan, parents, picked),
            first + steps * normals[1],
        ]
        # Clipped, since optima often lie on a bound.
        genes = np.minimum(np.maximum(np.choose(plan.crossover, ways), 0.0), 1.0)
        fresh_prob = settings.fresh_prob
    if len(donors) < len(parents):  # Few values say little of where to search.
        fresh_prob = max(fresh_prob, 0.5)
    fresh = uniforms[2] < fresh_prob
    return resolved(distribution, np.where(fresh, uniforms[3], genes)), fresh


def _drawn(probabilities: np.ndarray, n: int, rng: Generator) -> np.ndarray:
    """Return positions `(n,)` drawn with these probabilities."""
    bounds = np.cumsum(probabilities[:-1])
    return np.searchsorted(bounds, rng.random(n), side="right")


@lru_cache(maxsize=64)
def _rank_weights(n: int) -> np.ndarray:
    """Return weights `(n,)` that fall with the logarithm of the rank, as those of CMA-ES do."""
    weights = np.log(n + 0.5) - np.log(np.arange(1, n + 1))
    return np.asarray(weights / weights.sum())


def _two(plan: Plan, parents: np.ndarray, donors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both parents' genes `(K,)`; one that has none takes the other's, or a donor's."""
    first, second = parents[plan.first], parents[plan.second]
    if donors is parents:  # All have the gene.
        return first, second
    lacking = np.isnan(first) & np.isnan(second)
    first = np.where(lacking, donors[plan.first % len(donors)], first)
    second = np.where(lacking, donors[plan.second % len(donors)], second)
    return np.where(np.isnan(first), second, first), np.where(np.isnan(second), first, second)


def _affine(plan: Plan, parents: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Return affine combinations `(K,)` of those parents that have the parameter."""
    present = ~np.isnan(parents)
    if present.all():
        mean = np.add.reduce(parents) / len(parents)
        return np.asarray(mean + plan.weights @ (parents - mean))
    if present.sum() < 2:
        return otherwise
    mean = parents[present].mean()
    return np.asarray(mean + plan.weights @ np.where(present, parents - mean, 0.0))

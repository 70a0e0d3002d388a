"""The children of the paper's algorithm where none may repeat a trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study

from optuna_ga._breeding.adaptive_operators import Plan
from optuna_ga._breeding.unrepeated import N_UNSCREENED, Children, OutdatedError
from optuna_ga._population.draws import generator
from optuna_ga._population.generations import Generations
from optuna_ga._population.genes import resolved


class DistinctChildren(Children):
    """Children of two parents by uniform crossover and mutation: the first that is new.

    Args:
        study: The study.
        generations: Its generations.
        population_size: Trials in a generation.
        mutation_prob: Probability of a fresh draw for each gene.
        seed: Seed of all draws.
    """

    def __init__(
        self,
        study: Study,
        generations: Generations,
        *,
        population_size: int,
        mutation_prob: float,
        seed: int,
    ) -> None:
        super().__init__(study, generations, seed=seed, n_fittest=1)
        self._population_size = population_size
        self._mutation_prob = mutation_prob

    def _parents_of(self, study: Study, number: int) -> Sequence[int]:
        parents = self._generations.parents_of(number // self._population_size, study)
        rows = self._knowledge.archive.rows(parent.number for parent in parents)
        if len(rows) < len(parents):
            raise OutdatedError
        return rows

    def _plan(self, n_parents: int, rng: np.random.Generator) -> Plan:
        first = rng.integers(n_parents)
        second = (first + rng.integers(1, n_parents)) % n_parents
        return Plan.of_pair(int(first), int(second), N_UNSCREENED)

    def _express(
        self,
        plan: Plan,
        rows: Sequence[int],
        number: int,
        distributions: Mapping[str, BaseDistribution],
    ) -> tuple[np.ndarray, np.ndarray]:
        parents = self._knowledge.archive.genes(rows, distributions)
        both = parents[:, [plan.first[0], plan.second[0]]]
        found = [
            self._gene(pair, distribution, generator(self._seed, number, name), len(plan.first))
            for pair, (name, distribution) in zip(both, distributions.items(), strict=True)
        ]
        genes, mutated = zip(*found, strict=True)
        return np.stack(genes), np.stack(mutated)

    def _gene(
        self, pair: np.ndarray, distribution: BaseDistribution, rng: np.random.Generator, n: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return one gene of n candidates `(n,)`, and which of them are drawn afresh `(n,)`."""
        uniforms = rng.random((3, n))
        inheritable = pair[~np.isnan(pair)]
        fresh = resolved(distribution, uniforms[0])
        if not len(inheritable):
            return fresh, np.ones(n, bool)
        inherited = inheritable[(uniforms[1] * len(inheritable)).astype(int)]
        mutated = uniforms[2] < self._mutation_prob
        return np.where(mutated, fresh, inherited), mutated

    def _choose(self, children: np.ndarray, plan: Plan) -> int:
        return 0

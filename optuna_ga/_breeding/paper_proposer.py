"""The paper's genetic algorithm for many candidates at once, on the unit scale.

The operators are those of `paper`, which breeds one child, value by value.

Shapes: K children, D parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study

from optuna_ga._breeding.known.known_trials import KnownTrials
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.paper_settings import PaperSettings
from optuna_ga._breeding.proposer import N_UNSCREENED, Candidates, OutdatedError, Proposer
from optuna_ga._population.draws import generator
from optuna_ga._population.generations import Generations
from optuna_ga._population.unit_scale import snapped_to_grid


class PaperProposer(Proposer):
    """Proposes 8 children of the same two parents to `UnrepeatedBreeder`.

    Args:
        generations: The study's finished trials.
        settings: The sampler's settings.
        seed: Seed of all draws.
    """

    def __init__(self, generations: Generations, settings: PaperSettings, seed: int) -> None:
        super().__init__(seed, settings.population_size, n_fittest=1)
        self._generations = generations
        self._settings = settings

    def candidates(self, study: Study, number: int, known: KnownTrials) -> Candidates | None:
        """Return children of two of the generation's parents."""
        generation = number // self._settings.population_size
        parents = self._generations.parents_of(generation, study)
        rows = known.matrix.rows(parent.number for parent in parents)
        if len(rows) < len(parents):
            raise OutdatedError
        if len(rows) < 2:
            return None
        rng = generator(self.seed, number)
        first = int(rng.integers(len(rows)))
        second = (first + int(rng.integers(1, len(rows)))) % len(rows)
        fitter_first = [rows[position] for position in sorted((first, second))]
        return _Siblings(
            self._settings, self.seed, number, [rows[first], rows[second]], fitter_first
        )


@dataclass(frozen=True)
class _Siblings(Candidates):
    """Children of the same two parents, of which the first new one is taken.

    Attributes:
        settings: The sampler's settings.
        seed: Seed of all draws.
        number: The trial's number.
        pair: The rows of the parents, as they were drawn.
        fitter_first: The same rows, the fitter parent first.
        n: How many children there are, K.
    """

    settings: PaperSettings
    seed: int
    number: int
    pair: Sequence[int]
    fitter_first: Sequence[int]
    n: int = N_UNSCREENED
    n_wanted = 1

    def genes(
        self, matrix: TrialMatrix, distributions: Mapping[str, BaseDistribution]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the children's genes `(D, K)`, and which mutated `(D, K)`."""
        pairs = matrix.genes(self.pair, distributions)
        found = [
            self._gene(pair, name, distribution)
            for pair, (name, distribution) in zip(pairs, distributions.items(), strict=True)
        ]
        genes, mutated = zip(*found, strict=True)
        return np.stack(genes), np.stack(mutated)

    def best(self, known: KnownTrials, children: np.ndarray) -> int:
        """Return the first."""
        return 0

    def only(self, candidate: int) -> Candidates:
        """Return one child; it draws genes of parameters that become known later by itself."""
        return replace(self, n=1)

    def parents(self, *, choices: bool) -> Sequence[int]:
        """Return the rows of both parents, the fitter first."""
        return self.fitter_first

    def _gene(
        self, pair: np.ndarray, name: str, distribution: BaseDistribution
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return one gene of all children `(K,)`, and which of them mutated `(K,)`.

        Args:
            pair: The parents' genes `(2,)`, NaN for a parent without the parameter.
            name: The parameter.
            distribution: Its distribution.
        """
        uniforms = generator(self.seed, self.number, name).random((3, self.n))
        present = pair[~np.isnan(pair)]
        fresh = snapped_to_grid(distribution, uniforms[0])
        if not len(present):
            return fresh, np.ones(self.n, bool)
        inherited = present[(uniforms[1] * len(present)).astype(int)]
        mutated = uniforms[2] < self.settings.mutation_prob
        return np.where(mutated, fresh, inherited), mutated

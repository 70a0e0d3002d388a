"""The paper's genetic algorithm: selection, uniform crossover and uniform mutation.

Sections 4.3 to 4.5 of the paper describe them.
A child is bred in two steps, both pure functions of keyed draws. Once per child, two distinct
parents are chosen among the fittest of the pool. Then each gene is inherited from one of the two,
or drawn afresh, when the objective suggests the parameter. So a child needs no search space known
beforehand, and inherits conditional parameters too.

The operators stand here twice: for one child, value by value, in `PaperBreeder`, and for many
candidates at once, on the unit scale, in `PaperProposer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._breeding.breeder import Breeder, Origin, TrialMemory
from optuna_ga._breeding.known_trials import KnownTrials
from optuna_ga._breeding.paper_settings import Mutation, PaperSettings
from optuna_ga._breeding.perturbation import perturbed
from optuna_ga._breeding.proposer import N_UNSCREENED, Candidates, OutdatedError, Proposer
from optuna_ga._breeding.trial_matrix import TrialMatrix
from optuna_ga._optuna_internals import enqueued_params
from optuna_ga._population.draws import (
    GeneDraws,
    TrialDraws,
    gene_draws,
    generator,
    trial_draws,
)
from optuna_ga._population.generations import Generations
from optuna_ga._population.genes import Gene, is_inheritable, nearest_value
from optuna_ga._population.unit_scale import from_unit, snapped_to_grid
from optuna_ga._records import recorded_parents, shown_parents


class PaperBreeder(Breeder):
    """The paper's algorithm, gene by gene.

    Args:
        study: The study.
        settings: The sampler's settings.
        seed: Seed of all draws.
        may_be_parent: Whether a finished trial can be a parent; None: any that has a fitness.
    """

    def __init__(
        self,
        study: Study,
        settings: PaperSettings,
        seed: int,
        may_be_parent: Callable[[FrozenTrial], bool] | None = None,
    ) -> None:
        super().__init__(settings.generations(study, may_be_parent))
        self._settings = settings
        self._seed = seed
        self._chosen: TrialMemory[Sequence[FrozenTrial]] = TrialMemory()
        # By name, whether a gene of a bred trial has mutated, and the gene.
        self._made: TrialMemory[dict[str, tuple[bool, Gene]]] = TrialMemory()

    def gene(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Gene:
        """Return a trial's gene for one parameter."""
        parents = self._parents_of(study, trial)
        prob = self._mutation_prob(trial, parents)
        values = inheritable(parents, name, distribution)
        draws = gene_draws(self._seed, trial.number, name)
        gene = breed(distribution, values, prob, draws, self._settings.mutation)
        if parents:
            made = self._made.get(trial.number, {})
            made[name] = is_mutation(values, prob, draws), gene
            self._made[trial.number] = made
        return gene

    def origin(self, study: Study, trial: FrozenTrial) -> Origin:
        """Return the trial's two parents, or none; mutated genes are known when it ends."""
        return Origin(self._parents_of(study, trial))

    def mutated_at_end(self, study: Study, trial: FrozenTrial) -> list[str]:
        """Return the genes of a bred trial that were drawn afresh.

        Genes that were not made here are derived again, since another process may have sampled
        the trial. A parameter whose value is not the value of the draw was not sampled.
        """
        parents = self._chosen.get(trial.number)
        if parents is None:
            parents = self.generations.usable(shown_parents(trial), study)
        if not parents:
            return []
        enqueued = enqueued_params(trial)
        return [
            name
            for name in sorted(trial.distributions)
            if name not in enqueued and self._has_mutated(trial, name, parents)
        ]

    def forget(self, number: int) -> None:
        """Drop the parents and genes of a trial that has ended."""
        self._chosen.pop(number, None)
        self._made.pop(number, None)

    def chosen(self, number: int) -> Sequence[FrozenTrial] | None:
        """Return the parents that a running trial was given here, None if it has yet to choose."""
        return self._chosen.get(number)

    def _has_mutated(self, trial: FrozenTrial, name: str, parents: Sequence[FrozenTrial]) -> bool:
        value, made = trial.params[name], self._made.get(trial.number, {}).get(name)
        if made is not None:
            mutated, gene = made
            if not mutated or value == gene:
                return mutated
            # A storage may return a choice in another form, such as a list for a tuple.
        distribution, prob = trial.distributions[name], self._mutation_prob(trial, parents)
        draws = gene_draws(self._seed, trial.number, name)
        values = inheritable(parents, name, distribution)
        if not is_mutation(values, prob, draws):
            return False
        return bool(value == mutant(distribution, values, draws, self._settings.mutation))

    def _mutation_prob(self, trial: FrozenTrial, parents: Sequence[FrozenTrial]) -> float:
        """Return the probability that a gene of this trial mutates."""
        return self._settings.mutation_prob

    def _parents_of(self, study: Study, trial: FrozenTrial) -> Sequence[FrozenTrial]:
        parents = self._chosen.get(trial.number)
        if parents is None:
            parents = self._choose(study, trial)
            self._chosen[trial.number] = parents
        return parents

    def _choose(self, study: Study, trial: FrozenTrial) -> Sequence[FrozenTrial]:
        """Return the recorded parents, if all can be parents, or two of the generation's."""
        recorded = recorded_parents(study, trial)
        parents = self.generations.usable(recorded, study)
        if recorded and len(parents) == len(recorded):
            return parents
        generation = trial.number // self._settings.population_size
        return self._select(trial.number, self.generations.parents_of(generation, study))

    def _select(self, number: int, candidates: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
        """Return a trial's parents among the generation's, which are the fittest first."""
        if len(candidates) < 2:
            return []
        draws = trial_draws(self._seed, number)
        return [candidates[position] for position in choose_parents(len(candidates), draws)]


def choose_parents(n_parents: int, draws: TrialDraws) -> tuple[int, int]:
    """Return the positions of two distinct parents, every pair equally likely.

    Args:
        n_parents: How many parents there are, at least 2.
        draws: The child's draws.
    """
    first = int(draws.first_parent * n_parents)
    second = int(draws.second_parent * (n_parents - 1))
    return first, second + (second >= first)


def inheritable(
    parents: Sequence[FrozenTrial], name: str, distribution: BaseDistribution
) -> list[Gene]:
    """Return the parameter's values in the parents from which a child can inherit it."""
    return [
        parent.params[name]
        for parent in parents
        if is_inheritable(parent.params.get(name), parent.distributions.get(name), distribution)
    ]


def breed(
    distribution: BaseDistribution,
    values: Sequence[Gene],
    mutation_prob: float,
    draws: GeneDraws,
    mutation: Mutation = "resample",
) -> Gene:
    """Return one gene of a child, by uniform crossover and mutation.

    Args:
        distribution: The child's distribution.
        values: The parameter's values in the parents that have it, at most two.
        mutation_prob: Probability in [0, 1] of a mutation.
        draws: The child's draws for this parameter.
        mutation: How genes mutate.
    """
    if is_mutation(values, mutation_prob, draws):
        return mutant(distribution, values, draws, mutation)
    return _crossed(distribution, values, draws)


def is_mutation(values: Sequence[Gene], mutation_prob: float, draws: GeneDraws) -> bool:
    """Return whether a gene mutates, or is drawn afresh because no parent has it."""
    return not values or draws.mutation < mutation_prob


def mutant(
    distribution: BaseDistribution, values: Sequence[Gene], draws: GeneDraws, mutation: Mutation
) -> Gene:
    """Return a mutated gene: drawn afresh, or near the value that the child would inherit."""
    if mutation == "resample" or not values:
        return from_unit(distribution, draws.fresh)
    return perturbed(distribution, _crossed(distribution, values, draws), draws.fresh)


def _crossed(distribution: BaseDistribution, values: Sequence[Gene], draws: GeneDraws) -> Gene:
    return nearest_value(distribution, values[int(draws.crossover * len(values))])


class PaperProposer(Proposer):
    """The paper's operators for `UnrepeatedBreeder`: 8 children of the same two parents.

    Args:
        generations: The study's finished trials.
        settings: The sampler's settings.
        seed: Seed of all draws.
    """

    def __init__(self, generations: Generations, settings: PaperSettings, seed: int) -> None:
        super().__init__(seed, settings.population_size, n_fittest=1)
        self._generations = generations
        self._settings = settings

    def candidates(self, study: Study, number: int, matrix: TrialMatrix) -> Candidates | None:
        """Return children of two of the generation's parents."""
        generation = number // self._settings.population_size
        parents = self._generations.parents_of(generation, study)
        rows = matrix.rows(parent.number for parent in parents)
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

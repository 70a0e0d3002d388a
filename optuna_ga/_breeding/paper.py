"""The paper's genetic algorithm: selection, uniform crossover and uniform mutation.

Sections 4.3 to 4.5 of the paper describe them.
A child is bred in two steps, both pure functions of keyed draws. Once per child, two distinct
parents are chosen among the fittest of the pool. Then each gene is inherited from one of the two,
or drawn afresh, when the objective suggests the parameter. So a child needs no search space known
beforehand, and inherits conditional parameters too.

`paper_proposer` has the same operators for many candidates at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._breeding.breeder import Breeder, Origin, TrialMemory
from optuna_ga._breeding.paper_settings import Mutation, PaperSettings
from optuna_ga._breeding.perturbation import perturbed
from optuna_ga._optuna_internals import enqueued_params
from optuna_ga._population.draws import GeneDraws, TrialDraws, gene_draws, trial_draws
from optuna_ga._population.genes import Gene, is_inheritable, nearest_value
from optuna_ga._population.unit_scale import from_unit
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

"""Selection, crossover and mutation, as sections 4.3 to 4.5 of the paper describe them.

A child is bred in two steps, both pure functions of their draws. Once per child,
`choose_parents` picks two of the parents. Then `breed` expresses one gene at a time, so that
a child needs no search space known beforehand and inherits conditional parameters too.
"""

from __future__ import annotations

from collections.abc import Sequence

from optuna.distributions import BaseDistribution

from optuna_ga._population.draws import GeneDraws, TrialDraws
from optuna_ga._population.genes import Gene, fit, from_unit


def choose_parents(n_parents: int, draws: TrialDraws) -> tuple[int, int]:
    """Return the positions of two distinct parents, every pair equally likely.

    Args:
        n_parents: How many parents there are, at least 2.
        draws: The child's draws.
    """
    first = int(draws.first_parent * n_parents)
    second = int(draws.second_parent * (n_parents - 1))
    return first, second + (second >= first)


def breed(
    distribution: BaseDistribution,
    inheritable: Sequence[Gene],
    mutation_prob: float,
    draws: GeneDraws,
) -> Gene:
    """Return one gene of a child.

    Args:
        distribution: The distribution that the child is asked for.
        inheritable: The values of those of the child's parents that have this parameter.
        mutation_prob: Probability in [0, 1] of a fresh draw in place of an inherited value.
        draws: The child's draws for this parameter.
    """
    if is_mutation(inheritable, mutation_prob, draws):
        return from_unit(distribution, draws.fresh)
    return fit(distribution, inheritable[int(draws.crossover * len(inheritable))])


def is_mutation(inheritable: Sequence[Gene], mutation_prob: float, draws: GeneDraws) -> bool:
    """Return whether a gene is drawn afresh, by mutation or since no parent has it."""
    return not inheritable or draws.mutation < mutation_prob

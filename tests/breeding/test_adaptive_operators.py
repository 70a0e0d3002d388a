"""The operators of the adaptive sampler against closed forms."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_ga._breeding import adaptive_operators
from optuna_ga._breeding.adaptive_operators import express, plan
from optuna_ga._breeding.adaptive_settings import MODELLED, Tuning
from optuna_ga._breeding.many_choices import FreshChoices
from optuna_ga._population.unit_scale import snapped_to_grid
from tests.breeding.histories import UNIT
from tests.strategies import distributions, units

AFFINE, STEP = 0.0, 1.0  # Probabilities of a step.


def only(step_prob: float, **options: Any) -> Tuning:
    """Return settings with one operator for numbers, and without mutation unless it is given."""
    options = {"fresh_prob": 0.0, "fresh_choice_prob": 0.0, **options}
    return replace(MODELLED, step_prob=step_prob, **options)


def children(
    parents: Sequence[float] | np.ndarray,
    distribution: BaseDistribution,
    settings: Tuning,
    donors: Sequence[float] | None = None,
    n: int = 400,
) -> np.ndarray:
    """Return one gene of many candidates of these parents."""
    plan = adaptive_operators.plan(n, len(parents), settings, np.random.default_rng(1))
    present = [gene for gene in parents if gene == gene] if donors is None else donors
    found, fresh = adaptive_operators.express(
        plan,
        np.array([parents]),
        lambda position: np.array([present][position]),
        [distribution],
        settings,
        [np.random.default_rng(2)],
        {},
    )
    assert found.shape == fresh.shape == (1, n)
    return np.asarray(found[0])


@pytest.mark.parametrize("n_parents", [2, 3, 14])
@pytest.mark.parametrize("choices", [False, True])
def test_a_plan_names_parents_that_exist_and_differ(n_parents: int, choices: bool) -> None:
    """An affine child has all parents; a step has one, or two where the genes are choices."""
    plan = adaptive_operators.plan(500, n_parents, MODELLED, np.random.default_rng(0))
    for candidate, affine in enumerate(plan.affine.tolist()):
        named = plan.only(candidate).parents(choices=choices)
        assert named == sorted(set(named)) and set(named) <= set(range(n_parents))
        assert len(named) == (n_parents if affine else 1 + choices)

    assert 0 < plan.affine.sum() < 500
    assert plan.weights.sum(axis=1) == pytest.approx(1.0)


def test_fitter_parents_have_more_children() -> None:
    """A parent's rank decides how often it is chosen."""
    plan = adaptive_operators.plan(20_000, 10, MODELLED, np.random.default_rng(0))
    shares = np.bincount(plan.first, minlength=10) / 20_000

    assert shares[0] > 1.5 * shares[4] > 2.0 * shares[9] > 0.0


def test_affine_children_are_weighted_sums_of_their_parents() -> None:
    """A sum outside of the range becomes the nearest end."""
    parents = np.linspace(0.45, 0.55, 7)
    plan = adaptive_operators.plan(400, 7, only(AFFINE), np.random.default_rng(1))
    sums = plan.weights @ parents

    assert children(parents, UNIT, only(AFFINE)) == pytest.approx(sums.clip(0.0, 1.0))


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 0.3])
def test_affine_children_have_the_covariance_of_their_parents(exponent: float) -> None:
    """Children scatter as their parents do, around a mean that leans to the fitter parents."""
    spread = np.random.default_rng(0).normal(0.0, 0.02, (2, 8))
    genes = np.sort(0.5 + np.vstack([spread[0], 0.5 * spread[0] + 0.3 * spread[1]]))
    way = only(AFFINE, log_spread=(exponent, exponent))
    found = np.array([children(row, UNIT, way, n=40_000) for row in genes])

    np.testing.assert_allclose(np.cov(found), 100**exponent * np.cov(genes, bias=True), rtol=0.05)
    assert (genes.min(axis=1) < found.mean(axis=1)).all()
    assert (found.mean(axis=1) < genes.mean(axis=1)).all()


@given(
    st.lists(distributions(), min_size=2, max_size=5),
    st.sampled_from(["C", "F"]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40)
def test_a_gene_does_not_depend_on_the_others(
    kinds: list[BaseDistribution], order: Literal["C", "F"], source: random.Random
) -> None:
    """Alone or among others a gene is the same to the bit, in any memory layout."""
    parents = np.array([[source.random() for _ in range(9)] for _ in kinds])
    parents[0, :3] = math.nan
    spare = [np.array([source.random() for _ in range(source.randint(0, 9))]) for _ in kinds]
    plan = adaptive_operators.plan(50, 9, MODELLED, np.random.default_rng(source.randrange(99)))

    def expressed(positions: Sequence[int]) -> np.ndarray:
        genes, fresh = adaptive_operators.express(
            plan,
            np.array(parents[list(positions)], order=order),
            lambda position: spare[positions[position]],
            [kinds[position] for position in positions],
            MODELLED,
            [np.random.default_rng(position) for position in positions],
            {},
        )
        return np.stack([genes, fresh])

    together = expressed(range(len(kinds)))
    alone = [expressed([position])[:, 0] for position in range(len(kinds))]

    np.testing.assert_array_equal(together, np.stack(alone, axis=1))


@pytest.mark.parametrize("prob", [0.0, 0.25, 1.0])
def test_fresh_choices_may_be_among_some_alone(prob: float) -> None:
    """They are drawn with at least the given probability, each of them as often."""
    kinds = CategoricalDistribution(tuple("abcdefgh"))
    untried = np.array([1.5, 6.5]) / 8
    tuning = only(0.0)
    plan = adaptive_operators.plan(4000, 2, tuning, np.random.default_rng(1))
    genes, fresh = adaptive_operators.express(
        plan,
        np.array([[0.5 / 8, 2.5 / 8]]),
        lambda position: np.zeros(0),
        [kinds],
        tuning,
        [np.random.default_rng(2)],
        {0: FreshChoices(untried, prob)},
    )

    assert set(genes[~fresh]) <= {0.5 / 8, 2.5 / 8}
    assert set(genes[fresh]) == ({*untried} if prob else set())
    assert fresh.mean() == pytest.approx(prob, abs=0.03)
    for gene in untried:
        assert (genes == gene).mean() == pytest.approx(prob / 2, abs=0.03)


@pytest.mark.parametrize("distribution", [UNIT, IntDistribution(1, 9), IntDistribution(0, 1)])
def test_a_step_leaves_its_parent(distribution: BaseDistribution) -> None:
    """Parents that agree have children that differ from them, on a coarse grid too."""
    parent = float(snapped_to_grid(distribution, np.array([0.6]))[0])
    genes = children([parent] * 3, distribution, only(STEP))

    assert np.mean(genes != parent) > 0.1
    assert min(genes) < parent or parent > 0.7
    assert max(genes) > parent or parent > 0.7


@given(distributions(), st.lists(units() | st.just(math.nan), min_size=2, max_size=6))
@settings(max_examples=60)
def test_genes_are_positions_of_values(
    distribution: BaseDistribution, parents: list[float]
) -> None:
    """Whatever the parents have, a child's gene lies inside the range and on its grid."""
    genes = children(snapped_to_grid(distribution, np.nan_to_num(parents)), distribution, MODELLED)
    lacking = children(parents, distribution, MODELLED)
    for found in (genes, lacking):
        assert ((found >= 0.0) & (found <= 1.0)).all()
        np.testing.assert_allclose(snapped_to_grid(distribution, found), found, atol=1e-9)


@pytest.mark.parametrize("parents", [[math.nan, 0.3], [0.3, math.nan, math.nan], [math.nan] * 4])
def test_parents_that_lack_a_gene_are_passed_over(parents: list[float]) -> None:
    """The gene comes from a parent that has it or, if none has, from another trial."""
    found = children(parents, UNIT, only(AFFINE), donors=[0.3] * len(parents))

    assert found == pytest.approx(0.3)


def test_a_gene_that_nobody_has_is_drawn() -> None:
    """Fresh genes are uniform."""
    found = np.sort(children([math.nan] * 3, UNIT, only(AFFINE), n=10_000))

    assert found == pytest.approx(np.linspace(0.0, 1.0, 10_000), abs=0.03)


def test_half_the_genes_are_fresh_where_few_trials_have_the_parameter() -> None:
    """A branch that few trials took is searched, not copied."""
    found = children([math.nan] * 3, UNIT, only(AFFINE), donors=[0.3], n=10_000)

    assert np.mean(np.isclose(found, 0.3)) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("way", [AFFINE, STEP])
def test_choices_come_from_parents(way: float) -> None:
    """Neither operator makes a choice that no parent has; a fresh draw makes any choice."""
    distribution = CategoricalDistribution("abcde")
    donors = [0.1, 0.5, 0.1]
    inherited = children([0.1, 0.5, math.nan], distribution, only(way), donors)
    fresh = children([0.1, 0.5], distribution, only(way, fresh_choice_prob=1.0))

    assert set(inherited) == {0.1, 0.5}
    assert set(fresh.round(6)) == {0.1, 0.3, 0.5, 0.7, 0.9}


@pytest.mark.parametrize("n", [2, 3, 5])
def test_pairs_of_parents_are_drawn_by_rank(n: int) -> None:
    """With weights that fall with the logarithm of the rank.

    A parent that is drawn twice has any other for its second, each as likely.
    """
    drawn = plan(40_000, n, MODELLED, np.random.default_rng(0))
    falling = [math.log(n + 0.5) - math.log(rank) for rank in range(1, n + 1)]
    weights = [weight / sum(falling) for weight in falling]
    expected = [
        [weights[i] * (weights[j] + weights[i] / (n - 1)) * (i != j) for j in range(n)]
        for i in range(n)
    ]
    found = np.zeros((n, n))
    np.add.at(found, (drawn.first, drawn.second), 1 / 40_000)

    assert found == pytest.approx(np.array(expected), abs=0.01)


def test_choices_come_from_either_of_two_parents_as_often() -> None:
    """However much more often the fitter one is the first of the two."""
    abc = CategoricalDistribution("abc")
    genes, fresh = express(
        plan(10_000, 2, MODELLED, np.random.default_rng(1)),
        np.array([[0.5 / 3, 2.5 / 3]]),
        lambda position: np.zeros(0),
        [abc],
        MODELLED,
        [np.random.default_rng(2)],
        {},
    )

    assert (genes[~fresh] == 0.5 / 3).mean() == pytest.approx(0.5, abs=0.02)


def test_the_draws_of_a_plan_are_independent() -> None:
    """The operator, both parents, a step's size and a combination's spread tell no other."""
    drawn = plan(20_000, 8, MODELLED, np.random.default_rng(0))
    facts = np.array(
        [
            drawn.affine,
            drawn.first,
            (drawn.second - drawn.first) % 8,  # Which other parent it is tells the first.
            np.log(drawn.steps),
            np.log(drawn.weights.std(axis=1)),
        ]
    )
    correlations = np.corrcoef(facts)
    correlations[1, 2] = correlations[2, 1] = 0.0

    assert correlations == pytest.approx(np.eye(5), abs=0.04)


def test_one_parent_with_a_number_leaves_the_others_to_other_trials() -> None:
    """Of two parents that lack it, a child has the number of a trial outside of the parents."""
    tuning = replace(MODELLED, step_prob=0.0, fresh_prob=0.0)
    genes, fresh = express(
        plan(4_000, 4, tuning, np.random.default_rng(1)),
        np.array([[math.nan, math.nan, math.nan, 0.2]]),
        lambda position: np.array([0.2, 0.9, 0.9, 0.9]),
        [FloatDistribution(0.0, 1.0)],
        tuning,
        [np.random.default_rng(2)],
        {},
    )

    assert {*genes.ravel().round(9)} == {0.2, 0.9}
    assert not fresh.any()

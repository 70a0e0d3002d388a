"""The paper's algorithm, sections 4.1 to 4.5, as it shows in what the trials record.

Statistics are tested on fixed seeds, with intervals that a correct sampler leaves once in a
million seeds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import combinations

import optuna
import pytest
from optuna import Study, Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial
from scipy import stats

from optuna_ga import GASampler
from tests.studies import bred, constant, fresh_genes, parents, parents_by_the_rules, run

UNLIKELY = 1e-6
POPULATION = 20
GENERATIONS = 60


def scattered(trial: Trial) -> float:
    """Return a value that no gene decides, so that selection keeps the genes diverse."""
    constant(trial)
    return math.sin(1000.0 * trial.number)


@pytest.fixture(scope="module")
def diverse() -> Study:
    """A study whose parents seldom share a gene."""
    return run(GASampler(POPULATION, seed=0), POPULATION * GENERATIONS, scattered)


@pytest.fixture(scope="module")
def first_generation() -> list[FrozenTrial]:
    """A first generation of 2000 in a space with every kind of parameter."""
    space: dict[str, BaseDistribution] = {
        "float": FloatDistribution(-3.0, 5.0),
        "twin": FloatDistribution(-3.0, 5.0),
        "log float": FloatDistribution(1e-5, 1e2, log=True),
        "stepped float": FloatDistribution(-0.3, 0.3, step=0.1),
        "int": IntDistribution(-3, 3),
        "stepped int": IntDistribution(1, 21, step=5),
        "log int": IntDistribution(1, 8, log=True),
        "choice": CategoricalDistribution((None, True, "a", 2.5)),
    }
    study = optuna.create_study(sampler=GASampler(2000, seed=0))
    for _ in range(2000):
        study.ask(space)
    return study.trials


def is_fair(successes: int, tries: int, prob: float) -> bool:
    """Return whether a count agrees with a probability."""
    return bool(stats.binomtest(successes, tries, prob).pvalue > UNLIKELY)


def sources(study: Study, name: str) -> list[int | None]:
    """Return from which parent, 0 or 1, each bred gene comes; None for a fresh gene.

    Children of parents that share the gene are left out, since they do not show it.
    """
    trials, found = study.trials, []
    for child in bred(study):
        values = [trials[number].params[name] for number in parents(child)]
        if values[0] != values[1]:
            gene = child.params[name]
            found.append(values.index(gene) if gene in values else None)
    return found


def test_the_first_generation_has_no_parents(diverse: Study) -> None:
    """A trial of generation 0 is drawn at random and records no parents."""
    assert not any(parents(trial) for trial in diverse.trials[:POPULATION])


def test_every_later_trial_has_two_distinct_parents(diverse: Study) -> None:
    """Crossover takes two different individuals."""
    assert all(len(set(parents(trial))) == 2 for trial in diverse.trials[POPULATION:])


def test_a_generation_is_as_many_trials_as_the_population(diverse: Study) -> None:
    """Trial n belongs to generation n // population_size."""
    recorded = [trial.user_attrs["ga_generation"] for trial in diverse.trials]

    assert [number // POPULATION for number in range(len(recorded))] == recorded


@pytest.mark.parametrize("elitism", [False, True])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(("size", "fraction", "n_parents"), [(8, 0.25, 2), (9, 0.5, 4), (5, 1, 5)])
def test_parents_are_the_best_of_the_pool(
    elitism: bool, direction: str, size: int, fraction: float, n_parents: int
) -> None:
    """The pool is the last generation or, with elitism, all earlier ones."""
    sampler = GASampler(size, parent_fraction=fraction, elitism=elitism, seed=1)
    trials = run(sampler, 12 * size, scattered, direction=direction).trials

    for generation in range(1, 12):
        best = parents_by_the_rules(
            trials,
            generation * size,
            population_size=size,
            n_parents=n_parents,
            elitism=elitism,
            maximize=direction == "maximize",
        )
        children = trials[generation * size : (generation + 1) * size]
        assert {number for child in children for number in parents(child)} <= set(best)


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
def test_parents_come_from_the_top_half(direction: str, sign: int) -> None:
    """No child of the paper's algorithm has a parent from the worse half of a generation."""
    values = [7.0, 3.0, 9.0, 1.0, 5.0, 8.0, 2.0, 6.0, 4.0, 0.0]
    sampler = GASampler(10, seed=0)
    study = run(
        sampler, 100, lambda t: constant(t) + sign * values[t.number % 10], direction=direction
    )

    assert {number % 10 for child in bred(study) for number in parents(child)} == {1, 3, 6, 8, 9}


@pytest.mark.parametrize("name", ["x", "y", "z"])
def test_every_gene_is_a_parents_or_fresh(diverse: Study, name: str) -> None:
    """An inherited gene equals a parent's bit by bit, and a fresh one was never seen before."""
    fresh = fresh_genes(diverse, name)

    assert len(fresh) == len(set(fresh))


@pytest.mark.parametrize("mutation_prob", [0.05, 0.2, 0.5, 0.9])
def test_the_share_of_fresh_genes_is_the_mutation_probability(mutation_prob: float) -> None:
    """Each gene is replaced by a fresh draw with probability `mutation_prob`."""
    study = run(GASampler(10, mutation_prob=mutation_prob, seed=0), 1010, scattered)
    n_fresh = sum(len(fresh_genes(study, name)) - 10 for name in "xyz")

    assert is_fair(n_fresh, 3000, mutation_prob)


def test_without_mutation_every_gene_comes_from_the_first_generation() -> None:
    """With `mutation_prob=0` no gene is ever new."""
    study = run(GASampler(10, mutation_prob=0.0, seed=0), 200)

    assert [len(fresh_genes(study, name)) for name in "xyz"] == [10, 10, 10]


def test_with_certain_mutation_no_gene_is_inherited() -> None:
    """With `mutation_prob=1` every gene is a fresh draw, though trials still have parents."""
    study = run(GASampler(10, mutation_prob=1, seed=0), 200)

    assert len(bred(study)) == 190
    assert [len(fresh_genes(study, name)) for name in "xyz"] == [200, 200, 200]


@pytest.mark.parametrize("name", ["x", "y", "z"])
def test_either_parent_is_as_likely_to_pass_on_a_gene(diverse: Study, name: str) -> None:
    """Uniform crossover tosses a fair coin."""
    counts = Counter(sources(diverse, name))

    assert is_fair(counts[0], counts[0] + counts[1], 0.5)


def test_genes_are_inherited_and_mutated_independently() -> None:
    """One gene's coin and mutation are independent of the other genes'."""
    study = run(GASampler(1500, mutation_prob=0.3, seed=0), 3000, scattered)
    pairs = Counter(zip(sources(study, "x"), sources(study, "y"), strict=True))
    table = [[pairs[x, y] for y in (0, 1, None)] for x in (0, 1, None)]

    assert stats.chi2_contingency(table).pvalue > UNLIKELY


def test_all_pairs_of_parents_are_equally_likely(diverse: Study) -> None:
    """Each two of the ten parents of a generation breed as often as any other two."""
    trials, pairs = diverse.trials, Counter[tuple[int, ...]]()
    for child in bred(diverse):
        first = child.number // POPULATION * POPULATION
        generation = trials[first - POPULATION : first]
        ranking = sorted(generation, key=lambda trial: trial.values[0])
        places = [trial.number for trial in ranking]
        pairs[tuple(sorted(places.index(number) for number in parents(child)))] += 1

    counts = [pairs[pair] for pair in combinations(range(10), 2)]
    assert sum(counts) == POPULATION * (GENERATIONS - 1)
    assert stats.chisquare(counts).pvalue > UNLIKELY


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("float", lambda value: (value + 3.0) / 8.0),
        ("log float", lambda value: math.log10(value / 1e-5) / 7.0),
    ],
)
def test_a_continuous_first_gene_is_uniform_in_its_scale(
    first_generation: list[FrozenTrial], name: str, unit: Callable[[float], float]
) -> None:
    """The initial population is uniform, on the logarithm's scale where `log=True`."""
    positions = [unit(trial.params[name]) for trial in first_generation]

    assert stats.kstest(positions, "uniform").pvalue > UNLIKELY


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("stepped float", [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]),
        ("int", [-3, -2, -1, 0, 1, 2, 3]),
        ("stepped int", [1, 6, 11, 16, 21]),
        ("choice", [None, True, "a", 2.5]),
    ],
)
def test_the_values_of_a_discrete_first_gene_are_equally_likely(
    first_generation: list[FrozenTrial], name: str, values: list[object]
) -> None:
    """Every value, the ends included, has the same share of the initial population."""
    genes = [trial.params[name] for trial in first_generation]
    counts = Counter(round(gene, 9) if isinstance(gene, float) else gene for gene in genes)

    assert set(counts) == set(values)
    assert stats.chisquare(list(counts.values())).pvalue > UNLIKELY


def test_a_logarithmic_integer_has_the_share_of_its_rounding_interval(
    first_generation: list[FrozenTrial],
) -> None:
    """The integer k has the share that k - 1/2 to k + 1/2 has of the logarithmic scale."""
    counts = Counter(trial.params["log int"] for trial in first_generation)
    shares = [math.log((k + 0.5) / (k - 0.5)) / math.log(8.5 / 0.5) for k in range(1, 9)]

    expected = [share * len(first_generation) for share in shares]
    assert stats.chisquare([counts[k] for k in range(1, 9)], expected).pvalue > UNLIKELY


def test_two_parameters_of_the_same_range_are_independent(
    first_generation: list[FrozenTrial],
) -> None:
    """A parameter's name decides its draws, so equal ranges do not make equal genes."""
    cells = Counter((t.params["float"] // 2, t.params["twin"] // 2) for t in first_generation)
    table = [[cells[x, y] for y in range(-2, 3)] for x in range(-2, 3)]

    assert stats.chi2_contingency(table).pvalue > UNLIKELY


def test_trials_in_a_row_are_independent(first_generation: list[FrozenTrial]) -> None:
    """A trial's number decides its draws, and neighbours do not resemble each other."""
    genes = [trial.params["float"] for trial in first_generation]

    assert stats.spearmanr(genes[:-1], genes[1:]).pvalue > UNLIKELY


def test_a_mutated_gene_is_uniform(diverse: Study) -> None:
    """A fresh gene of a child is drawn like one of the initial population."""
    positions = [(gene + 1.0) / 2.0 for name in "xyz" for gene in fresh_genes(diverse, name)]

    assert stats.kstest(positions, "uniform").pvalue > UNLIKELY


def test_mutated_genes_are_recorded(diverse: Study) -> None:
    """The record holds exactly the genes that the trial has from neither parent."""
    trials = diverse.trials
    for trial in trials:
        given = [trials[number].params for number in parents(trial)]
        strange = [n for n in "xyz" if trial.params[n] not in [params[n] for params in given]]
        assert trial.user_attrs.get("ga_mutated", []) == (strange if given else [])


def branching(trial: Trial) -> float:
    """Return a value of one of two branches, each with a parameter of its own."""
    left = trial.suggest_categorical("left", [True, False])
    return trial.suggest_float("l" if left else "r", 0.0, 1.0)


def test_genes_that_no_parent_has_are_recorded_as_mutated() -> None:
    """A gene that both parents lack is drawn, and recorded; an enqueued gene is not."""
    study = optuna.create_study(sampler=GASampler(4, mutation_prob=0.0, seed=0))
    for left in [True] * 4 + [False] * 4:
        study.enqueue_trial({"left": left})
    study.optimize(branching, n_trials=12)
    recorded = [trial.user_attrs.get("ga_mutated") for trial in study.trials]

    assert recorded == [None] * 4 + [["r"]] * 4 + [None] * 4


def test_what_was_enqueued_is_never_a_mutation() -> None:
    """An enqueued value is no mutation even where it equals the mutation's draw."""
    study = run(GASampler(4, mutation_prob=1.0, seed=0), 4, branching)
    for _ in range(20):
        study.enqueue_trial({"left": True})
    study.optimize(branching, n_trials=20)

    assert all(trial.user_attrs["ga_mutated"] == ["l"] for trial in study.trials[4:])


def superb_at_three(trial: Trial) -> float:
    """Return 1, except for one superb trial of the first generation."""
    return constant(trial) - (trial.number == 3)


def test_children_replace_their_parents() -> None:
    """However good a trial is, it breeds the next generation only."""
    study = run(GASampler(10, seed=0), 60, superb_at_three)

    assert {t.number // 10 for t in bred(study) if 3 in parents(t)} == {1}


def test_elitism_keeps_the_best_for_ever() -> None:
    """With elitism a superb trial breeds every later generation."""
    study = run(GASampler(10, elitism=True, seed=0), 60, superb_at_three)

    assert {t.number // 10 for t in bred(study) if 3 in parents(t)} == {1, 2, 3, 4, 5}

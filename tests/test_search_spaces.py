"""Search spaces with parameters of every kind, conditional ones, and ranges that change."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, create_trial

from optuna_ga import GASampler
from tests.strategies import distributions, grids
from tests.studies import of_four, parents, run, sphere

Genes = dict[str, tuple[BaseDistribution, Any]]
UNIT = FloatDistribution(0.0, 1.0)
SPACES = st.dictionaries(st.text(max_size=3), distributions(), min_size=1, max_size=4)


def ask_for(space: dict[str, BaseDistribution], n_trials: int) -> list[dict[str, Any]]:
    """Return the suggestions of a sampler in three generations, every trial a parent."""
    study = optuna.create_study(sampler=GASampler(4, parent_fraction=1, seed=0))
    suggested = []
    for _ in range(n_trials):
        trial = study.ask(space)
        suggested.append(trial.params)
        study.tell(trial, 0.0)
    return suggested


@settings(max_examples=60)
@given(SPACES)
def test_every_suggestion_is_contained_in_its_distribution(
    space: dict[str, BaseDistribution],
) -> None:
    """Optuna's own check accepts fresh and bred genes alike."""
    for params in ask_for(space, 12):
        assert create_trial(params=params, distributions=space, value=0.0).params == params


def is_plain(distribution: BaseDistribution, value: object) -> bool:
    """Return whether a value has the type that users of the distribution expect."""
    if isinstance(distribution, CategoricalDistribution):
        return any(value is choice for choice in distribution.choices)
    return type(value) is (int if isinstance(distribution, IntDistribution) else float)


@settings(max_examples=60)
@given(SPACES)
def test_every_suggestion_is_a_plain_python_object(space: dict[str, BaseDistribution]) -> None:
    """Numbers are Python's own, and choices are the objects that were given."""
    for params in ask_for(space, 12):
        assert all(is_plain(space[name], value) for name, value in params.items())


def member(value: float, **genes: tuple[BaseDistribution, Any]) -> FrozenTrial:
    """Return a finished trial with these genes and distributions."""
    return create_trial(
        value=value,
        params={name: gene for name, (_, gene) in genes.items()},
        distributions={name: distribution for name, (distribution, _) in genes.items()},
    )


def children_of(
    first: FrozenTrial, second: FrozenTrial, space: dict[str, BaseDistribution], **options: Any
) -> list[dict[str, Any]]:
    """Return the genes of four children of these two parents."""
    study = optuna.create_study(sampler=of_four(**{"mutation_prob": 0.0, **options}))
    study.add_trials([first, second, member(9.0), member(9.0)])
    children = [study.ask(space) for _ in range(4)]
    assert all(set(parents(child)) == {0, 1} for child in study.trials[4:])
    return [child.params for child in children]


@pytest.mark.parametrize("has_it", [0, 1])
def test_a_conditional_parameter_comes_from_the_parent_that_has_it(has_it: int) -> None:
    """A gene is never drawn if a parent has it."""
    genes: list[Genes] = [{}, {}]
    genes[has_it] = {"branch": (UNIT, 0.123)}
    first, second = (member(float(number), **genes[number]) for number in (0, 1))

    assert children_of(first, second, {"branch": UNIT}) == [{"branch": 0.123}] * 4


def test_a_parameter_that_neither_parent_has_is_drawn() -> None:
    """Each child draws a gene of its own."""
    genes = [
        params["branch"] for params in children_of(member(0.0), member(1.0), {"branch": UNIT})
    ]

    assert len(set(genes)) == 4


def test_a_conditional_parameter_mutates_like_any_other() -> None:
    """A gene that one parent has mutates as often as a gene that both have."""
    parent = member(0.0, branch=(UNIT, 0.123))
    children = children_of(parent, member(1.0), {"branch": UNIT}, mutation_prob=1.0)

    assert 0.123 not in [params["branch"] for params in children]


def test_a_parent_with_another_kind_of_parameter_is_passed_over() -> None:
    """A value of another distribution class under the same name is not inherited."""
    first = member(0.0, g=(IntDistribution(0, 1), 1))
    second = member(1.0, g=(UNIT, 0.123))

    assert children_of(first, second, {"g": UNIT}) == [{"g": 0.123}] * 4


def test_every_branch_of_a_conditional_space_is_inherited() -> None:
    """Without mutation, a branch's parameters are those of the first generation for ever."""

    def branching(trial: Trial) -> float:
        branch = trial.suggest_categorical("branch", ("a", "b"))
        return trial.suggest_float(f"gene of {branch}", 0.0, 1.0)

    study = run(GASampler(20, mutation_prob=0.0, seed=0), 100, branching)
    genes = [
        {name: gene for name, gene in t.params.items() if name[0] == "g"} for t in study.trials
    ]
    assert all(gene in genes[:20] for gene in genes[20:])


@pytest.mark.parametrize(
    ("old", "gene", "new", "inherited"),
    [
        (UNIT, 0.3, FloatDistribution(-9.0, 9.0), 0.3),
        (UNIT, 0.3, FloatDistribution(0.0, 0.2), 0.2),
        (UNIT, 0.3, FloatDistribution(5.0, 6.0), 5.0),
        (UNIT, 0.3, FloatDistribution(-6.0, -5.0), -5.0),
        (UNIT, 0.3, FloatDistribution(0.0, 1.0, step=0.25), 0.25),
        (UNIT, 0.9, FloatDistribution(0.0, 1.0, step=0.25), 1.0),
        (FloatDistribution(0.0, 1.0, step=0.25), 0.75, UNIT, 0.75),
        (FloatDistribution(0.01, 1, log=True), 0.1, FloatDistribution(0.5, 9, log=True), 0.5),
        (IntDistribution(0, 9), 3, IntDistribution(-5, 5), 3),
        (IntDistribution(0, 9), 3, IntDistribution(0, 2), 2),
        (IntDistribution(0, 9), 3, IntDistribution(7, 8), 7),
        (IntDistribution(0, 9), 6, IntDistribution(0, 10, step=5), 5),
        (IntDistribution(0, 9), 8, IntDistribution(0, 10, step=5), 10),
        (IntDistribution(1, 9, log=True), 3, IntDistribution(4, 9, log=True), 4),
    ],
)
def test_an_inherited_value_outside_a_changed_range_becomes_the_nearest_inside(
    old: BaseDistribution, gene: float, new: BaseDistribution, inherited: float
) -> None:
    """A value inside of the new range is inherited unchanged."""
    first, second = (member(value, g=(old, gene)) for value in (0.0, 1.0))

    assert children_of(first, second, {"g": new}) == [{"g": inherited}] * 4


@given(grids())
def test_a_stepped_parameter_keeps_to_its_grid(grid: FloatDistribution | IntDistribution) -> None:
    """Fresh and inherited values equal the grid's to the bit."""
    assert grid.step is not None
    values = {grid.low + k * grid.step for k in range(13)} | {grid.high}

    assert {params["g"] for params in ask_for({"g": grid}, 12)} <= values


def test_a_parameter_added_later_joins_the_others() -> None:
    """It is drawn in the first generation that has it, and inherited from then on."""
    study = optuna.create_study(sampler=of_four(mutation_prob=0.0))
    study.optimize(lambda trial: trial.suggest_float("x", 0.0, 1.0), n_trials=8)
    for _ in range(12):
        trial = study.ask({"x": UNIT, "late": UNIT})
        study.tell(trial, 0.0)
    late = [trial.params["late"] for trial in study.trials[8:]]

    assert len(set(late[:4])) == 4
    assert set(late[4:]) <= set(late[:4])


def test_a_whole_space_is_sampled_as_its_parameters_are() -> None:
    """Suggesting genes at once or one by one makes no difference."""
    study = run(of_four(), 8)
    trial = study.ask()
    space: dict[str, BaseDistribution] = dict.fromkeys("xyz", FloatDistribution(-1.0, 1.0))
    genes = study.sampler.sample_relative(study, study.trials[8], space)
    sphere(trial)

    assert trial.params == genes

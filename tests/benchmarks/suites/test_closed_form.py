"""Suites whose optimum is known: COCO's functions, the small grids and the looked-up problem."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from typing import Any

import cocoex
import numpy as np
import optuna
import pytest
from cocoex.bare_problem import BareProblem
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler

from benchmarks.suites.bbob import BBOB, BBOB_MIXINT
from benchmarks.suites.discrete import DISCRETE
from benchmarks.suites.fashion_mnist_table import TABLE
from benchmarks.suites.task import Objective, Suite, Task

CLOSED = (BBOB, BBOB_MIXINT, DISCRETE)
GRIDS = pytest.mark.parametrize("task", DISCRETE.tasks, ids=lambda task: task.name)
SIZES = {
    "bowl": 8 * 8,
    "valley": 33 * 33,
    "epistasis": 4**6,
    "basins": 5 * 16 * 12,
    "leading": 2**12,
    "trap": 2**12,
    "network": 5 * 57 * 5,
    "training": 4 * 32 * 8,
}


def task_of(suite: Suite, name: str) -> Task:
    """Return the task of this name."""
    (task,) = (task for task in suite.tasks if task.name == name)
    return task


def some_params(objective: Objective, seed: int = 0) -> dict[str, Any]:
    """Return random parameters."""
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    return study.ask(dict(objective.space)).params


def at(x: Any) -> dict[str, float]:
    """Return parameters of COCO's functions."""
    return {f"x{i}": float(value) for i, value in enumerate(x)}


def values_of(distribution: BaseDistribution) -> list[Any]:
    """Return every value of a parameter."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    assert step is not None
    return [low + i * step for i in range(round((high - low) / step) + 1)]


def scores(objective: Objective) -> Iterator[float]:
    """Return the scores of all points of a grid, in a fixed order."""
    for point in itertools.product(*map(values_of, objective.space.values())):
        yield objective.score(dict(zip(objective.space, point, strict=True)))


@pytest.mark.parametrize("suite", [*CLOSED, TABLE], ids=lambda suite: suite.name)
def test_names_are_unique_and_half_of_the_tasks_are_held_out(suite: Suite) -> None:
    """A suite's only task is held out."""
    held_out = [task.held_out for task in suite.tasks]

    assert len({task.name for task in suite.tasks}) == len(suite.tasks)
    assert sum(held_out) == math.ceil(len(held_out) / 2)
    assert suite.optimum == 0


@pytest.mark.parametrize(
    ("suite", "dimensions"), [(BBOB, [2, 3, 5, 10, 20]), (BBOB_MIXINT, [5, 10])]
)
def test_coco_has_all_functions_and_the_even_ones_are_held_out(
    suite: Suite, dimensions: list[int]
) -> None:
    """This holds in every dimension."""
    expected = {f"f{f:02}-d{d:02}": f % 2 == 0 for d in dimensions for f in range(1, 25)}

    assert {task.name: task.held_out for task in suite.tasks} == expected


@pytest.mark.parametrize(
    ("suite", "name"),
    [(suite, task.name) for suite in CLOSED for task in suite.tasks[::7]]
    + [(TABLE, "fashion-mnist")],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_trial_is_asked_for_the_space_and_has_the_value_of_its_parameters(
    suite: Suite, name: str
) -> None:
    """Values of two trials differ by as much as their scores; objectives of one seed are equal."""
    objective, again = (task_of(suite, name).objective(2) for _ in range(2))
    points = [some_params(objective, seed) for seed in (2, 5)]  # Trainings do not diverge there.
    study = optuna.create_study()
    for point in points * 2:
        study.enqueue_trial(point)
    trials = [study.ask() for _ in points * 2]
    values = [f(trial) for f, trial in zip([objective] * 2 + [again] * 2, trials, strict=True)]
    first, second = map(objective.score, points)

    assert all(trial.distributions == objective.space for trial in trials)
    assert values[:2] == values[2:]
    assert values[1] - values[0] == pytest.approx(second - first)
    assert first == again.score(points[0])
    assert min(first, second) >= 0


@pytest.mark.parametrize("seed", [0, 9, 14])
@pytest.mark.parametrize("name", [task.name for task in BBOB.tasks[::5]])
def test_bbob_is_as_coco_says(name: str, seed: int) -> None:
    """Values equal COCO's, the score at COCO's optimum is 0, and the bounds are -5 and 5."""
    function, dimension = int(name[1:3]), int(name[5:])
    expected = BareProblem("bbob", function, dimension, seed + 1)
    objective = task_of(BBOB, name).objective(seed)
    params = some_params(objective)
    value = expected(np.array(list(params.values())))

    assert set(objective.space.values()) == {FloatDistribution(-5, 5)}
    assert objective.score(params) == pytest.approx(value - expected.best_value(), abs=1e-9)
    assert objective.score(at(expected.best_parameter())) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", [0, 9, 14])
@pytest.mark.parametrize("function", [1, 2, 5, 9, 21])
def test_no_integers_are_better_than_those_at_the_optimum(function: int, seed: int) -> None:
    """All integers are tried with the best float; the best of them hits COCO's target of 1e-8."""
    objective = task_of(BBOB_MIXINT, f"f{function:02}-d05").objective(seed)
    last = BareProblem("bbob", function, 5, seed + 1).best_parameter()[-1]
    points = itertools.product(range(2), range(4), range(8), range(16), [last])
    found = {point: objective.score(at(point)) for point in points}
    best = min(found, key=lambda point: found[point])
    suite = cocoex.Suite("bbob-mixint", "instances: 1-15", "dimensions: 5")
    problem = suite.get_problem_by_function_dimension_instance(function, 5, seed + 1)
    some, worst = (0, 1, 2, 3, 4.5), max(found, key=lambda point: found[point])
    difference = problem(some) - problem(worst)

    assert objective.score(at(some)) - found[worst] == pytest.approx(difference)
    assert not problem.final_target_hit
    assert found[best] == pytest.approx(0, abs=1e-8)
    problem(best)
    assert problem.final_target_hit


def test_mixed_integers_have_coco_s_bounds() -> None:
    """Four fifths of the variables have 2, 4, 8 and 16 integers; the last fifth are floats."""
    space = task_of(BBOB_MIXINT, "f03-d10").objective(0).space
    integers = [IntDistribution(0, high) for high in (1, 1, 3, 3, 7, 7, 15, 15)]
    expected: list[BaseDistribution] = [*integers, *[FloatDistribution(-5, 5)] * 2]

    assert space == {f"x{i}": distribution for i, distribution in enumerate(expected)}


@pytest.mark.parametrize("suite", [BBOB, BBOB_MIXINT], ids=lambda suite: suite.name)
def test_coco_s_functions_differ_by_seed(suite: Suite) -> None:
    """There are as many instances as seeds."""
    for task in suite.tasks[:24:5]:
        objectives = [task.objective(seed) for seed in range(suite.n_seeds)]
        params = some_params(objectives[0])

        assert len({objective.score(params) for objective in objectives}) == suite.n_seeds


def test_only_an_objective_needs_coco(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without COCO the error says how to install it."""
    monkeypatch.setitem(sys.modules, "cocoex", None)

    with pytest.raises(ImportError, match="pip install coco-experiment"):
        BBOB.tasks[0].objective(99)


@GRIDS
def test_the_best_point_of_a_grid_has_score_0(task: Task) -> None:
    """All points are tried with two seeds, whose best points differ."""
    first, second = (np.array([*scores(task.objective(seed))]) for seed in (1, 2))

    assert len(first) == SIZES[task.name]
    assert first.min() == second.min() == 0
    assert (first == 0).sum() == (second == 0).sum() == 1
    assert first.argmin() != second.argmin()


def test_an_epistatic_cost_depends_on_three_neighbours_at_most() -> None:
    """Changes of two genes add up unless the genes are at most two apart in the circle."""
    objective = task_of(DISCRETE, "epistasis").objective(0)

    def cost(**genes: str) -> float:
        return float(objective.score(dict.fromkeys(objective.space, "a") | genes))

    for i, j in itertools.combinations(range(6), 2):
        one, other = {f"x{i}": "b"}, {f"x{j}": "c"}
        apart = min(j - i, 6 + i - j) > 2
        assert (cost(**one | other) + cost() == cost(**one) + cost(**other)) == apart


def test_a_trap_leads_away_from_its_best_point() -> None:
    """The opposite of the best is better than all its neighbours."""
    objective = task_of(DISCRETE, "trap").objective(0)
    points = itertools.product([False, True], repeat=12)
    found = {point: objective.score(at(point)) for point in points}
    best = min(found, key=lambda point: found[point])
    worst = tuple(not bit for bit in best)
    near = [(*worst[:i], not worst[i], *worst[i + 1 :]) for i in range(12)]

    assert found[worst] == 3
    assert all(found[point] == 4 for point in near)


def test_leading_bits_count_only_after_those_before_them() -> None:
    """Of all points 1, 2, 4, ... have the scores 1, 2, 3, ..."""
    found = np.array([*scores(task_of(DISCRETE, "leading").objective(0))])

    assert [(found == n).sum() for n in range(1, 13)] == [2**i for i in range(12)]


def test_the_table_s_score_is_the_regret() -> None:
    """It is 0 at the optimum, and the regret of guessing where training diverges."""
    from benchmarks.table.problem import TableProblem

    problem = TableProblem()
    objective = task_of(TABLE, "fashion-mnist").objective(7)
    names = list(objective.space)
    params = some_params(objective)
    diverging = dict(zip(names, (1.0, 0.9, 0.05), strict=True))
    study = optuna.create_study()
    study.enqueue_trial(diverging)

    assert objective.score(params) == problem.regret(np.array([*params.values()])) > 0
    assert objective.score(dict(zip(names, problem.optimum.setting, strict=True))) < 1e-9
    assert objective.score(diverging) == problem.worst_regret
    assert objective(study.ask()) == math.inf

"""The suite `constrained`, against COCO, and the answer of a study with constraints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cocoex
import numpy as np
import optuna
import pytest
from optuna import Trial
from optuna.distributions import BaseDistribution, FloatDistribution

from benchmarks.suites.constrained import BEYOND, CONSTRAINED, ConstrainedObjective
from benchmarks.suites.study import run_study


def test_each_function_and_each_number_of_constraints_has_all_dimensions() -> None:
    """In the held-out half; names are those of COCO's functions."""
    held_out = [task for task in CONSTRAINED.tasks if task.held_out]
    numbers = [(int(t.name[1:3]) - 1, int(t.name[-2:])) for t in held_out]

    assert len(CONSTRAINED.tasks) == 54
    assert len(held_out) == 27
    assert {(n // 6, d) for n, d in numbers} == {(k, d) for k in range(9) for d in (2, 5, 10)}
    assert {(n % 6, d) for n, d in numbers} == {(k, d) for k in (1, 3, 5) for d in (2, 5, 10)}


@pytest.mark.parametrize(("function", "dimension"), [(2, 2), (34, 5)])
def test_values_and_constraints_are_those_of_coco(function: int, dimension: int) -> None:
    """The initial solution that COCO gives is feasible; its score is its value."""
    objective = ConstrainedObjective(function, dimension, seed=3)
    suite = cocoex.Suite("bbob-constrained", "instances: 4", f"dimensions: {dimension}")
    problem = suite.get_problem_by_function_dimension_instance(function, dimension, 4)
    point = problem.initial_solution
    params = {f"x{i}": float(x) for i, x in enumerate(point)}
    study = optuna.create_study()
    study.enqueue_trial(params)
    study.optimize(objective, n_trials=1)

    assert study.best_trial.value == pytest.approx(problem(point))
    assert list(study.best_trial.constraints.values()) == pytest.approx(problem.constraint(point))
    assert objective.violation(params) == 0.0
    assert objective.score(params) == pytest.approx(problem(point))


def test_infeasible_parameters_score_worse_than_any_value() -> None:
    """By the sum of what is above 0."""
    objective = ConstrainedObjective(4, 5, seed=0)
    params = {f"x{i}": 5.0 for i in range(5)}
    constraints = np.array(objective._problem.constraint([5.0] * 5))

    assert constraints.max() > 0.0
    assert objective.violation(params) == pytest.approx(constraints[constraints > 0.0].sum())
    assert objective.score(params) == pytest.approx(BEYOND * (1 + objective.violation(params)))


class Bounded:
    """Minimize x, which must be at least 0.5."""

    def __init__(self) -> None:
        self.space: Mapping[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}

    def __call__(self, trial: Trial) -> float:
        return trial.suggest_float("x", 0.0, 1.0)

    def violation(self, params: Mapping[str, Any]) -> float:
        return max(0.5 - float(params["x"]), 0.0)

    def score(self, params: Mapping[str, Any]) -> float:
        return float(params["x"])


def test_the_answer_is_the_best_feasible_trial() -> None:
    """Of five trials three are feasible, and two have a lower value."""

    class Given(optuna.samplers.RandomSampler):
        def sample_independent(self, study: Any, trial: Any, *_: Any) -> float:
            return (0.9, 0.2, 0.6, 0.4, 0.7)[trial.number]

    assert run_study(Bounded(), Given(), 5, 1).best[5] == 0.6

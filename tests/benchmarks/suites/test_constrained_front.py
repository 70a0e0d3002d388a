"""The suite `constrained-front`, against closed forms, and its score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

from benchmarks.suites.constrained_front import (
    CONSTRAINED_FRONT,
    CORNERS,
    HELD_OUT,
    ConstrainedFrontObjective,
    problem,
)
from benchmarks.suites.study import BEYOND, run_study


def told(name: str, params: Mapping[str, Any]) -> optuna.trial.FrozenTrial:
    """Return a trial of a function with these parameters."""
    objective = ConstrainedFrontObjective(name, seed=0)
    study = optuna.create_study(directions=["minimize"] * objective.n_objectives)
    study.enqueue_trial(dict(params))
    study.optimize(objective, n_trials=1)
    return study.trials[0]


@pytest.mark.parametrize(("x", "y"), [(1.0, 2.0), (0.0, 3.0), (5.0, 0.5)])
def test_values_and_constraints_are_those_of_the_closed_form(x: float, y: float) -> None:
    """BNH: Binh and Korn's function of two variables."""
    trial = told("bnh", {"x0": x, "x1": y})

    assert trial.values == pytest.approx([4 * (x**2 + y**2), (x - 5) ** 2 + (y - 5) ** 2])
    # Pymoo divides each constraint by its bound.
    inner, outer = (x - 5) ** 2 + y**2 - 25, 7.7 - (x - 8) ** 2 - (y + 3) ** 2
    assert trial.constraints == pytest.approx({"c0": inner / 25, "c1": outer / 7.7})


@pytest.mark.parametrize("name", CORNERS)
def test_no_feasible_point_is_beyond_the_ideal(name: str) -> None:
    """Of many random points; some of most functions lie between the front's corners."""
    found, rng = problem(name), np.random.default_rng(0)
    points = rng.uniform(found.xl, found.xu, (2000, found.n_var))
    points = points.round().astype(int) if found.vtype is int else points
    with np.errstate(divide="ignore", invalid="ignore"):
        values = found.evaluate(points, return_as_dictionary=True)
    ideal, nadir = np.array(CORNERS[name])
    feasible = values["F"][(values["G"] <= 0).all(axis=1)]

    assert ideal.shape == nadir.shape == (found.n_obj,)
    assert (ideal < nadir).all()
    assert (feasible >= ideal - 1e-9).all()


def test_half_of_the_functions_is_held_out_by_name() -> None:
    """Variants with more objectives are in the same half."""
    held_out = {task.name for task in CONSTRAINED_FRONT.tasks if task.held_out}

    assert held_out == HELD_OUT
    assert len(CONSTRAINED_FRONT.tasks) - len(held_out) == 19
    assert all(name[:-1] + "2" in HELD_OUT for name in HELD_OUT if name.endswith("-m3"))


@pytest.mark.parametrize(
    ("name", "kind"), [("clutch", IntDistribution), ("tnk", FloatDistribution)]
)
def test_parameters_are_of_the_function_s_kind(name: str, kind: type) -> None:
    """The clutch has five integers."""
    space = ConstrainedFrontObjective(name, seed=0).space

    assert {type(distribution) for distribution in space.values()} == {kind}
    assert len(space) == (5 if kind is IntDistribution else 2)


def test_a_trial_that_cannot_be_computed_fails() -> None:
    """CTP2 divides zero by zero in this corner."""
    assert told("ctp2", {"x0": 0.0, "x1": 0.0}).state is TrialState.FAIL


LOSSES = (0.0, 0.5, 0.0, 0.0, 0.0)


class Two(ConstrainedFrontObjective):
    """Both losses are equal; all trials but the first two are infeasible."""

    def __init__(self, violations: list[float]) -> None:
        super().__init__("mw7", seed=0)
        self.violations = violations
        self.space = {"x": FloatDistribution(0.0, 1.0)}

    def __call__(self, trial: Any) -> list[float]:
        trial.suggest_float("x", 0.0, 1.0)
        return [LOSSES[trial.number]] * 2

    def violation(self, params: Mapping[str, Any]) -> float:
        return self.violations.pop(0) if self.violations else 9.0


@pytest.mark.parametrize("violations", [[3.0, 2.0], [3.0, 0.0], [0.0, 3.0]])
def test_the_score_is_that_of_feasible_trials(violations: list[float]) -> None:
    """Without them it is by the least violation."""
    expected = BEYOND * 3.0  # By 1 more than the least.
    if 0.0 in violations:
        loss, reference = LOSSES[violations.index(0.0)], 1.152 * 1.1
        expected = 1 - (1 - loss / reference) ** 2

    outcome = run_study(Two([*violations]), optuna.samplers.RandomSampler(seed=0), 5, 1)

    assert outcome.best[5] == pytest.approx(expected)

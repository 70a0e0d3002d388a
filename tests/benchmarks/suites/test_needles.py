"""The suite `needles`: best points by a search of SciPy's, and shares of the space by counting."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler
from scipy import integrate, optimize

from benchmarks.suites.needles import NEEDLES, WORST, Needle
from benchmarks.suites.task import Task

TASKS = pytest.mark.parametrize("task", NEEDLES.tasks, ids=lambda task: task.name)


def needle_of(name: str, seed: int = 0) -> Needle:
    """Return the objective of a task and a seed."""
    (task,) = (task for task in NEEDLES.tasks if task.name == name)
    objective = task.objective(seed)
    assert isinstance(objective, Needle)
    return objective


def some_trials(objective: Needle, n: int, seed: int = 0) -> list[optuna.trial.FrozenTrial]:
    """Return random trials."""
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    study.optimize(objective, n_trials=n)
    return study.trials


def lowest(objective: Needle, chosen: Mapping[str, Any]) -> float:
    """Return the lowest score that SciPy finds beside fixed choices."""
    numbers = {
        name: d
        for name, d in objective.space.items()
        if not isinstance(d, CategoricalDistribution)
        and ("branch" not in chosen or name.startswith(f"{chosen['branch']}_"))
    }

    def score(x: np.ndarray) -> float:
        params = dict(chosen)
        for value, (name, d) in zip(x.tolist(), numbers.items(), strict=True):
            assert isinstance(d, IntDistribution | FloatDistribution)
            at = d.low * (d.high / d.low) ** value if d.log else d.low + (d.high - d.low) * value
            params[name] = round(at) if isinstance(d, IntDistribution) else at
        return objective.score(params)

    bounds = optimize.Bounds([0.0] * len(numbers), [1.0] * len(numbers))
    size = 20 if "branch" in chosen else 100  # Of 400 points some are in the smallest region.
    found = optimize.differential_evolution(score, bounds, rng=1, popsize=size, atol=1e-3)
    return float(found.fun)


def at_lowest(objective: Needle, chosen: Mapping[str, Any]) -> float:
    """Return the score of choices beside the lowest numbers."""
    numbers = {name: d.low for name, d in objective.space.items() if hasattr(d, "low")}
    return objective.score({**numbers, **chosen})


def test_tasks_come_in_pairs_and_names_are_unique() -> None:
    """The second of a pair is held out."""
    assert [task.held_out for task in NEEDLES.tasks] == [False, True] * 6
    assert len({task.name for task in NEEDLES.tasks}) == 12


@TASKS
def test_the_best_score_is_0(task: Task) -> None:
    """A global search finds nothing lower, and comes close; choices are tried one by one."""
    objective = task.objective(3)
    menus = {n: d.choices for n, d in objective.space.items() if hasattr(d, "choices")}
    all_choices = [
        dict(zip(menus, choices, strict=True)) for choices in itertools.product(*menus.values())
    ]
    if len(all_choices) > 24:  # What a choice costs does not depend on numbers.
        all_choices = [min(all_choices, key=lambda chosen: at_lowest(objective, chosen))]
    best = min(lowest(objective, chosen) for chosen in all_choices)

    assert best == pytest.approx(0, abs=2e-3)
    assert best >= -1e-9


@TASKS
def test_a_trial_has_the_cost_of_its_parameters(task: Task) -> None:
    """Objectives of one seed are equal; infeasible and infinite trials have the worst score."""
    objective = task.objective(0)
    trials = some_trials(objective, 60)
    again, other = (
        [task.objective(seed).score(trial.params) for trial in trials] for seed in (0, 1)
    )

    assert again != other
    for trial, score in zip(trials, again, strict=True):
        visible = math.isfinite(trial.value or 0.0) and not objective.violation(trial.params)
        assert score == (trial.value if visible else WORST)
        assert trial.constraints in ({}, {"feasible": objective.violation(trial.params)})


@pytest.mark.parametrize(("name", "n_own"), [("branches", 1), ("wide-branches", 2)])
def test_a_trial_has_the_parameters_of_its_branch_alone(name: str, n_own: int) -> None:
    """Their names begin with the branch's."""
    for trial in some_trials(needle_of(name), 30):
        branch = trial.params.pop("branch")

        assert len(trial.params) == n_own
        assert all(name.split("_")[0] == branch for name in trial.params)


@pytest.mark.parametrize("name", ["menu", "menus", "box", "ball", "diverging", "accuracy"])
def test_elsewhere_a_trial_has_all_parameters(name: str) -> None:
    """With the suite's distributions."""
    objective = needle_of(name)
    (trial,) = some_trials(objective, 1)

    assert trial.distributions == objective.space


def diverging_share(largest: float) -> float:
    """Return the share of rates and momenta at which a training diverges, by quadrature."""

    def of_momentum(momentum: float) -> float:
        return float(np.clip((2 - largest - math.log10(1 - momentum)) / 8, 0, 1))

    return float(integrate.quad(of_momentum, 0, 0.99)[0]) / 0.99


def test_few_points_are_feasible_or_finite() -> None:
    """As many as the volumes say, by four standard deviations of a count."""
    n = 4000
    volumes = {
        "box": 0.12**2,
        "ball": 4 / 3 * math.pi * 0.2**3,
        "needle-3d": 4 / 3 * math.pi * 0.3**3,
    }
    for name, volume in volumes.items():
        objective = needle_of(name, seed=2)
        trials = some_trials(objective, n)
        if name == "needle-3d":
            count = sum(trial.value < 1 for trial in trials if trial.value is not None)
            assert 0 < count / n < volume + 4 * math.sqrt(volume / n)  # Some of it is outside.
        else:
            count = sum(not objective.violation(trial.params) for trial in trials)
            assert abs(count / n - volume) < 4 * math.sqrt(volume / n)


def test_a_training_diverges_above_a_rate() -> None:
    """The share of such trials is that of a quadrature, for the seed's largest rate."""
    objective = needle_of("diverging", seed=2)
    trials = some_trials(objective, 4000)
    finite = [t for t in trials if math.isfinite(t.value or 0.0)]
    largest = max(math.log10(t.params["rate"] / (1 - t.params["momentum"])) for t in finite)
    share = diverging_share(largest)

    assert abs(1 - len(finite) / 4000 - share) < 4 * math.sqrt(share * (1 - share) / 4000)

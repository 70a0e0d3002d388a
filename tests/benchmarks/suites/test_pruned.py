"""The suite `pruned`: its curves, and studies with a pruner."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from scipy import optimize
from scipy.stats import spearmanr

from benchmarks.suites.pruned import NOISE, PRUNED, STEPS, Curves
from benchmarks.suites.study import run_study
from benchmarks.suites.task import Task

TASKS = pytest.mark.parametrize("task", PRUNED.tasks, ids=lambda task: task.name)


def study_of(task: Task, n_trials: int, seed: int = 0) -> tuple[Curves, optuna.Study]:
    """Return the objective of a seed and a random search on it."""
    objective = task.objective(seed)
    study = optuna.create_study(
        study_name="study", sampler=RandomSampler(seed=seed), pruner=objective.pruner
    )
    study.optimize(objective, n_trials=n_trials)
    return objective, study


@TASKS
def test_most_trials_are_pruned_and_reports_are_the_losses_with_noise(task: Task) -> None:
    """A complete trial's value is its last report, near its score."""
    objective, study = study_of(task, 60)
    states = [trial.state for trial in study.trials]

    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    assert states.count(TrialState.PRUNED) > 30
    for trial in study.trials:
        reports = [*trial.intermediate_values.values()]
        losses = objective.losses(trial.params)
        assert np.abs(reports - losses[: len(reports)]).max() < 6 * NOISE
        if trial.state == TrialState.COMPLETE:
            assert trial.value == reports[-1]
            assert len(reports) == STEPS
            assert objective.score(trial.params) == pytest.approx(losses[-1])


@TASKS
def test_early_losses_tell_the_last_unless_curves_cross(task: Task) -> None:
    """Even curves keep their order; the first losses of crossing curves hardly tell the last."""
    objective, study = study_of(task, 100)
    curves = np.array([objective.losses(trial.params) for trial in study.trials])
    tells = spearmanr(curves[:, 0], curves[:, -1]).statistic

    assert (np.diff(curves, axis=1) <= 0).all()
    if "-cross-" in task.name:
        assert tells < 0.5
    else:
        assert tells == pytest.approx(1.0)


@TASKS
@pytest.mark.parametrize("seed", range(3))
def test_the_best_point_costs_nothing(task: Task, seed: int) -> None:
    """A search by SciPy, one for each choice, ends at 0, where integers and steps allow it."""
    objective = task.objective(seed)
    ((name, menu),) = (
        item for item in objective.space.items() if isinstance(item[1], CategoricalDistribution)
    )
    numbers = {key: d for key, d in objective.space.items() if key != name}

    def cost(x: np.ndarray, choice: str) -> float:
        params = {name: choice}
        for value, (key, d) in zip(x.tolist(), numbers.items(), strict=True):
            at = d.low * (d.high / d.low) ** value if d.log else d.low + (d.high - d.low) * value
            params[key] = round(at) if isinstance(d, IntDistribution) else at
        return float(objective.score(params))

    bounds = optimize.Bounds([0.0] * len(numbers), [1.0] * len(numbers))
    lowest = [
        optimize.differential_evolution(cost, bounds, args=(choice,), rng=0, tol=1e-6).fun
        for choice in menu.choices
    ]
    assert min(lowest) == pytest.approx(0.0, abs=1e-3)
    assert min(lowest) >= 0.0


def test_a_study_is_the_same_again_and_scores_complete_trials_alone() -> None:
    """Hyperband's brackets depend on the study's name; without a complete trial all is open."""
    (task,) = (task for task in PRUNED.tasks if task.name == "network-even-hyperband")
    first, again = (
        run_study(task.objective(0), RandomSampler(seed=1), 50, n_workers=4) for _ in range(2)
    )

    assert first.best == again.best
    assert math.isfinite(first.best[50])

    class Hopeless(Curves):
        def __call__(self, trial: optuna.Trial) -> float:
            super().__call__(trial)
            raise optuna.TrialPruned

    hopeless = task.objective(0)
    hopeless.__class__ = Hopeless
    assert run_study(hopeless, RandomSampler(seed=1), 5, n_workers=1).best == {5: math.inf}

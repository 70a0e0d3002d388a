"""Adaptive searches whose trials end in odd ways, and studies of several objectives."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product
from typing import Any

import optuna
import pytest
from optuna import Trial, TrialPruned

from tests.breeding.samplers import CHEAP, KINDS, Make, mixed, of_every_kind, points
from tests.studies import Objective, bred, constant, run


def odd(trial: Trial) -> float:
    """End in one of seven ways, by the trial's number."""
    value = mixed(trial)
    end = trial.number % 7
    if end == 1:
        raise RuntimeError
    if end == 2:
        trial.report(math.nan if trial.number % 2 else value, 1)
        raise TrialPruned
    if end == 3:
        trial.set_constraint("c", value)
    return {4: math.inf, 5: -math.inf, 6: math.nan}.get(end, value)


def prunes(trial: Trial) -> float:
    """Prune before the first report."""
    mixed(trial)
    raise TrialPruned


def violates(trial: Trial) -> float:
    """Return an infeasible value."""
    trial.set_constraint("c", 1.0)
    return mixed(trial)


@pytest.mark.parametrize(
    ("kind", "direction"),
    [*product(CHEAP, ("minimize", "maximize")), ("screened", "maximize")],
)
def test_trials_may_end_in_any_way(kind: str, direction: Any) -> None:
    """Failed, pruned, infinite and infeasible trials neither stop the search nor warn."""
    study = optuna.create_study(sampler=KINDS[kind](4, seed=0), direction=direction)
    study.optimize(odd, n_trials=28, catch=RuntimeError)

    assert Counter(trial.state.name for trial in study.trials) == {
        "COMPLETE": 16,
        "FAIL": 8,
        "PRUNED": 4,
    }
    assert len(set(points(study))) == 28
    assert len(bred(study)) > 12


@of_every_kind
@pytest.mark.parametrize(
    "objective",
    [
        constant,
        prunes,
        violates,
        lambda trial: mixed(trial) + math.inf,
        lambda trial: mixed(trial) - math.inf,
        lambda trial: mixed(trial) + math.nan,
        lambda trial: 0.0,
    ],
)
def test_all_trials_may_end_alike(make: Make, objective: Objective) -> None:
    """The search goes on where no trial is fitter than another."""
    study = run(make(4, seed=0), 9, objective)

    assert len(study.trials) == 9


@of_every_kind
def test_values_may_be_huge(make: Make) -> None:
    """Differences of values may overflow a float."""
    study = run(make(4, seed=0), 12, lambda trial: 1.7e308 * trial.suggest_float("x", -1, 1))

    assert len(study.trials) == 12


@of_every_kind
def test_maximizing_mirrors_minimizing(make: Make) -> None:
    """Negated values and the other direction make the same search."""
    minimized = run(make(4, seed=0), 12, mixed)
    maximized = run(make(4, seed=0), 12, lambda trial: -mixed(trial), direction="maximize")

    assert points(minimized) == points(maximized)

"""The losses that pruned trials are expected to end with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
import pytest
from optuna import Trial
from optuna.pruners import SuccessiveHalvingPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from optuna_ga import GASampler
from optuna_ga._breeding.model.pruned_losses import with_expected_losses
from optuna_ga._population import fitness
from tests.breeding.histories import MAXIMIZE, MINIMIZE
from tests.studies import added, failed, pruned


def expected(*trials: FrozenTrial, direction: StudyDirection = MINIMIZE) -> list[float | None]:
    """Return the losses of trials, None for failed trials."""
    ranks = [fitness.rank(trial, [direction]) for trial in trials]
    found = with_expected_losses(ranks, trials, direction)
    return [rank and rank.losses[0] for rank in found]


def complete(value: float, *reports: float) -> FrozenTrial:
    """Return a complete trial."""
    return added(value, intermediate_values=numbered(reports))


def ended(*reports: float) -> FrozenTrial:
    """Return a trial that was pruned after its last report."""
    return pruned(intermediate_values=numbered(reports))


def numbered(reports: Sequence[float]) -> Mapping[int, float]:
    """Return reports by step."""
    return dict(enumerate(reports, start=1))


@pytest.mark.parametrize(
    ("report", "loss"),
    [(9.0, 1.0), (10.0, 2.0), (11.5, 3.0), (12.0, 3.0), (13.5, 4.0), (99.0, 4.0), (math.nan, 4.0)],
)
def test_a_pruned_trial_has_the_loss_at_its_reports_place(report: float, loss: float) -> None:
    """Among four reports and its own; the reports' distances and scale do not count."""
    history = [complete(value, 9.0 + value) for value in (3.0, 1.0, 4.0, 2.0)]

    *others, found = expected(*history, ended(report))
    assert others == [3.0, 1.0, 4.0, 2.0]
    assert found == loss


def test_only_reports_of_the_same_step_count() -> None:
    """Of pruned and failed trials, too."""
    history = [complete(1.0, 8.0, 1.0), complete(5.0, 9.0, 5.0)]
    early = [ended(7.0), failed(intermediate_values={1: 6.0})]

    assert expected(*history, *early, ended(9.5, 0.5))[-1] == 1.0
    assert expected(*history, *early, ended(9.5))[-1] == 5.0


def test_maximizing_is_the_mirror_image() -> None:
    """Values and reports with the other sign have the same losses."""
    rng = np.random.default_rng(0)
    history = [complete(*rng.normal(size=4).tolist()) for _ in range(9)]
    history += [ended(*rng.normal(size=n).tolist()) for n in (1, 2, 3, 3)]
    mirrored = [
        optuna.create_trial(
            state=trial.state,
            value=None if trial.value is None else -trial.value,
            intermediate_values={step: -v for step, v in trial.intermediate_values.items()},
        )
        for trial in history
    ]

    assert expected(*mirrored, direction=MAXIMIZE) == expected(*history)


def test_without_complete_trials_or_reports_losses_stay() -> None:
    """Complete trials with an infinite value are no help."""
    assert expected(ended(3.0), added(math.inf)) == [3.0, math.inf]
    assert expected(added(1.0), pruned(), failed()) == [1.0, math.inf, None]


def test_an_early_report_does_not_count_as_the_worst_loss() -> None:
    """Where all curves fall from 100 to at most 1, the model still finds the lowest of them."""

    def objective(trial: Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        y = trial.suggest_float("y", 0.0, 1.0)
        last = (x - 0.3) ** 2 + (y - 0.8) ** 2
        for step in range(1, 17):
            trial.report(last + 100.0 * (1.0 - step / 16), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return last

    distances = []
    for seed in range(5):
        sampler = GASampler.adaptive(seed=seed)
        study = optuna.create_study(sampler=sampler, pruner=SuccessiveHalvingPruner())
        study.optimize(objective, n_trials=60)
        latest = [trial.params for trial in study.trials[-20:]]
        distances += [math.dist((p["x"], p["y"]), (0.3, 0.8)) for p in latest]

    assert np.median(distances) < 0.05

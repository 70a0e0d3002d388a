"""The losses that pruned trials are expected to end with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from optuna_ga._breeding.adaptive_settings import MODELLED
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.pruned_losses import with_expected_losses
from optuna_ga._breeding.model.surrogate import Surrogate
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
    """Where all curves fall from 100, a pruned trial is as good to the model as its place."""
    matrix = TrialMatrix([MINIMIZE], 200)
    curves = [complete(value, 100.0 + value, value) for value in (0.0, 1.0, 2.0, 3.0, 4.0)]
    for number, trial in enumerate([*curves, ended(103.0)]):
        trial.number = number
        matrix.add(trial)
    losses = Surrogate(MODELLED).losses(matrix, range(6))

    assert losses[5] == pytest.approx(losses[3])

"""The seconds of a group's trainings, shared among them, and ties between epochs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from optuna_ga.torch import _reporter
from optuna_ga.torch._metrics import Metrics
from optuna_ga.torch._reporter import Reporter
from optuna_ga.torch._training import Epoch


def reporter(study: optuna.Study, *epochs: int, **options: Any) -> Reporter:
    """Return the reporter of trials with these numbers of epochs, valued by their loss."""
    settings: Any = {"takes_best": False, "reports": True, **options}
    trials = [study.ask() for _ in epochs]
    return Reporter(trials, epochs, Metrics("loss"), [None], **settings)


def epoch(loss: float) -> Epoch:
    """Return the results of an epoch."""
    return Epoch(loss, {"loss": loss})


def test_trials_share_the_seconds_of_each_epoch_that_they_train_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three share 6 seconds and two 4 more; reporting, of a second each, is nobody's."""
    times = iter([0.0, 6.0, 7.0, 11.0, 12.0])
    monkeypatch.setattr(_reporter, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    study = optuna.create_study()
    report = reporter(study, 1, 2, 2)

    report(1, {0: epoch(1.0), 1: epoch(1.0), 2: epoch(1.0)})
    report(2, {1: epoch(1.0), 2: None})  # The last one diverges.

    assert [trial.user_attrs["training_s"] for trial in study.trials] == [2.0, 4.0, 4.0]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_of_equally_good_epochs_the_first_is_the_best(direction: Any) -> None:
    """The others are no better."""
    study = optuna.create_study(direction=direction)
    report = reporter(study, 3, takes_best=True)
    for number in (1, 2, 3):
        report(number, {0: epoch(0.5)})

    assert report.results == [[0.5]]
    assert study.trials[0].user_attrs["best_epoch"] == 1

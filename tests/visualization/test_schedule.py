"""The figure of a schedule."""

from __future__ import annotations

from typing import Any

import pytest
from optuna import Trial

from optuna_ga import Checkpoints, best_of_final_generation, schedule_of
from optuna_ga.visualization import plot_schedule
from tests.studies import run, study_with
from tests.training.walks import sampler, walk
from tests.visualization.figures import trace


def test_a_figure_shows_the_schedule_of_the_answer() -> None:
    """A step for each segment, and the values after each."""
    study, _ = walk(24)
    figure = plot_schedule(study, epochs=2)
    answer = best_of_final_generation(study)
    schedule = [params["step"] for params in schedule_of(study, answer)]

    assert list(trace(figure, "step").y) == [*schedule, schedule[-1]]
    assert list(trace(figure, "step").x) == [0, 2, 4, 6, 8, 10, 12]
    assert list(trace(figure, "value").x) == [2, 4, 6, 8, 10, 12]
    assert trace(figure, "value").y[-1] == answer.value


def test_parameters_are_drawn_in_their_own_scale() -> None:
    """Logarithms, choices, and a parameter that some segments do not have."""
    checkpoints = Checkpoints()

    def objective(trial: Trial) -> float:
        checkpoints.save(trial, {})
        value = trial.suggest_float("rate", 1e-4, 1.0, log=True)
        if trial.suggest_categorical("kind", ["a", None]) is None:
            trial.suggest_int("n", 1, 5)
        return value

    figure = plot_schedule(run(sampler(), 24, objective))
    rate, kind = figure.get_subplot(2, 1), figure.get_subplot(1, 1)
    assert (kind.yaxis.type, rate.yaxis.type) in {("category", "log"), ("category", "linear")}
    assert set(trace(figure, "kind").y) <= {"a", "None"}


def test_another_trial_is_drawn_by_its_number() -> None:
    """So that lines can be compared."""
    study, _ = walk(24)

    assert len(trace(plot_schedule(study, 5), "value").y) == 2


@pytest.mark.parametrize(
    ("options", "error"),
    [({"epochs": 0}, ValueError), ({"target_name": 1}, TypeError), ({"trial": 99}, ValueError)],
)
def test_arguments_are_checked(options: dict[str, Any], error: type[Exception]) -> None:
    """As everywhere."""
    with pytest.raises(error):
        plot_schedule(walk(8)[0], **options)
    with pytest.raises(ValueError):
        plot_schedule(study_with())

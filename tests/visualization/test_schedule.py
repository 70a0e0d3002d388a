"""The figure of a schedule."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna import Study, Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from optuna_ga import Checkpoints, best_of_final_generation, schedule_of
from optuna_ga.visualization import plot_genes, plot_schedule
from tests.pbt.walks import sampler, walk
from tests.studies import of_four, parents, run, study_with
from tests.visualization.figures import trace, without_tags


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


def segments(*steps: tuple[Any, BaseDistribution]) -> Study:
    """Return a study whose last trial continued all others, with these values of a parameter."""
    study = optuna.create_study(sampler=sampler())
    for number, (value, distribution) in enumerate(steps):
        attrs = {"ga_generation": number, "ga_checkpoint": "key"}
        parents = {"ga_parents": [number - 1]} if number else {}
        study.add_trial(
            optuna.create_trial(
                value=1.0,
                params={"p": value},
                distributions={"p": distribution},
                user_attrs={**attrs, **parents},
            )
        )
    return study


@pytest.mark.parametrize(
    ("choices", "labels"),
    [
        ([1, "1"], ["1", "'1'"]),
        (["a" * 90 + "1", "a" * 90 + "2"], [f"aaaa…{'a' * 10}{n}" for n in (1, 2)]),
        (["a" * 9 + c + "a" * 20 for c in "12"], [f"{n}: 'aaa…{'a' * 10}'" for n in (0, 1)]),
        (["<b>x</b>", 'say "x"'], ["&lt;b&gt;x&lt;/b&gt;", 'say "x"']),
    ],
)
def test_choices_have_the_labels_that_plot_genes_gives_them(
    choices: list[Any], labels: list[str]
) -> None:
    """Different choices are drawn apart."""
    distribution = CategoricalDistribution(choices)
    study = segments(*[(choice, distribution) for choice in choices])

    assert list(trace(plot_schedule(study, 1), "p").y[:2]) == labels
    assert list(plot_genes(study).layout.yaxis.ticktext) == labels


def test_a_logarithmic_axis_is_for_logarithmic_values_only() -> None:
    """A value of an earlier, linear range may be zero."""
    linear, logarithmic = FloatDistribution(0, 1), FloatDistribution(0.1, 1, log=True)
    figure = plot_schedule(segments((0.0, linear), (0.3, logarithmic)), 1)

    assert figure.layout.yaxis.type == "linear"
    assert trace(figure, "p").y == (0.0, 0.3, 0.3)


def test_a_parameter_is_drawn_in_the_kind_it_has_at_last() -> None:
    """As by `plot_genes`: an axis has either numbers or choices."""
    choices = CategoricalDistribution(["a", "b"])
    figure = plot_schedule(segments(("b", choices), (0.3, FloatDistribution(0, 1))), 1)

    assert trace(figure, "p").y == (None, 0.3, 0.3)


def test_an_infinite_value_is_counted_but_not_drawn() -> None:
    """It can be enqueued."""
    checkpoints = Checkpoints()

    def objective(trial: Trial) -> float:
        checkpoints.save(trial, {})
        return min(trial.suggest_float("rate", 1e-4, 1.0, log=True), 1.0)

    study = run(sampler(), 0)
    study.enqueue_trial({"rate": math.inf})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(objective, n_trials=1)
    figure = plot_schedule(study, 0)

    assert trace(figure, "rate").y == (None, None)
    assert without_tags(figure.layout.annotations[0].text) == "rate not drawn: 1 infinite"


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


def test_a_study_without_schedules_is_named_without_arguments() -> None:
    """The error says what the study's trials lack."""
    with pytest.raises(ValueError, match="did not continue its parent") as caught:
        plot_schedule(run(of_four(), 12))

    assert "`trial`" not in str(caught.value)


@pytest.mark.parametrize("number", [None, 9])
def test_hovering_names_the_trials_of_the_lineage(number: int | None) -> None:
    """Each with its own parameter and value, at the epochs that it trained."""
    study, _ = walk(24)
    trials = study.trials
    lineage = [best_of_final_generation(study) if number is None else trials[number]]
    while numbers := parents(lineage[0]):
        lineage.insert(0, min((trials[n] for n in numbers), key=lambda t: (t.value, t.number)))
    figure = plot_schedule(study, number)
    step, value = trace(figure, "step"), trace(figure, "value")

    hovers = [f"<b>Trial {t.number}</b><br>step: {t.params['step']:.6g}" for t in lineage]
    assert step.text == (*hovers, hovers[-1])
    assert step.x == tuple(range(len(lineage) + 1))
    assert value.text == tuple(f"<b>Trial {t.number}</b>" for t in lineage)
    assert (value.x, value.y) == (step.x[1:], tuple(t.value for t in lineage))
    assert figure.layout.title.text == f"Schedule of trial {lineage[-1].number}"

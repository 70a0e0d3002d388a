"""`plot_schedule`: the hyperparameters that change while a network trains."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._checks import MAX_COUNT, check_int, check_text
from optuna_ga._pbt.lineage import lineage_of
from optuna_ga._results.final_generation import best_of_final_generation
from optuna_ga.visualization._common import GRAY, HIGHLIGHT, as_html, finite, param_text
from optuna_ga.visualization._parameter import Parameter
from optuna_ga.visualization._plotly import go, make_subplots

_ROW_HEIGHT = 170  # Pixels.


def plot_schedule(
    study: Study,
    trial: FrozenTrial | int | None = None,
    *,
    epochs: int = 1,
    target_name: str = "Objective Value",
) -> go.Figure:
    """Plot the hyperparameters that a trial's network was trained with, epoch by epoch.

    Each parameter has a plot with a step for each trial of the lineage, from the one that trained
    from scratch to the trial itself; the last plot has their values, each after its segment. It is
    the figure of `schedule_of`. If a parameter changed its kind or its choices during the study,
    its plot shows only the trials that agree with the last one. Infinite values are counted in the
    title but not drawn.

    Args:
        study: A study whose sampler was `GASampler.population_based_training` with `record=True`.
        trial: A trial of the study, or its number. None takes `best_of_final_generation(study)`.
        epochs: Number of epochs that each trial trains, 1 to 1,000,000.
        target_name: Name of the objective.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the study has no such trial, no finished generation or several objectives,
            if the lineage was not recorded, or if an argument is out of range.
    """
    epochs = check_int("epochs", epochs, minimum=1, maximum=MAX_COUNT)
    check_text("target_name", target_name)
    lineage = lineage_of(study, best_of_final_generation(study) if trial is None else trial)
    names = sorted({name for segment in lineage for name in segment.params})
    parameters = {name: Parameter(name, lineage) for name in names}
    titles = [parameter.title() for parameter in parameters.values()]
    figure = make_subplots(
        len(names) + 1,
        1,
        shared_xaxes=True,
        subplot_titles=[*titles, as_html(target_name)],
        vertical_spacing=0.25 / (len(names) + 1),
    )
    for row, (name, parameter) in enumerate(parameters.items(), start=1):
        figure.add_trace(_steps(lineage, name, parameter, epochs), row=row, col=1)
        axis = {"type": "category"} if parameter.choices else parameter.axis
        figure.get_subplot(row, 1).yaxis.update(axis)
    figure.add_trace(_values(lineage, epochs), row=len(names) + 1, col=1)
    figure.update_xaxes(title="Epoch", row=len(names) + 1, col=1)
    figure.update_layout(
        title=f"Schedule of trial {lineage[-1].number}",
        height=max(450, 150 + _ROW_HEIGHT * (len(names) + 1)),
        showlegend=False,
    )
    return figure


def _steps(
    lineage: Sequence[FrozenTrial], name: str, parameter: Parameter, epochs: int
) -> go.Scatter:
    """Return a step for each segment; the last value is repeated at the end of its segment."""
    values = [_drawn(segment, parameter) for segment in lineage]
    hovers = [
        f"<b>Trial {segment.number}</b><br>{as_html(name)}: {param_text(segment.params.get(name))}"
        for segment in lineage
    ]
    return go.Scatter(
        x=[epochs * position for position in range(len(lineage) + 1)],
        y=[*values, values[-1]],
        mode="lines+markers",
        name=as_html(name),
        line={"color": HIGHLIGHT, "shape": "hv"},
        marker={"size": [7] * len(lineage) + [0]},
        text=[*hovers, hovers[-1]],
        hovertemplate="%{text}<extra></extra>",
    )


def _values(lineage: Sequence[FrozenTrial], epochs: int) -> go.Scatter:
    return go.Scatter(
        x=[epochs * (position + 1) for position in range(len(lineage))],
        y=[finite(segment.value) for segment in lineage],
        mode="lines+markers",
        name="value",
        line={"color": GRAY},
        text=[f"<b>Trial {segment.number}</b>" for segment in lineage],
        hovertemplate="%{text}: %{y:.6g}<extra></extra>",
    )


def _drawn(segment: FrozenTrial, parameter: Parameter) -> float | str | None:
    """Return a parameter as it is drawn; None if it is not."""
    number = parameter.numbers.get(segment.number)
    if number is None or parameter.choices is None:
        return number
    return parameter.choices[int(number)]

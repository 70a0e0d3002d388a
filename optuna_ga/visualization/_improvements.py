"""Where the improvements of the best came from."""

from __future__ import annotations

from collections import Counter
from functools import partial

from optuna.study import Study

from optuna_ga._results.history import ORIGINS, History
from optuna_ga.visualization._common import (
    GRAY,
    HIGHLIGHT,
    ORIGIN_NAMES,
    finite,
    hover_text,
    origin_markers,
    read_finished,
)
from optuna_ga.visualization._plotly import go, make_subplots

_HEADROOM = 1.12  # For the number above the highest bar.


def plot_improvements(
    study: Study, *, population_size: int | None = None, target_name: str = "Objective Value"
) -> go.Figure:
    """Plot where improvements of the best came from: start, crossover or mutation.

    The bars compare the share that each origin has in the improvements with its share in the
    finished trials. The line is the best of the complete and feasible trials so far, with a
    marker for each improvement. The first such trial counts as one, unless its value is
    infinitely bad. Infinite values are counted, but not drawn. A trial without recorded parents
    belongs to the start: drawn at random, enqueued, added or from another sampler.

    Args:
        study: A study with one objective.
        population_size: Trials in a generation, at least 2. None takes it from the study's
            sampler if that is a `GASampler`, else from what one has recorded on the study.
        target_name: The objective's name on the axis.

    Raises:
        TypeError: If `population_size` is no integer.
        ValueError: If it is too small or unknown, if the study has several objectives, or if it
            has no finished trial.
    """
    history = read_finished(study, population_size)
    titles = ["Shares of the Origins", "Best So Far"]
    figure = make_subplots(
        1, 2, column_widths=[0.4, 0.6], horizontal_spacing=0.15, subplot_titles=titles
    )
    improvements = [one for one in history.individuals if one.improved]
    trials = Counter(one.origin for one in history.individuals)
    improved = Counter(one.origin for one in improvements)
    bars = [_shares(trials, "Trials", "#c4c4c4"), _shares(improved, "Improvements", HIGHLIGHT)]
    figure.add_traces(bars, rows=1, cols=1)
    figure.add_trace(_best_so_far(history), row=1, col=2)
    points = origin_markers(
        [one for one in improvements if finite(one.trial.value) is not None],
        x=lambda one: one.trial.number,
        y=lambda one: one.trial.value,
        text=partial(hover_text, target_name=target_name),
    )
    for trace in points:
        figure.add_trace(trace, row=1, col=2)
    figure.update_xaxes(title="Origin", row=1, col=1)
    most = max(share for bar in bars for share in bar.y)
    room = [0, _HEADROOM * most]
    figure.update_yaxes(title="Share", tickformat=".0%", range=room, row=1, col=1)
    figure.update_xaxes(title="Trial", row=1, col=2)
    figure.update_yaxes(title=target_name, row=1, col=2)
    figure.update_layout(
        title="Improvements of the Best",
        barmode="group",
        hovermode="closest",
        uniformtext={"minsize": 9, "mode": "show"},
    )
    return figure


def _shares(counts: Counter[str], name: str, color: str) -> go.Bar:
    total = counts.total()
    return go.Bar(
        x=[ORIGIN_NAMES[origin] for origin in ORIGINS],
        y=[counts[origin] / max(total, 1) for origin in ORIGINS],
        name=f"{name} ({total} in all)",
        marker={"color": color},
        text=[str(counts[origin]) for origin in ORIGINS],
        textposition="outside",
        textangle=0,
        textfont={"size": 11},
        hovertemplate=f"{name}: %{{text}} of {total}, %{{y:.1%}}<extra></extra>",
    )


def _best_so_far(history: History) -> go.Scatter:
    return go.Scatter(
        x=[one.trial.number for one in history.individuals],
        y=[finite(one.best_so_far) for one in history.individuals],
        mode="lines",
        name="Best so far",
        line={"color": GRAY, "shape": "hv", "width": 1.5},
        hovertemplate="Best so far: %{y:.6g}<extra></extra>",
    )

"""`plot_improvements`: the origins of the trials that improved the best value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from optuna.study import Study

from optuna_ga._results.history import ORIGINS, History
from optuna_ga.visualization._common import (
    GRAY,
    HIGHLIGHT,
    as_html,
    finite,
    good_infinity,
    hover_text,
    origin_markers,
    read_nonempty_history,
)
from optuna_ga.visualization._hypervolume import AXIS_TITLE, why_not_computed
from optuna_ga.visualization._plotly import go, make_subplots

_RARE_ORIGINS = ("random", "other")  # Have bars only where trials have them.
_HEADROOM = 1.12  # Leaves room for the number above the highest bar.


def plot_improvements(
    study: Study, *, population_size: int | None = None, target_name: str = "Objective Value"
) -> go.Figure:
    """Plot the origins of the trials that improved the best value, such as crossover or mutation.

    The bars compare each origin's share of the improvements with its share of the finished trials.
    The line is the best value so far of the complete and feasible trials, with a marker for each
    improvement. The first such trial counts as an improvement, unless its value is infinitely
    bad. Infinite values are counted but not drawn. Origins are those of `generations_dataframe`;
    later trials without recorded parents, drawn at random or of other origin, are shown where
    there are any.

    With several objectives, improvements are the trials that entered the front, and the line is
    the hypervolume so far, as in `plot_fitness`.

    Args:
        study: The study.
        population_size: Trials in a generation, 2 to 1,000,000. None takes it from the study's
            sampler if that is a `GASampler`, else from the study's attribute
            `ga_population_size`.
        target_name: Name of the objective, for the axis and hover texts.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `population_size` is out of range or unknown, or if the study has no
            finished trial.
    """
    history = read_nonempty_history(study, population_size, target_name)
    return improvements_figure(history, target_name)


def improvements_figure(history: History, target_name: str) -> go.Figure:
    """Return the figure of `plot_improvements`."""
    best = "Hypervolume So Far" if history.has_several else "Best So Far"
    titles = ["Shares of the Origins", best]
    figure = make_subplots(
        1, 2, column_widths=[0.4, 0.6], horizontal_spacing=0.15, subplot_titles=titles
    )
    improvements = [individual for individual in history.individuals if individual.improved]
    trials = Counter(individual.origin for individual in history.individuals)
    improved = Counter(individual.origin for individual in improvements)
    origins = [one for one in ORIGINS if trials[one] or one not in _RARE_ORIGINS]
    bars = [
        _shares(origins, trials, "Trials", "#c4c4c4"),
        _shares(origins, improved, "Improvements", HIGHLIGHT),
    ]
    figure.add_traces(bars, rows=1, cols=1)
    figure.add_trace(_best_so_far(history), row=1, col=2)
    points = origin_markers(
        [individual for individual in improvements if finite(individual.best_so_far) is not None],
        x=lambda individual: individual.trial.number,
        y=lambda individual: individual.best_so_far,
        text=partial(hover_text, target_name=target_name),
    )
    for trace in points:
        figure.add_trace(trace, row=1, col=2)
    most = max(share for bar in bars for share in bar.y)
    room = [0, _HEADROOM * most]
    figure.update_yaxes(title="Share", tickformat=".0%", range=room, row=1, col=1)
    figure.update_xaxes(title="Trial", row=1, col=2)
    title = AXIS_TITLE if history.has_several else as_html(target_name)
    figure.update_yaxes(title=title, row=1, col=2)
    words = good_infinity(history)
    figure.update_layout(
        title=f"Trials That Entered the Front{why_not_computed(history)}"
        if history.has_several
        else "Improvements of the Best" + (f"<br><sub>Not drawn: {words}</sub>" if words else ""),
        barmode="group",
        hovermode="closest",
        uniformtext={"minsize": 9, "mode": "show"},
    )
    return figure


def _shares(origins: Sequence[str], counts: Counter[str], name: str, color: str) -> go.Bar:
    total = counts.total()
    return go.Bar(
        x=[origin.capitalize() for origin in origins],
        y=[counts[origin] / max(total, 1) for origin in origins],
        name=f"{name} ({total} in all)",
        marker={"color": color},
        text=[str(counts[origin]) for origin in origins],
        textposition="outside",
        textangle=0,
        textfont={"size": 11},
        hovertemplate=f"{name}: %{{text}} of {total}, %{{y:.1%}}<extra></extra>",
    )


def _best_so_far(history: History) -> go.Scatter:
    return go.Scatter(
        x=[individual.trial.number for individual in history.individuals],
        y=[finite(individual.best_so_far) for individual in history.individuals],
        mode="lines",
        name="Hypervolume so far" if history.has_several else "Best so far",
        line={"color": GRAY, "shape": "hv", "width": 1.5},
        hovertemplate="So far: %{y:.6g}<extra></extra>",
    )

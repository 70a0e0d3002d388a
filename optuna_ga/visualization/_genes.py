"""`plot_genes`: the convergence of each gene over the generations."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from html import unescape
from typing import Any

from optuna.study import Study

from optuna_ga._checks import shown
from optuna_ga._population.fitness import fittest
from optuna_ga._results.history import (
    History,
    Individual,
    edges_of,
    geometric_median,
    median,
)
from optuna_ga.visualization._common import (
    CROSS,
    HIGHLIGHT,
    as_html,
    by_generation,
    generation_axis,
    generation_positions,
    markers,
    param_text,
    read_nonempty_history,
    value_text,
)
from optuna_ga.visualization._parameter import Parameter, short_titles
from optuna_ga.visualization._plotly import go, make_subplots

_MAX_COLUMNS, _MIN_COLUMNS = 3, 2
# Shares of the width of all plots, in a figure of 700 pixels. A narrower one may show less.
_MIN_WIDTH = 0.24
_CHARACTER, _GAP = 0.0145, 0.02
_SMALL = 0.85  # The width of a small character to that of another.
_NUMBER = "0.0001"  # As long as most labels that Plotly chooses itself.
_ROW_HEIGHT = 280  # Pixels.
_MAX_LABELS = 16  # Of choices; more do not fit into a row.
_TITLE_SIZE = 13
_HALF_BOX = 0.4  # Half the width of a box, of the distance between two generations.


def plot_genes(
    study: Study,
    params: Sequence[str] | None = None,
    *,
    population_size: int | None = None,
    target_name: str = "Objective Value",
) -> go.Figure:
    """Plot the convergence of each gene over the generations.

    Each parameter has a plot in its own scale, with a point for each finished trial that has the
    parameter; darker points are fitter. A numerical parameter also has the median of each
    generation, on a logarithmic scale the geometric median, and the range of the parents' genes if
    parents are recorded. A title says if the fittest trial lies at an end of the range, which may
    be too narrow then. Of many choices only some are named. If a parameter changed its
    kind or its choices during the study, its plot shows only the trials that agree with the last
    trial. Infinite values are counted in the title but not drawn.

    Args:
        study: The study.
        params: Names of the parameters to plot, in this order. None takes all, sorted by name.
        population_size: Trials in a generation, 2 to 1,000,000. None takes it from the study's
            sampler if that is a `GASampler`, else from the study's attribute
            `ga_population_size`.
        target_name: Name of the objective in hover texts.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `params` is empty or names a parameter that no finished trial has, if
            `population_size` is out of range or unknown, or if the study has no finished trial
            with a parameter.
    """
    history = read_nonempty_history(study, population_size, target_name)
    return genes_figure(history, _checked_names(params, history), target_name)


def genes_figure(history: History, names: Sequence[str], target_name: str) -> go.Figure:
    """Return the figure of `plot_genes`."""
    positions = generation_positions(history)
    titles = short_titles(names)
    plots = [_GenePlot(name, history, positions, titles[name]) for name in names]
    figure, rows, columns = _empty_plots(plots, _edges(history))
    fitness = _fitness(history)
    for index, plot in enumerate(plots):
        row, column = index // columns + 1, index % columns + 1
        figure.add_traces(plot.traces(fitness, target_name), rows=row, cols=column)
        axes = figure.get_subplot(row, column)  # `update_xaxes` would look at all axes.
        axes.xaxis.update(generation_axis(history))
        if index + columns < len(names):  # The plot below has the same axis title.
            axes.xaxis.title = None
        axes.yaxis.update(plot.parameter.axis)
    thin_out_labels(figure, _MAX_LABELS)
    _share_legend(figure)
    figure.update_layout(
        title="Genes over the Generations",
        height=max(450, 150 + _ROW_HEIGHT * rows),
        legend={"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
        coloraxis=_color_axis(fitness),
    )
    return figure


def thin_out_labels(figure: go.Figure, most: int) -> None:
    """Name at most so many choices on each axis; hover over a point to see any other."""
    for axis in figure.select_yaxes():
        step = math.ceil(len(axis.ticktext or ()) / most)
        if step > 1:
            axis.update(tickvals=axis.tickvals[::step], ticktext=axis.ticktext[::step])


def _edges(history: History) -> dict[str, str]:
    """Return the ends of ranges on which the fittest trial's genes lie, by parameter.

    With several objectives no trial is the fittest.
    """
    if history.has_several:
        return {}
    trials = (individual.trial for individual in history.individuals)
    best = fittest(trials, 1, history.directions)
    return edges_of(best[0]) if best else {}


def _empty_plots(
    plots: Sequence[_GenePlot], edges: Mapping[str, str]
) -> tuple[go.Figure, int, int]:
    """Return a figure with room for each plot under its title, its rows and its columns."""
    titles = [plot.title(edges) for plot in plots]
    labels = [label for plot in plots for label in plot.parameter.axis.get("ticktext", [_NUMBER])]
    spacing = _GAP + max(map(_width, labels))
    rows = math.ceil(len(plots) / _fitting_columns(spacing, max(map(_width, titles))))
    columns = math.ceil(len(plots) / rows)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=titles,
        horizontal_spacing=spacing,
        vertical_spacing=0.3 / rows,
    )
    figure.update_annotations(font_size=_TITLE_SIZE)
    return figure, rows, columns


def _fitting_columns(spacing: float, title: float) -> int:
    """Return in how many columns plots are wide enough, and no title reaches into the next."""
    for columns in range(_MAX_COLUMNS, _MIN_COLUMNS, -1):
        width = (1 + spacing) / columns - spacing
        if width >= max(_MIN_WIDTH, title - spacing + _GAP):
            return columns
    return _MIN_COLUMNS


def _width(text: str) -> float:
    """Return about the share of the plots' width that a label or a title takes."""
    normal, _, small = text.partition("<")
    small = re.sub("<.*?>", "", f"<{small}") if small else ""
    return _CHARACTER * (len(unescape(normal)) + _SMALL * len(unescape(small)))


def _checked_names(params: Sequence[str] | None, history: History) -> list[str]:
    """Return the names of the parameters to plot, without duplicates."""
    known = {name for individual in history.individuals for name in individual.trial.params}
    if not known:
        raise ValueError("No finished trial of the study has a parameter.")
    if params is None:
        return sorted(known)
    if isinstance(params, str) or not isinstance(params, Iterable):
        raise TypeError(f"`params` must be a sequence of names, but {shown(params)} was given.")
    names = list(params)
    if not names:
        raise ValueError(f"`params` must name at least one parameter, but {params!r} was given.")
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ValueError(
                "`params` must name parameters of finished trials, which are "
                f"{shown(sorted(known))}, but {shown(name)} was given."
            )
    return list(dict.fromkeys(names))


class _GenePlot:
    """The plot of one parameter, and the finished trials that it shows."""

    def __init__(
        self, name: str, history: History, positions: Mapping[int, float], title: str
    ) -> None:
        trials = (individual.trial for individual in history.individuals)
        self.parameter = Parameter(name, trials, title)
        self._name = name
        self._positions = positions
        self._owners = [
            individual
            for individual in history.individuals
            if individual.trial.number in self.parameter.numbers
        ]
        self._generations = by_generation(self._owners)

    def title(self, edges: Mapping[str, str]) -> str:
        """Return the title, which names the end of the range where the best gene lies."""
        end = [f"best at {edges[self._name]} end"] if self._name in edges else []
        return self.parameter.title(*end)

    def traces(self, fitness: dict[int, int], target_name: str) -> list[go.Scatter]:
        """Return the traces of the plot."""
        fit = [individual for individual in self._owners if individual.trial.number in fitness]
        colors = [fitness[individual.trial.number] for individual in fit]
        outline = {"color": "rgba(90, 90, 90, 0.6)", "width": 0.5}
        marker = {"color": colors, "coloraxis": "coloraxis", "size": 6, "line": outline}
        options: Any = {
            "x": lambda individual: self._positions[individual.trial.number],
            "y": self._number,
            "text": partial(self._hover_text, target_name=target_name),
        }
        points = [markers(fit, "Trials", marker, **options)]
        failed = [
            individual for individual in self._owners if individual.trial.number not in fitness
        ]
        if failed:
            points.append(markers(failed, "Failed", CROSS, **options))
        if self.parameter.choices is not None:
            return points
        return [self._parents_ranges(), *points, self._medians()]

    def _medians(self) -> go.Scatter:
        middle = geometric_median if self.parameter.is_log else median
        return go.Scatter(
            x=list(self._generations),
            y=[middle(map(self._number, owners)) for owners in self._generations.values()],
            mode="lines",
            name="Median",
            line={"color": HIGHLIGHT, "width": 2},
            hovertemplate="Median: %{y:.6g}<extra></extra>",
        )

    def _parents_ranges(self) -> go.Scatter:
        """Return a box for each generation, around the genes of its parents."""
        x: list[float | None] = []
        y: list[float | None] = []
        for generation, owners in self._generations.items():
            genes = self._parents_genes(owners)
            if genes:
                left, right = generation - _HALF_BOX, generation + _HALF_BOX
                x += [left, right, right, left, left, None]
                y += [min(genes), min(genes), max(genes), max(genes), min(genes), None]
        return go.Scatter(
            x=x,
            y=y,
            mode="lines",
            name="Parents' range",
            fill="toself",
            fillcolor="rgba(230, 159, 0, 0.25)",
            line={"color": "rgba(230, 159, 0, 0.6)", "width": 1},
            hoverinfo="skip",
        )

    def _parents_genes(self, children: Sequence[Individual]) -> list[float]:
        numbers = {number for child in children for number in child.parents}
        genes = self.parameter.numbers
        return [genes[number] for number in numbers & genes.keys()]

    def _number(self, individual: Individual) -> float:
        return self.parameter.numbers[individual.trial.number]

    def _hover_text(self, individual: Individual, target_name: str) -> str:
        trial = individual.trial
        mutated = " (mutated)" if self._name in individual.mutated else ""
        return (
            f"<b>Trial {trial.number}</b>, generation {individual.generation}<br>"
            f"{as_html(self._name)}: {param_text(trial.params[self._name])}{mutated}<br>"
            f"{as_html(target_name)}: {value_text(individual)}"
        )


def _fitness(history: History) -> dict[int, int]:
    """Return the number of less fit trials, by the number of each trial that has a fitness."""
    trials = [individual.trial for individual in history.individuals]
    ranked = fittest(trials, len(trials), history.directions)
    return {trial.number: n_worse for n_worse, trial in enumerate(reversed(ranked))}


def _color_axis(fitness: dict[int, int]) -> dict[str, Any]:
    fittest = max(len(fitness) - 1, 0)
    ticks = {0: "least", fittest: "fittest"}
    return {
        "colorscale": "Blues",
        "cmin": min(0, fittest - 1),  # A single trial is the fittest.
        "cmax": fittest,
        "colorbar": {
            "title": {"text": "Fitness", "side": "right"},
            "tickvals": list(ticks),
            "ticktext": list(ticks.values()),
        },
    }


def _share_legend(figure: go.Figure) -> None:
    """Show each kind of trace once in the legend, and toggle it in all plots together."""
    seen = set()
    for trace in figure.data:
        trace.legendgroup = trace.name
        trace.showlegend = trace.name not in seen
        seen.add(trace.name)

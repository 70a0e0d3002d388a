"""`plot_genes`: the convergence of each gene over the generations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.study import Study

from optuna_ga._checks import shown
from optuna_ga._population.fitness import fittest
from optuna_ga._population.genes import find_choice, is_inheritable
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
    by_generation,
    generation_axis,
    generation_position,
    markers,
    param_text,
    read_nonempty_history,
    shortened,
    value_text,
)
from optuna_ga.visualization._plotly import go, make_subplots

_MAX_COLUMNS = 3
_ROW_HEIGHT = 280  # Pixels.
_MAX_TICKS = 8  # Of a logarithmic axis; more do not fit into a row.
_MIN_TICKS = 3
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
    generation, on a logarithmic scale the geometric median, and the range of the parents' genes
    if parents are recorded. A title says if the fittest trial lies at an end of the range, which
    may be too narrow then. If a parameter changed its kind or its choices during the study, its
    plot shows only the trials that agree with the last trial.

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
    names = _checked_names(params, history)
    figure, rows, columns = _empty_plots(names, _edges(history))
    fitness = _fitness(history)
    for index, name in enumerate(names):
        row, column = index // columns + 1, index % columns + 1
        plot = _GenePlot(name, history)
        figure.add_traces(plot.traces(fitness, target_name), rows=row, cols=column)
        axes = figure.get_subplot(row, column)  # `update_xaxes` would look at all axes.
        axes.xaxis.update(generation_axis(history))
        if index + columns < len(names):  # The plot below has the same axis title.
            axes.xaxis.title = None
        axes.yaxis.update(plot.axis)
    _share_legend(figure)
    figure.update_layout(
        title="Genes over the Generations",
        height=max(450, 150 + _ROW_HEIGHT * rows),
        legend={"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
        coloraxis=_color_axis(fitness),
    )
    return figure


def _edges(history: History) -> dict[str, str]:
    """Return the ends of ranges on which the fittest trial's genes lie, by parameter.

    With several objectives no trial is the fittest.
    """
    if history.has_several:
        return {}
    trials = (individual.trial for individual in history.individuals)
    best = fittest(trials, 1, history.directions)
    return edges_of(best[0]) if best else {}


def _empty_plots(names: Sequence[str], edges: Mapping[str, str]) -> tuple[go.Figure, int, int]:
    """Return a figure with an empty plot for each name, its rows and its columns."""
    rows = math.ceil(len(names) / _MAX_COLUMNS)
    columns = math.ceil(len(names) / rows)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=[
            escape(name) + (f" <sub>best at {edges[name]} end</sub>" if name in edges else "")
            for name in names
        ],
        horizontal_spacing=0.2 / columns,  # Of the figure's width: room for the axis labels.
        vertical_spacing=0.3 / rows,
    )
    return figure, rows, columns


def _checked_names(params: Sequence[str] | None, history: History) -> list[str]:
    """Return the names of the parameters to plot, without duplicates."""
    known = {name for individual in history.individuals for name in individual.trial.params}
    if not known:
        raise ValueError("No finished trial of the study has a parameter.")
    if params is None:
        return sorted(known)
    if isinstance(params, str) or not isinstance(params, Iterable):
        raise TypeError(f"`params` must be a sequence of names, but {shown(params)} was given.")
    names = list(dict.fromkeys(params))
    if not names:
        raise ValueError(f"`params` must name at least one parameter, but {params!r} was given.")
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ValueError(
                "`params` must name parameters of finished trials, which are "
                f"{shown(sorted(known))}, but {shown(name)} was given."
            )
    return names


class _GenePlot:
    """The plot of one parameter, and the finished trials that have it."""

    def __init__(self, name: str, history: History) -> None:
        self._name = name
        self._size = history.population_size
        self._individuals = {
            individual.trial.number: individual for individual in history.individuals
        }
        owners = [
            individual for individual in history.individuals if name in individual.trial.params
        ]
        latest = owners[-1].trial.distributions[name]
        self._owners = [
            individual
            for individual in owners
            if is_inheritable(
                individual.trial.params[name], individual.trial.distributions[name], latest
            )
        ]
        self._owned = {owner.trial.number for owner in self._owners}
        self._latest = latest
        self._generations = by_generation(self._owners)
        self._choices = _labels(latest)
        self._is_log = all(
            getattr(owner.trial.distributions[name], "log", False) for owner in self._owners
        )

    @property
    def axis(self) -> dict[str, Any]:
        """The y-axis: categories, logarithmic or linear."""
        if self._choices is not None:
            n_choices = len(self._choices)
            return {
                "tickvals": list(range(n_choices)),
                "ticktext": self._choices,
                "range": [-0.5, n_choices - 0.5],
            }
        if self._is_log:
            genes = [self._number(owner) for owner in self._owners]
            ticks = log_ticks(min(genes), max(genes))
            return {"type": "log", "tickvals": ticks, "ticktext": [f"{one:.3g}" for one in ticks]}
        return {"type": "linear"}

    def traces(self, fitness: dict[int, int], target_name: str) -> list[go.Scatter]:
        """Return the traces of the plot."""
        fit = [individual for individual in self._owners if individual.trial.number in fitness]
        colors = [fitness[individual.trial.number] for individual in fit]
        outline = {"color": "rgba(90, 90, 90, 0.6)", "width": 0.5}
        marker = {"color": colors, "coloraxis": "coloraxis", "size": 6, "line": outline}
        options: Any = {
            "x": partial(generation_position, population_size=self._size),
            "y": self._number,
            "text": partial(self._hover_text, target_name=target_name),
        }
        points = [markers(fit, "Trials", marker, **options)]
        failed = [
            individual for individual in self._owners if individual.trial.number not in fitness
        ]
        if failed:
            points.append(markers(failed, "Failed", CROSS, **options))
        if self._choices is not None:
            return points
        return [self._parents_ranges(), *points, self._medians()]

    def _medians(self) -> go.Scatter:
        middle = geometric_median if self._is_log else median
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
        return [self._number(self._individuals[number]) for number in numbers & self._owned]

    def _number(self, individual: Individual) -> float:
        """Return the gene as a number; a choice is its index among the choices."""
        value = individual.trial.params[self._name]
        if isinstance(self._latest, CategoricalDistribution):
            return find_choice(self._latest, value)
        number: float = value
        return number

    def _hover_text(self, individual: Individual, target_name: str) -> str:
        trial = individual.trial
        mutated = " (mutated)" if self._name in individual.mutated else ""
        return (
            f"<b>Trial {trial.number}</b>, generation {individual.generation}<br>"
            f"{escape(self._name)}: {param_text(trial.params[self._name])}{mutated}<br>"
            f"{escape(target_name)}: {value_text(individual)}"
        )


def log_ticks(low: float, high: float) -> list[float]:
    """Return the ticks of a logarithmic axis: some decades, parts of decades, or the two ends.

    Plotly's own labels between decades are digits alone, such as 3 for 30.

    >>> log_ticks(1e-5, 1e-1), log_ticks(20, 90), log_ticks(30, 31)
    ([1e-05, 0.0001, 0.001, 0.01, 0.1], [20.0, 30.0, 50.0, 70.0], [30, 31])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = math.ceil((last - first) / _MAX_TICKS) or 1
    for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7)):
        ticks = [
            float(f"{mantissa}e{decade}")
            for decade in range(first, last + 1, step)
            for mantissa in mantissas
        ]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= _MIN_TICKS:
            return inside
    return [low, high] if high > low else [low]


def _labels(distribution: object) -> list[str] | None:
    """Return distinct labels of the choices; None if the parameter is numerical."""
    if not isinstance(distribution, CategoricalDistribution):
        return None
    for text in (str, repr):
        labels = [shortened(text(choice)) for choice in distribution.choices]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{position}: {label}" for position, label in enumerate(labels)]


def _fitness(history: History) -> dict[int, int]:
    """Return the number of less fit trials, by the number of each trial that has a fitness."""
    trials = [individual.trial for individual in history.individuals]
    ranked = fittest(trials, len(trials), history.directions)
    return {trial.number: n_worse for n_worse, trial in enumerate(reversed(ranked))}


def _color_axis(fitness: dict[int, int]) -> dict[str, Any]:
    last = max(len(fitness) - 1, 1)
    return {
        "colorscale": "Blues",
        "cmin": 0,
        "cmax": last,
        "colorbar": {
            "title": {"text": "Fitness", "side": "right"},
            "tickvals": [0, last],
            "ticktext": ["least", "fittest"],
        },
    }


def _share_legend(figure: go.Figure) -> None:
    """Show each kind of trace once in the legend, and toggle it in all plots together."""
    seen = set()
    for trace in figure.data:
        trace.legendgroup = trace.name
        trace.showlegend = trace.name not in seen
        seen.add(trace.name)

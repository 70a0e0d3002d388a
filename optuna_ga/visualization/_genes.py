"""How each gene converges."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import partial
from html import escape
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.study import Study

from optuna_ga._breeding.trial_matrix import same_kind
from optuna_ga._population.fitness import fittest
from optuna_ga._results.history import History, Individual
from optuna_ga.visualization._common import (
    CROSS,
    HIGHLIGHT,
    by_generation,
    described_value,
    generation_axis,
    markers,
    place,
    read_finished,
    shown,
)
from optuna_ga.visualization._plotly import go, make_subplots

_MOST_COLUMNS = 3
_ROW_HEIGHT = 280
_MOST_DECADES = 8


def plot_genes(
    study: Study,
    params: Sequence[str] | None = None,
    *,
    population_size: int | None = None,
    target_name: str = "Objective Value",
) -> go.Figure:
    """Plot how each gene converges over the generations.

    Every parameter has a plot in its own scale, with a point for each finished trial that has it,
    the darker the fitter. For numerical ones there is the median of each generation, on a
    logarithmic scale the geometric one, and the range of its parents' genes; where no parents are
    recorded there is no range. Trials in which a parameter was of another kind than in the last
    one, or had other choices, are left out of its plot.

    Args:
        study: A study with one objective.
        params: The names of the parameters to plot, in this order. None takes all, by name.
        population_size: Trials in a generation, at least 2. None takes it from the study's
            sampler if that is a `GASampler`, else from what one has recorded on the study.
        target_name: The objective's name in what is shown of a trial.

    Raises:
        TypeError: If `params` is a single string, or if `population_size` is no integer.
        ValueError: If `params` is empty or names a parameter that no finished trial has, if
            `population_size` is too small or unknown, if the study has several objectives, or if
            it has no finished trial or none with a parameter.
    """
    history = read_finished(study, population_size)
    names = _checked(params, history)
    rows = math.ceil(len(names) / _MOST_COLUMNS)
    columns = math.ceil(len(names) / rows)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=[escape(name) for name in names],
        horizontal_spacing=0.2 / columns,
        vertical_spacing=0.3 / rows,
    )
    fitness = _fitness(history)
    for index, name in enumerate(names):
        cell = {"row": index // columns + 1, "col": index % columns + 1}
        gene = _Gene(name, history)
        for trace in gene.traces(fitness, target_name):
            figure.add_trace(trace, **cell)
        figure.update_xaxes(generation_axis(history), **cell)
        if index + columns < len(names):  # The plot below has the same.
            figure.update_xaxes(title=None, **cell)
        figure.update_yaxes(gene.axis, **cell)
    _name_once(figure)
    figure.update_layout(
        title="Genes over the Generations",
        height=max(450, 150 + _ROW_HEIGHT * rows),
        legend={"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
        coloraxis=_color_axis(fitness),
    )
    return figure


def _checked(params: Sequence[str] | None, history: History) -> list[str]:
    """Return the names of the parameters to plot, each once."""
    known = {name for one in history.individuals for name in one.trial.params}
    if not known:
        raise ValueError("No finished trial of the study has a parameter.")
    if params is None:
        return sorted(known)
    if isinstance(params, str):
        raise TypeError(f"`params` must be a sequence of names, but {params!r} was given.")
    if not params:
        raise ValueError(f"`params` must name at least one parameter, but {params!r} was given.")
    for name in params:
        if name not in known:
            raise ValueError(
                "`params` must name parameters that finished trials have, "
                f"which are {sorted(known)}, but {name!r} was given."
            )
    return list(dict.fromkeys(params))


class _Gene:
    """One parameter, and the finished trials that have it."""

    def __init__(self, name: str, history: History) -> None:
        self._name = name
        self._size = history.population_size
        self._all = {one.trial.number: one for one in history.individuals}
        generations = {
            generation: [one for one in individuals if name in one.trial.params]
            for generation, individuals in by_generation(history).items()
        }
        *_, last = [one for having in generations.values() for one in having]
        kind = last.trial.distributions[name]
        self._generations = {
            generation: alike
            for generation, having in generations.items()
            if (alike := [one for one in having if same_kind(one.trial.distributions[name], kind)])
        }
        self._owners = [one for having in self._generations.values() for one in having]
        self._distributions = [one.trial.distributions[name] for one in self._owners]
        self._choices = _labels(self._distributions[-1])
        self._is_log = all(getattr(it, "log", False) for it in self._distributions)

    @property
    def axis(self) -> dict[str, Any]:
        """The parameter's axis: categories, logarithmic or linear."""
        if self._choices is not None:
            ticks = list(range(len(self._choices)))
            return {
                "tickvals": ticks,
                "ticktext": self._choices,
                "range": [-0.5, len(ticks) - 0.5],
            }
        if self._is_log:
            return {"type": "log", "exponentformat": "power", "dtick": self._decades_per_tick()}
        return {"type": "linear"}

    def traces(self, fitness: dict[int, int], target_name: str) -> list[go.Scatter]:
        """Return what is drawn of the parameter."""
        fit = [one for one in self._owners if one.trial.number in fitness]
        colors = [fitness[one.trial.number] for one in fit]
        outline = {"color": "rgba(90, 90, 90, 0.6)", "width": 0.5}
        marker = {"color": colors, "coloraxis": "coloraxis", "size": 6, "line": outline}
        how: Any = {
            "x": partial(place, population_size=self._size),
            "y": self._number,
            "text": partial(self._hover, target_name=target_name),
        }
        points = [markers(fit, "Trials", marker, **how)]
        failed = [one for one in self._owners if one.trial.number not in fitness]
        if failed:
            points.append(markers(failed, "Failed", CROSS, **how))
        if self._choices is not None:
            return points
        return [self._parents_ranges(), *points, self._medians()]

    def _decades_per_tick(self) -> int | None:
        """Return a distance of ticks that leaves room for them; None lets Plotly choose it."""
        genes = [self._number(one) for one in self._owners]
        decades = math.log10(max(genes) / min(genes))
        return math.ceil(decades / _MOST_DECADES) if decades >= 2 else None

    def _medians(self) -> go.Scatter:
        median = _geometric_median if self._is_log else statistics.median
        return go.Scatter(
            x=list(self._generations),
            y=[median([self._number(o) for o in having]) for having in self._generations.values()],
            mode="lines",
            name="Median",
            line={"color": HIGHLIGHT, "width": 2},
            hovertemplate="Median: %{y:.6g}<extra></extra>",
        )

    def _parents_ranges(self) -> go.Scatter:
        """Return a box around the parents' genes of each generation."""
        x: list[float | None] = []
        y: list[float | None] = []
        for generation, having in self._generations.items():
            genes = self._parents_genes(having)
            if genes:
                left, right = generation - 0.4, generation + 0.4
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
        parents = [self._all[number] for number in numbers if number in self._all]
        return [self._number(one) for one in parents if self._name in one.trial.params]

    def _number(self, individual: Individual) -> float:
        """Return the gene, a choice as its position among the choices."""
        value = individual.trial.params[self._name]
        if self._choices is not None:
            return int(individual.trial.distributions[self._name].to_internal_repr(value))
        number: float = value
        return number

    def _hover(self, individual: Individual, target_name: str) -> str:
        trial = individual.trial
        mutated = " (mutated)" if self._name in individual.mutated else ""
        return (
            f"<b>Trial {trial.number}</b>, generation {individual.generation}<br>"
            f"{escape(self._name)}: {shown(trial.params[self._name])}{mutated}<br>"
            f"{escape(target_name)}: {described_value(individual)}"
        )


def _labels(distribution: object) -> list[str] | None:
    """Return the choices as different texts, None if the parameter is numerical."""
    if not isinstance(distribution, CategoricalDistribution):
        return None
    labels = [str(choice) for choice in distribution.choices]
    return labels if len(set(labels)) == len(labels) else list(map(repr, distribution.choices))


def _geometric_median(values: Sequence[float]) -> float:
    return math.exp(statistics.median(map(math.log, values)))


def _fitness(history: History) -> dict[int, int]:
    """Return how many of all trials that have a fitness each of them is fitter than."""
    trials = [individual.trial for individual in history.individuals]
    ranked = fittest(trials, len(trials), history.direction)
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


def _name_once(figure: go.Figure) -> None:
    """Let the legend show each kind of trace once, and switch it in all plots together."""
    seen = set()
    for trace in figure.data:
        trace.legendgroup = trace.name
        trace.showlegend = trace.name not in seen
        seen.add(trace.name)

"""Who descends from whom."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import Any

from optuna.study import Study
from optuna.trial import TrialState

from optuna_ga._population.fitness import Rank, fittest, rank
from optuna_ga._results.history import History, Individual
from optuna_ga.visualization._common import (
    CROSS,
    HIGHLIGHT,
    by_generation,
    generation_axis,
    hover_text,
    markers,
    origin_markers,
    place,
    read_finished,
)
from optuna_ga.visualization._plotly import go

Edge = tuple[int, int]  # The numbers of parent and child.

_STAR = {
    "color": HIGHLIGHT,
    "symbol": "star",
    "size": 17,
    "line": {"color": "white", "width": 1},
}


def plot_genealogy(
    study: Study, *, population_size: int | None = None, target_name: str = "Objective Value"
) -> go.Figure:
    """Plot who descends from whom, and the fittest trial's ancestors.

    Each trial stands in its generation, the fitter the higher, and failed ones lowest. Lines lead
    from parents to children. Highlighted are all ancestors of the fittest trial of the study, and
    strongest the line that goes from it to the fitter parent each time. Without records, as with
    `record=False`, no parents are known.

    Args:
        study: A study with one objective.
        population_size: Trials in a generation, at least 2. None takes it from the study's
            sampler if that is a `GASampler`, else from what one has recorded on the study.
        target_name: The objective's name in what is shown of a trial.

    Raises:
        TypeError: If `population_size` is no integer.
        ValueError: If it is too small or unknown, if the study has several objectives, or if it
            has no finished trial.
    """
    family = _Family(read_finished(study, population_size))
    how: Any = {
        "x": family.x,
        "y": family.y,
        "text": partial(hover_text, target_name=target_name),
    }
    individuals = family.history.individuals
    alive = [one for one in individuals if one.trial.state != TrialState.FAIL]
    failed = [one for one in individuals if one.trial.state == TrialState.FAIL]
    figure = go.Figure([*_lines(family), *origin_markers(alive, **how)])
    if failed:
        figure.add_trace(markers(failed, "Failed", CROSS, **how))
    if family.best is not None:
        name = f"Fittest: trial {family.best.trial.number}"
        figure.add_trace(markers([family.best], name, _STAR, **how))
    figure.update_layout(
        title="Genealogy",
        xaxis=generation_axis(family.history),
        yaxis={
            "title": "Rank in the generation (1 = fittest)",
            "range": [family.depth + 0.7, 0.3],
        },
        hovermode="closest",
    )
    return figure


class _Family:
    """The finished trials as a graph, and where each of them stands."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.members = {one.trial.number: one for one in history.individuals}
        best = fittest((one.trial for one in history.individuals), 1, history.direction)
        self.best = self.members[best[0].number] if best else None
        generations = by_generation(history).values()
        self.depth = max(map(len, generations))
        self._ranks = {
            one.trial.number: position
            for generation in generations
            for position, one in enumerate(sorted(generation, key=self._order), start=1)
        }

    def x(self, individual: Individual) -> float:
        """Return where an individual stands on the axis of generations."""
        return place(individual, self.history.population_size)

    def y(self, individual: Individual) -> int:
        """Return the rank of an individual in its generation."""
        return self._ranks[individual.trial.number]

    def edges(self, children: Iterable[Individual]) -> list[Edge]:
        """Return the edges that lead to these children."""
        return [
            (parent, child.trial.number)
            for child in children
            for parent in child.parents
            if parent in self.members
        ]

    def ancestors(self, individual: Individual) -> list[Individual]:
        """Return an individual and all that it descends from, by number."""
        found: set[int] = set()
        new = {individual.trial.number}
        while new:
            found |= new
            new = {parent for parent, _ in self.edges(self.members[n] for n in new)} - found
        return [self.members[number] for number in sorted(found)]

    def line(self, individual: Individual) -> list[Edge]:
        """Return the edges from the fitter parent each time down to the individual."""
        edges: list[Edge] = []
        while known := [self.members[n] for n in individual.parents if n in self.members]:
            parent = min(known, key=self._order)
            edges.append((parent.trial.number, individual.trial.number))
            individual = parent
        return edges[::-1]

    def _order(self, individual: Individual) -> tuple[bool, Rank | int]:
        key = rank(individual.trial, self.history.direction)
        return (True, individual.trial.number) if key is None else (False, key)


def _lines(family: _Family) -> list[go.Scatter]:
    edges = family.edges(family.history.individuals)
    lines = [_segments(family, edges, "Parent to child", "rgba(140, 140, 140, 0.35)", 0.7)]
    if family.best is not None:
        name = f"Ancestors of trial {family.best.trial.number}"
        ancestry = family.edges(family.ancestors(family.best))
        line = family.line(family.best)
        lines += [
            _segments(family, ancestry, name, "#e38aa5", 1.3),
            _segments(family, line, "Line of the fitter parents", HIGHLIGHT, 3),
        ]
    return lines


def _segments(
    family: _Family, edges: Collection[Edge], name: str, color: str, width: float
) -> go.Scatter:
    """Return lines between parents and children, as one trace."""
    x: list[float | None] = []
    y: list[int | None] = []
    for parent, child in edges:
        ends = family.members[parent], family.members[child]
        x += [*map(family.x, ends), None]
        y += [*map(family.y, ends), None]
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        name=name,
        line={"color": color, "width": width},
        hoverinfo="skip",
    )

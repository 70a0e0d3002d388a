"""`plot_genealogy`: parents, children, and the ancestors of the fittest trial."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cached_property, partial
from typing import Any

from optuna.study import Study
from optuna.trial import TrialState

from optuna_ga._population.fitness import first_front, fittest
from optuna_ga._results.history import History, Individual
from optuna_ga.visualization._common import (
    CROSS,
    HIGHLIGHT,
    by_generation,
    generation_axis,
    generation_positions,
    hover_text,
    markers,
    origin_markers,
    read_nonempty_history,
)
from optuna_ga.visualization._plotly import go

Edge = tuple[int, int]  # Trial numbers of a parent and its child.

_MAX_LINES = 400

_ANCESTOR = "#e38aa5"

_RING = {"color": _ANCESTOR, "symbol": "circle-open", "size": 12, "line": {"width": 1.5}}

_STAR = {
    "color": HIGHLIGHT,
    "symbol": "star",
    "size": 17,
    "line": {"color": "white", "width": 1},
}


def plot_genealogy(
    study: Study, *, population_size: int | None = None, target_name: str = "Objective Value"
) -> go.Figure:
    """Plot the family tree of all finished trials, and the ancestors of the fittest trial.

    Trials are arranged by generation, and within a generation from the fittest at the top to
    failed trials at the bottom. Lines lead from parents to children. The study's fittest trial
    has a star, and all its ancestors have rings; its lineage of fitter parents is drawn boldest.
    It begins with a trial that started afresh, since its parents' states were lost, if there is
    one. Where lines would be too many, only those to the fittest parents of each child are drawn,
    and the title says to how many. The sampler records parents unless it has `record=False`.

    With several objectives, the trials of the front and all their ancestors are highlighted, and
    no lineage is drawn.

    Args:
        study: The study.
        population_size: Trials in a generation, 2 to 1,000,000. None takes it from the study's
            sampler if that is a `GASampler`, else from the study's attribute
            `ga_population_size`.
        target_name: Name of the objective in hover texts.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `population_size` is out of range or unknown, or if the study has no
            finished trial.
    """
    history = read_nonempty_history(study, population_size, target_name)
    return genealogy_figure(history, target_name)


def genealogy_figure(history: History, target_name: str) -> go.Figure:
    """Return the figure of `plot_genealogy`."""
    genealogy = _Genealogy(history)
    options: Any = {
        "x": genealogy.x,
        "y": genealogy.y,
        "text": partial(hover_text, target_name=target_name),
    }
    individuals = history.individuals
    alive = [individual for individual in individuals if individual.trial.state != TrialState.FAIL]
    failed = [
        individual for individual in individuals if individual.trial.state == TrialState.FAIL
    ]
    figure = go.Figure([*_lines(genealogy), *origin_markers(alive, **options)])
    figure.add_trace(_rings(genealogy))
    if failed:
        figure.add_trace(markers(failed, "Failed", CROSS, **options))
    if genealogy.best:
        figure.add_trace(markers(genealogy.best, genealogy.title, _STAR, **options))
    figure.update_layout(
        title="Genealogy" + genealogy.left_out,
        xaxis=generation_axis(history),
        yaxis={
            "title": "Rank in the generation (1 = fittest)",
            "range": [genealogy.max_rank + 0.7, 0.3],  # Reversed: the fittest at the top.
        },
        hovermode="closest",
    )
    return figure


class _Genealogy:
    """The finished trials as a graph from parents to children, and their positions."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.members = {individual.trial.number: individual for individual in history.individuals}
        trials = [individual.trial for individual in history.individuals]
        choose = first_front if history.has_several else partial(fittest, n=1)
        best = choose(trials, directions=history.directions)
        self.best = [self.members[trial.number] for trial in best]
        self._positions = generation_positions(history)
        generations = by_generation(history.individuals).values()
        self.max_rank = max(map(len, generations))
        self._n_parents = self._fitting_parents()
        self._ranks = {
            individual.trial.number: position
            for generation in generations
            for position, individual in enumerate(self._ordered(generation), start=1)
        }

    @property
    def title(self) -> str:
        """The name of the best."""
        if self.history.has_several:
            return f"Front: {len(self.best)} trials"
        return f"Fittest: trial {self.best[0].trial.number}"

    def x(self, individual: Individual) -> float:
        """Return the position of an individual on the axis of generations."""
        return self._positions[individual.trial.number]

    def y(self, individual: Individual) -> int:
        """Return the rank of an individual in its generation, 1 for the fittest."""
        return self._ranks[individual.trial.number]

    def edges(self, children: Iterable[Individual]) -> list[Edge]:
        """Return the edges from the fittest of the known parents to the children."""
        return [
            (parent.trial.number, child.trial.number)
            for child in children
            for parent in self._known_parents(child)[: self._n_parents]
        ]

    @property
    def left_out(self) -> str:
        """A second line of the title where a child has more parents than lines."""
        most = max(len(self._known_parents(child)) for child in self.members.values())
        if most <= self._n_parents:
            return ""
        parents = f"{self._n_parents} fittest parents" if self._n_parents > 1 else "fittest parent"
        return f"<br><sub>Shown: lines to the {parents} of each child</sub>"

    def _known_parents(self, child: Individual) -> list[Individual]:
        """Return the parents that are members, the fittest first."""
        known = (self.members[number] for number in child.parents if number in self.members)
        return self._ordered(list(known))

    def _fitting_parents(self) -> int:
        """Return how many parents of each child may have a line."""
        counts = [len(self._known_parents(child)) for child in self.members.values()]
        n_parents = max(counts)
        while n_parents > 1 and sum(min(n, n_parents) for n in counts) > _MAX_LINES:
            n_parents -= 1
        return n_parents

    @cached_property
    def family(self) -> list[Individual]:
        """The best and all their ancestors, in the order of their numbers."""
        found: set[int] = set()
        new = {individual.trial.number for individual in self.best}
        while new:
            found |= new
            parents = {parent for n in new for parent in self.members[n].parents}
            new = (parents & self.members.keys()) - found
        return [self.members[number] for number in sorted(found)]

    def lineage(self, individual: Individual) -> list[Edge]:
        """Return the edges of the lineage that follows the fitter parent of each individual."""
        edges: list[Edge] = []
        while known := [
            parent
            for parent in self._known_parents(individual)
            if parent.trial.number not in individual.lost
        ]:
            parent = known[0]
            edges.append((parent.trial.number, individual.trial.number))
            individual = parent
        return edges[::-1]

    def _ordered(self, individuals: Collection[Individual]) -> list[Individual]:
        """Return individuals from the fittest to the least fit, those without a fitness last."""
        trials = [individual.trial for individual in individuals]
        best = fittest(trials, len(trials), self.history.directions)
        numbers = {trial.number: position for position, trial in enumerate(best)}
        return sorted(
            individuals,
            key=lambda i: (numbers.get(i.trial.number, len(numbers)), i.trial.number),
        )


def _lines(genealogy: _Genealogy) -> list[go.Scatter]:
    edges = genealogy.edges(genealogy.history.individuals)
    lines = [_segments(genealogy, edges, "Parent to child", "rgba(140, 140, 140, 0.3)", 0.7)]
    if genealogy.best:
        several = genealogy.history.has_several
        descendants = "the front" if several else f"trial {genealogy.best[0].trial.number}"
        ancestry = genealogy.edges(genealogy.family)
        name = f"Ancestors of {descendants}"
        lines.append(_segments(genealogy, ancestry, name, _ANCESTOR, 1.3))
        if not several:
            lineage = genealogy.lineage(genealogy.best[0])
            name = "Lineage of fitter parents"
            lines.append(_segments(genealogy, lineage, name, HIGHLIGHT, 3))
    return lines


def _rings(genealogy: _Genealogy) -> go.Scatter:
    """Return one trace with a ring around each ancestor, also where lines are left out."""
    best = {individual.trial.number for individual in genealogy.best}
    ancestors = [each for each in genealogy.family if each.trial.number not in best]
    return go.Scatter(
        x=[genealogy.x(individual) for individual in ancestors],
        y=[genealogy.y(individual) for individual in ancestors],
        mode="markers",
        name=f"{len(ancestors)} ancestors",
        marker=_RING,
        hoverinfo="skip",
    )


def _segments(
    genealogy: _Genealogy, edges: Collection[Edge], name: str, color: str, width: float
) -> go.Scatter:
    """Return one trace with a line for each edge."""
    x: list[float | None] = []
    y: list[int | None] = []
    for parent, child in edges:
        ends = genealogy.members[parent], genealogy.members[child]
        x += [*map(genealogy.x, ends), None]
        y += [*map(genealogy.y, ends), None]
    return go.Scatter(
        x=x,
        y=y,
        mode="lines",
        name=name,
        line={"color": color, "width": width},
        hoverinfo="skip",
    )

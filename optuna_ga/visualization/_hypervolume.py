"""The figure of `plot_fitness` for several objectives: hypervolume per generation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from optuna_ga._population.hypervolume import MAX_OBJECTIVES, Hypervolume
from optuna_ga._results.history import History
from optuna_ga.visualization._common import (
    HIGHLIGHT,
    by_generation,
    finite,
    generation_axis,
    small,
)
from optuna_ga.visualization._plotly import go

AXIS_TITLE = f"Hypervolume<br>{small('Share of the box from the best to the worst values')}"


def hypervolume_figure(history: History) -> go.Figure:
    """Return the hypervolume of each generation, and of all up to it on the axis."""
    generations = list(by_generation(history.individuals))
    own, so_far = _shares(history, generations)
    entered = Counter(i.generation for i in history.individuals if i.improved)
    text = [f"{entered[generation]} entered the front" for generation in generations]
    figure = go.Figure(
        [
            go.Scatter(
                x=generations,
                y=own,
                mode="lines+markers",
                name="Hypervolume of the generation",
                line={"color": "#0072b2"},
                marker={"size": 5},
                text=text,
                hovertemplate="generation %{x}: %{y:.6g}, %{text}<extra></extra>",
            ),
            go.Scatter(
                x=generations,
                y=so_far,
                mode="lines",
                name="Hypervolume so far",
                line={"color": HIGHLIGHT, "shape": "hv", "width": 2.5},
                hovertemplate="Hypervolume so far: %{y:.6g}<extra></extra>",
            ),
        ]
    )
    return figure.update_layout(
        title={"text": f"Hypervolume per Generation{why_not_computed(history)}"},
        xaxis=generation_axis(history),
        yaxis={"title": AXIS_TITLE, "range": [0, 1.02]},
    )


def why_not_computed(history: History) -> str:
    """Return a second line of the title if the hypervolume is not computed."""
    if len(history.directions) <= MAX_OBJECTIVES:
        return ""
    return "<br><sub>The hypervolume of more than six objectives is not computed</sub>"


def _shares(
    history: History, generations: Iterable[int]
) -> tuple[list[float | None], list[float | None]]:
    """Return the hypervolumes of each generation's trials, and of these and all before them."""
    candidates = [individual for individual in history.individuals if individual.is_candidate]
    volume = Hypervolume(history.losses(candidates)) if candidates else None

    def share(positions: Sequence[int]) -> float | None:
        return finite(volume.of(positions)) if volume and positions else None

    members = defaultdict(list)
    for position, individual in enumerate(candidates):
        members[individual.generation].append(position)
    own, so_far = [], []
    front: list[int] = []
    for generation in generations:
        if volume and members[generation]:
            front = volume.front([*front, *members[generation]])
        own.append(share(members[generation]))
        so_far.append(share(front))
    return own, so_far

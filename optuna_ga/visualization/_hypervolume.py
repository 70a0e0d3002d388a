"""The figure of `plot_fitness` for several objectives: hypervolume per generation."""

from __future__ import annotations

from collections import Counter

from optuna_ga._population.hypervolume import Hypervolume
from optuna_ga._results.history import History
from optuna_ga.visualization._common import HIGHLIGHT, by_generation, finite, generation_axis
from optuna_ga.visualization._plotly import go

_TITLE = "Hypervolume, as a share of the box from the best to the worst values"


def hypervolume_figure(history: History) -> go.Figure:
    """Return the hypervolume of each generation, and of all trials up to its end."""
    generations = by_generation(history.individuals)
    candidates = [individual for individual in history.individuals if individual.is_candidate]
    volume = Hypervolume(history.losses(candidates)) if candidates else None
    members: dict[int, list[int]] = {generation: [] for generation in generations}
    for position, individual in enumerate(candidates):
        members[individual.generation].append(position)
    entered = Counter(i.generation for i in history.individuals if i.improved)
    own = [finite(volume.of(members[g])) if volume and members[g] else None for g in generations]
    so_far = [finite(individuals[-1].best_so_far) for individuals in generations.values()]
    text = [f"{entered[generation]} entered the front" for generation in generations]
    figure = go.Figure(
        [
            go.Scatter(
                x=list(generations),
                y=own,
                mode="lines+markers",
                name="Hypervolume of the generation",
                line={"color": "#0072b2"},
                marker={"size": 5},
                text=text,
                hovertemplate="generation %{x}: %{y:.6g}, %{text}<extra></extra>",
            ),
            go.Scatter(
                x=list(generations),
                y=so_far,
                mode="lines",
                name="Hypervolume so far",
                line={"color": HIGHLIGHT, "shape": "hv", "width": 2.5},
                hovertemplate="Hypervolume so far: %{y:.6g}<extra></extra>",
            ),
        ]
    )
    return figure.update_layout(
        title={"text": "Hypervolume per Generation"},
        xaxis=generation_axis(history),
        yaxis={"title": _TITLE, "range": [0, 1.02]},
    )

"""What the figures share: what they read of a study, where trials stand, colours and hover texts.

All data of figures are plain lists without NaN and infinity, which other readers of their JSON,
such as optuna-dashboard, may not know.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from html import escape
from typing import Any

from optuna.study import Study

from optuna_ga._results.history import ORIGINS, History, Individual, read_history
from optuna_ga.visualization._plotly import go

HIGHLIGHT = "#d1295a"
GRAY = "#8c8c8c"
CROSS = {"color": GRAY, "symbol": "x-thin-open", "size": 7, "line": {"width": 1.5}}
ORIGIN_NAMES = {"start": "Start", "crossover": "Crossover", "mutation": "Mutation"}

_OUTLINE = {"color": "white", "width": 1}
_ORIGIN_MARKERS = {
    "start": {"color": GRAY, "symbol": "circle", "size": 8, "line": _OUTLINE},
    "crossover": {"color": "#0072b2", "symbol": "circle", "size": 8, "line": _OUTLINE},
    "mutation": {"color": "#e69f00", "symbol": "diamond", "size": 9, "line": _OUTLINE},
}
_MOST_TICKS = 10
_BREADTH = 0.6  # What a generation takes of the space up to the next one.


def read_finished(study: Study, population_size: int | None) -> History:
    """Return the finished trials, of which there is at least one.

    Raises:
        TypeError: If `population_size` is no integer.
        ValueError: If it is too small or unknown, if the study has several objectives, or if it
            has no finished trial.
    """
    history = read_history(study, population_size)
    if not history.individuals:
        raise ValueError("The study has no finished trial yet.")
    return history


def by_generation(history: History) -> Mapping[int, list[Individual]]:
    """Return the individuals of each generation that has some, from first to last."""
    generations: defaultdict[int, list[Individual]] = defaultdict(list)
    for individual in history.individuals:
        generations[individual.generation].append(individual)
    return generations


def finite(value: float | None) -> float | None:
    """Return the value, or None if it cannot be drawn."""
    return value if value is not None and math.isfinite(value) else None


def place(individual: Individual, population_size: int) -> float:
    """Return where an individual stands on the axis of generations, around its generation."""
    offset = (individual.trial.number % population_size + 0.5) / population_size - 0.5
    return individual.generation + _BREADTH * offset


def generation_axis(history: History) -> dict[str, Any]:
    """Return an axis of generations that shows whole numbers only."""
    first, last = history.individuals[0].generation, history.individuals[-1].generation
    return {
        "title": "Generation",
        "range": [first - 0.5, last + 0.5],
        "tick0": first,
        "dtick": 1 + (last - first) // _MOST_TICKS,
    }


def hover_text(individual: Individual, target_name: str) -> str:
    """Return what an individual is, as lines of HTML."""
    trial = individual.trial
    lines = [f"<b>Trial {trial.number}</b>, generation {individual.generation}"]
    lines.append(f"{escape(target_name)}: {described_value(individual)}")
    lines += [f"{escape(name)}: {shown(value)}" for name, value in sorted(trial.params.items())]
    if individual.parents:
        lines.append(f"parents: {', '.join(map(str, individual.parents))}")
    if individual.mutated:
        lines.append(f"mutated: {escape(', '.join(individual.mutated))}")
    return "<br>".join(lines)


def described_value(individual: Individual) -> str:
    """Return the value as text, with what keeps it from being a candidate's."""
    state = individual.trial.state.name.lower()
    value = individual.trial.value
    text = "none" if value is None else f"{value:.6g}"
    if individual.is_candidate:
        return text
    return f"{text} ({'infeasible' if state == 'complete' else state})"


def shown(value: object) -> str:
    """Return the value of a parameter as text."""
    return f"{value:.6g}" if isinstance(value, float) else escape(str(value))


def markers(
    individuals: Collection[Individual],
    name: str,
    marker: Mapping[str, object],
    *,
    x: Callable[[Individual], float],
    y: Callable[[Individual], float | None],
    text: Callable[[Individual], str],
) -> go.Scatter:
    """Return a trace of individuals, which functions place and describe."""
    return go.Scatter(
        x=[x(individual) for individual in individuals],
        y=[y(individual) for individual in individuals],
        mode="markers",
        name=name,
        marker=dict(marker),
        text=[text(individual) for individual in individuals],
        hovertemplate="%{text}<extra></extra>",
    )


def origin_markers(individuals: Iterable[Individual], **how: Any) -> list[go.Scatter]:
    """Return a trace for each origin, in its colour; the options are those of `markers`."""
    groups: dict[str, list[Individual]] = {origin: [] for origin in ORIGINS}
    for individual in individuals:
        groups[individual.origin].append(individual)
    return [
        markers(group, ORIGIN_NAMES[origin], _ORIGIN_MARKERS[origin], **how)
        for origin, group in groups.items()
    ]

"""Shared parts of the figures: the history, the axis of generations, markers and texts.

The figures contain only plain lists without NaN and infinity, since other readers of their JSON,
such as optuna-dashboard, may not support these.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from html import escape
from typing import Any

from optuna.study import Study, StudyDirection

from optuna_ga._checks import check_text
from optuna_ga._results.history import ORIGINS, History, Individual, read_history, value_of
from optuna_ga.visualization._plotly import go

HIGHLIGHT = "#d1295a"
GRAY = "#8c8c8c"
CROSS = {"color": GRAY, "symbol": "x-thin-open", "size": 7, "line": {"width": 1.5}}

_OUTLINE = {"color": "white", "width": 1}
_ORIGIN_MARKERS = {
    "start": {"color": GRAY, "symbol": "circle", "size": 8, "line": _OUTLINE},
    "crossover": {"color": "#0072b2", "symbol": "circle", "size": 8, "line": _OUTLINE},
    "mutation": {"color": "#e69f00", "symbol": "diamond", "size": 9, "line": _OUTLINE},
    "random": {"color": "#009e73", "symbol": "square", "size": 8, "line": _OUTLINE},
    "other": {"color": "#555555", "symbol": "triangle-up", "size": 9, "line": _OUTLINE},
}
_MAX_TICKS = 10
_SMALL_SIZE = 11  # Pixels.
_MAX_LENGTH = 80  # Characters of a value.
_GENERATION_WIDTH = 0.6  # Of the distance between two generations.


def read_nonempty_history(study: Study, population_size: int | None, target_name: str) -> History:
    """Return the history of a study that has at least one finished trial, for a figure.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `population_size` is out of range or unknown, or if the study has no
            finished trial.
    """
    check_text("target_name", target_name)
    history = read_history(study, population_size)
    if not history.individuals:
        raise ValueError("The study has no finished trial yet.")
    return history


def by_generation(individuals: Iterable[Individual]) -> Mapping[int, list[Individual]]:
    """Return the individuals of each nonempty generation, from first to last."""
    generations: defaultdict[int, list[Individual]] = defaultdict(list)
    for individual in individuals:
        generations[individual.generation].append(individual)
    return dict(sorted(generations.items()))


def finite(value: float | None) -> float | None:
    """Return the value if it is finite, so that it can be drawn, else None."""
    return value if value is not None and math.isfinite(value) else None


def generation_positions(history: History) -> dict[int, float]:
    """Return the individuals' positions on the axis of generations, by trial number.

    The individuals of a generation are spread around its number, in the order of their numbers.
    """
    positions = {}
    for generation, individuals in by_generation(history.individuals).items():
        # More than a population show the same generation if the population size was changed.
        n_places = max(len(individuals), history.population_size)
        for place, individual in enumerate(individuals):
            offset = (place + 0.5) / n_places - 0.5
            positions[individual.trial.number] = generation + _GENERATION_WIDTH * offset
    return positions


def generation_axis(history: History) -> dict[str, Any]:
    """Return the axis of generations, with ticks at whole numbers only."""
    generations = by_generation(history.individuals)
    first, last = min(generations), max(generations)
    return {
        "title": "Generation",
        "range": [first - 0.5, last + 0.5],
        "tick0": first,
        "dtick": 1 + (last - first) // _MAX_TICKS,
    }


def hover_text(individual: Individual, target_name: str) -> str:
    """Return the description of an individual, as lines of HTML."""
    trial = individual.trial
    lines = [f"<b>Trial {trial.number}</b>, generation {individual.generation}"]
    lines.append(f"{as_html(target_name)}: {value_text(individual)}")
    params = sorted(trial.params.items())
    lines += [f"{as_html(name)}: {param_text(value)}" for name, value in params]
    if individual.parents:
        lines.append(f"parents: {', '.join(map(str, individual.parents))}")
    if individual.lost:
        lines.append(f"lost states of parents: {', '.join(map(str, individual.lost))}")
    if individual.mutated:
        lines.append(f"mutated: {as_html(', '.join(individual.mutated))}")
    return "<br>".join(lines)


def value_text(individual: Individual) -> str:
    """Return an individual's values as text, with its state unless it is complete and feasible."""
    state = individual.trial.state.name.lower()
    values = individual.trial.values
    if values is None:
        report = value_of(individual.trial)
        values = [] if report is None else [report]
    text = ", ".join(f"{value:.6g}" for value in values) or "none"
    if individual.is_candidate:
        return text
    return f"{text} ({'infeasible' if state == 'complete' else state})"


def param_text(value: object) -> str:
    """Return the value of a parameter as HTML."""
    return f"{value:.6g}" if isinstance(value, float) else as_html(shortened(str(value)))


def as_html(text: str) -> str:
    """Return a name or a choice for any text of a figure; Plotly reads all of them as HTML."""
    return escape(text, quote=False)  # Plotly would show `&quot;` as it is.


def small(html: str) -> str:
    """Return HTML in the least size that is legible; `<sub>` beside small text is smaller."""
    return f'<span style="font-size: {_SMALL_SIZE}px">{html}</span>'


def shortened(text: str) -> str:
    """Return the beginning of a text that is too long to be read in a figure."""
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…"


def abbreviated(text: str, length: int) -> str:
    """Return a text of at most `length` characters, with its beginning and more of its end.

    >>> abbreviated("optimizer.groups.0.learning_rate", 20)
    'optim….learning_rate'
    """
    if len(text) <= length:
        return text
    n_first = length // 4
    return f"{text[:n_first]}…{text[n_first + 1 - length :]}"


def good_infinity(history: History) -> str:
    """Return words on a best value that is infinite and thus not drawn, if it is."""
    if history.has_several:
        return ""
    best = math.inf if history.directions[0] == StudyDirection.MAXIMIZE else -math.inf
    for individual in history.individuals:
        if individual.best_so_far == best:
            return f"the best is {best} from trial {individual.trial.number} on"
    return ""


def markers(
    individuals: Collection[Individual],
    name: str,
    marker: Mapping[str, object],
    *,
    x: Callable[[Individual], float],
    y: Callable[[Individual], float | None],
    text: Callable[[Individual], str],
) -> go.Scatter:
    """Return a trace with one marker per individual.

    Args:
        individuals: The individuals.
        name: The trace's name in the legend.
        marker: Plotly's options of the markers.
        x: Position of an individual on the x-axis.
        y: Position of an individual on the y-axis.
        text: Hover text of an individual.
    """
    return go.Scatter(
        x=[x(individual) for individual in individuals],
        y=[y(individual) for individual in individuals],
        mode="markers",
        name=name,
        marker=dict(marker),
        text=[text(individual) for individual in individuals],
        hovertemplate="%{text}<extra></extra>",
    )


def origin_markers(individuals: Iterable[Individual], **options: Any) -> list[go.Scatter]:
    """Return one trace of markers per origin, in the origin's colour; empty ones are not seen.

    Args:
        individuals: The individuals.
        **options: `x`, `y` and `text` of `markers`.
    """
    groups: dict[str, list[Individual]] = {origin: [] for origin in ORIGINS}
    for individual in individuals:
        groups[individual.origin].append(individual)
    return [
        markers(group, origin.capitalize(), _ORIGIN_MARKERS[origin], **options)
        for origin, group in groups.items()
    ]

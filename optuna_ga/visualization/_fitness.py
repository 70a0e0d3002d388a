"""`plot_fitness`: the values of each generation and the best so far."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate

from optuna.study import Study, StudyDirection
from optuna.trial import TrialState

from optuna_ga._results.history import History, Individual, median, value_of
from optuna_ga.visualization._common import (
    CROSS,
    HIGHLIGHT,
    as_html,
    by_generation,
    finite,
    generation_axis,
    good_infinity,
    hover_text,
    markers,
    read_nonempty_history,
)
from optuna_ga.visualization._hypervolume import hypervolume_figure
from optuna_ga.visualization._plotly import go

_BULK = 0.9  # Share of the trials, and of the boxes' trials, that an axis shows in any case.
_OUTLYING = 3.0  # Times as far from the best as the bulk.


def plot_fitness(
    study: Study, *, population_size: int | None = None, target_name: str = "Objective Value"
) -> go.Figure:
    """Plot the values of each generation: a box of all, the best, the median, the best so far.

    Boxes, medians and bests are those of complete and feasible trials with finite values; the best
    so far is that of a generation and all generations before it. Infeasible and pruned trials have
    markers of their own. Trials without a finite value are counted below the title; hover over a
    generation's best or median for the generation's counts. So are trials beyond the axis, which
    leaves out the tenth farthest from the best if that would flatten the rest, but never more than
    a tenth of the boxes' trials, nor the best so far. `figure.update_yaxes(type="log")` spreads
    small values.

    With several objectives, the figure is the hypervolume of each generation and of all trials so
    far: the share that complete and feasible trials dominate of the box from the best to the worst
    finite values of such trials in the whole study. With more than six objectives it is not
    computed, and the title says so. If early values are far worse than the front, the share is
    soon almost 1. Then `optuna.visualization.plot_hypervolume_history` shows later progress, with
    a reference point near the front.

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
    return fitness_figure(history, target_name)


def fitness_figure(history: History, target_name: str) -> go.Figure:
    """Return the figure of `plot_fitness`."""
    if history.has_several:
        return hypervolume_figure(history)
    generations = by_generation(history.individuals)
    drawn = [
        individual for individual in history.individuals if finite(_value(individual)) is not None
    ]
    candidates = [individual for individual in drawn if individual.is_candidate]
    text = partial(hover_text, target_name=target_name)
    figure = go.Figure([_boxes(candidates, text), *_other_markers(drawn, text)])
    best = max if history.directions[0] == StudyDirection.MAXIMIZE else min
    so_far = _best_so_far(generations, best)
    figure.add_traces(
        [
            _line(generations, "Median", median, color="#56b4e9", dash="dot"),
            _line(generations, "Best of the generation", best, color="#0072b2"),
            so_far,
        ]
    )
    shown = _shown_range(drawn, so_far.y, best)
    figure.update_layout(
        title={"text": "Fitness per Generation" + _subtitle(history, shown)},
        xaxis=generation_axis(history),
        yaxis={"title": as_html(target_name), "range": shown},
    )
    return figure


def _shown_range(
    drawn: Sequence[Individual],
    best_so_far: Sequence[float | None],
    best_of: Callable[[Sequence[float]], float],
) -> list[float] | None:
    """Return a range without outliers, where these would flatten all others; else None.

    The bulk of the candidates is shown, and that of all individuals, which may be far from them.
    """
    values = [value for individual in drawn if (value := _value(individual)) is not None]
    if not values:
        return None
    candidates = _candidates_values(drawn) or values
    best = best_of(candidates)
    bulk = max(_reach(candidates, best), _reach(values, best))
    furthest = max(abs(value - best) for value in values)
    if not bulk or furthest <= _OUTLYING * bulk or math.isinf(furthest):
        return None
    kept = [value for value in values if abs(value - best) <= bulk]
    kept += [value for value in best_so_far if value is not None]
    margin = 0.05 * (max(kept) - min(kept))
    low, high = min(kept) - margin, max(kept) + margin
    return None if low <= min(values) and max(values) <= high else [low, high]


def _reach(values: Sequence[float], best: float) -> float:
    """Return the distance from the best within which the bulk of some values lies."""
    return sorted(abs(value - best) for value in values)[math.ceil(_BULK * len(values)) - 1]


def _boxes(candidates: Sequence[Individual], text: Callable[[Individual], str]) -> go.Box:
    return go.Box(
        x=[_generation(individual) for individual in candidates],
        y=[_value(individual) for individual in candidates],
        name="Trials",
        boxpoints="all",
        pointpos=0,
        jitter=0.5,
        fillcolor="rgba(140, 140, 140, 0.15)",
        line={"color": "rgba(110, 110, 110, 0.6)", "width": 1},
        marker={"color": "rgba(90, 90, 90, 0.55)", "size": 5},
        hoveron="points",
        text=[text(individual) for individual in candidates],
        hovertemplate="%{text}<extra></extra>",
    )


def _other_markers(
    individuals: Sequence[Individual], text: Callable[[Individual], str]
) -> list[go.Scatter]:
    """Return a trace of the infeasible and a trace of the pruned individuals, if any."""
    traces = []
    for name, marker, state in (
        ("Infeasible", {**CROSS, "symbol": "circle-open"}, TrialState.COMPLETE),
        ("Pruned", CROSS, TrialState.PRUNED),
    ):
        others = [
            individual
            for individual in individuals
            if not individual.is_candidate and individual.trial.state == state
        ]
        if others:
            traces.append(markers(others, name, marker, x=_generation, y=_value, text=text))
    return traces


def _line(
    generations: Mapping[int, Sequence[Individual]],
    name: str,
    statistic: Callable[[list[float]], float],
    *,
    color: str,
    dash: str = "solid",
) -> go.Scatter:
    """Return a line of a statistic of each generation, with gaps where it has no finite value."""
    finite_values = [
        list(filter(math.isfinite, _candidates_values(own))) for own in generations.values()
    ]
    return go.Scatter(
        x=list(generations),
        y=[statistic(values) if values else None for values in finite_values],
        mode="lines+markers",
        name=name,
        line={"color": color, "dash": dash},
        marker={"size": 5},
        text=[_counts(individuals) for individuals in generations.values()],
        hovertemplate=f"{name}: %{{y:.6g}}<br>generation %{{x}}: %{{text}}<extra></extra>",
    )


def _best_so_far(
    generations: Mapping[int, Sequence[Individual]], best_of: Callable[[Sequence[float]], float]
) -> go.Scatter:
    """Return the line of the best of each generation and those before it on the axis."""
    worst = -best_of([-math.inf, math.inf])
    bests = [best_of([worst, *_candidates_values(own)]) for own in generations.values()]
    so_far = accumulate(bests, lambda before, own: best_of([before, own]))
    return go.Scatter(
        x=list(generations),
        y=[finite(value) for value in so_far],
        mode="lines",
        name="Best so far",
        line={"color": HIGHLIGHT, "shape": "hv", "width": 2.5},
        hovertemplate="Best so far: %{y:.6g}<extra></extra>",
    )


def _generation(individual: Individual) -> int:
    return individual.generation


def _value(individual: Individual) -> float | None:
    return value_of(individual.trial)


def _candidates_values(individuals: Sequence[Individual]) -> list[float]:
    values = [_value(individual) for individual in individuals if individual.is_candidate]
    return [value for value in values if value is not None]


def _subtitle(history: History, shown: Sequence[float] | None) -> str:
    """Return a second line of the title that counts the trials that are not seen, if any."""
    individuals = history.individuals
    values = [finite(_value(individual)) for individual in individuals]
    missing = [one for one, value in zip(individuals, values, strict=True) if value is None]
    parts = [f"without a finite value: {_counts(missing)}"] if missing else []
    parts += [words] if (words := good_infinity(history)) else []
    if shown is not None:
        n = sum(value is not None and not shown[0] <= value <= shown[1] for value in values)
        parts.append(f"beyond the axis: {n}, which a double click shows")
    return f"<br><sub>Trials {'; '.join(parts)}</sub>" if parts else ""


def _counts(individuals: Sequence[Individual]) -> str:
    """Return the number of trials of each kind, as in "2 infinite, 1 failed"."""
    counts = Counter(_kind(individual) for individual in individuals)
    return ", ".join(f"{count} {kind}" for kind, count in counts.most_common())


def _kind(individual: Individual) -> str:
    state = individual.trial.state
    if state == TrialState.COMPLETE:
        if finite(_value(individual)) is None:
            return "infinite"
        return "complete" if individual.is_candidate else "infeasible"
    return {TrialState.FAIL: "failed", TrialState.PRUNED: "pruned"}[state]

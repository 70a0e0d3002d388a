"""The figures of `DashboardReport`, within the limits of optuna-dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from optuna_ga._results.history import History, history_of
from optuna_ga.visualization._fitness import fitness_figure
from optuna_ga.visualization._genealogy import genealogy_figure
from optuna_ga.visualization._genes import genes_figure, thin_out_labels
from optuna_ga.visualization._improvements import improvements_figure
from optuna_ga.visualization._plotly import go

# optuna-dashboard stores figures in pieces of 2,045 characters, and its page reads all of them
# again every few seconds.
_MAX_TRIALS = 500
_MAX_DETAILED_TRIALS = 200
_MAX_CHARACTERS = 150_000
_GENES_PER_FIGURE = 4
_MAX_GENES = 8
_MAX_LABELS = 8  # Of choices; more do not fit into one of two rows.
_MAX_LINES = (None, 8, 1)  # Of hover texts: all, and then ever fewer until the figure fits.
_HIGH_MARGIN = 105  # Pixels: for a title of two lines above the titles of plots.
# The dashboard shows a figure 450 pixels high and half as wide as the page.
_LAYOUT = {
    "template": "plotly_white",
    "height": 450,
    "margin": {"l": 60, "r": 20, "t": 70, "b": 20},
    "legend": {
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "y": -0.18,
        "yref": "paper",
        "yanchor": "top",
    },
}


_TARGET_NAME = "Objective Value"


def figures(study: Study, size: int) -> Iterator[tuple[str, go.Figure | None]]:
    """Yield each figure with its name; None for a figure that is too large."""
    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    if not finished:
        return
    bounded = partial(_bounded, finished=finished, directions=study.directions, size=size)
    for name, draw in {
        "fitness": fitness_figure,
        "genealogy": genealogy_figure,
        "improvements": improvements_figure,
    }.items():
        yield name, bounded(partial(draw, target_name=_TARGET_NAME), last=_last(finished, size))
    names = _gene_names(finished, size)
    for first in range(0, min(len(names), _MAX_GENES), _GENES_PER_FIGURE):
        draw_genes = partial(_genes_figure, names=names, first=first)
        shown = names[first : first + _GENES_PER_FIGURE]
        last = _last([trial for trial in finished if trial.params.keys() & set(shown)], size)
        name = f"genes-{first // _GENES_PER_FIGURE + 1}" if first else "genes"
        yield name, bounded(draw_genes, last=last)


def _gene_names(finished: Sequence[FrozenTrial], size: int) -> list[str]:
    """Return the sorted names of the parameters of the last generations that have any."""
    owners = [trial for trial in finished if trial.params]
    if not owners:
        return []
    first = _last(owners, size) + 1 - _most_generations(size)
    return sorted(
        {name for trial in owners if trial.number // size >= first for name in trial.params}
    )


def _genes_figure(history: History, *, names: Sequence[str], first: int) -> go.Figure:
    """Draw the parameters from the `first` on, as many as are legible and as the trials have."""
    known = {name for individual in history.individuals for name in individual.trial.params}
    legible = names[first : first + _GENES_PER_FIGURE]
    figure = genes_figure(history, [name for name in legible if name in known], _TARGET_NAME)
    if len(names) > _GENES_PER_FIGURE:
        numbers = f"{first + 1} to {first + len(legible)}"
        _add_to_title(figure, f"parameters {numbers} of {len(names)}")
    thin_out_labels(figure, _MAX_LABELS)
    return figure


def _last(trials: Sequence[FrozenTrial], size: int) -> int:
    return max(trial.number for trial in trials) // size


def _most_generations(size: int) -> int:
    """Return how many generations a figure may show."""
    return max(_MAX_TRIALS // size, 1)


def _bounded(
    draw: Callable[[History], go.Figure],
    *,
    finished: Sequence[FrozenTrial],
    directions: Sequence[StudyDirection],
    size: int,
    last: int,
) -> go.Figure | None:
    """Return the figure of as many generations up to the `last` as the limits allow.

    Hover texts are shortened before generations are left out, and the title says what is missing.
    None if a single generation already exceeds the limits.
    """
    n_generations = min(last + 1, _most_generations(size))
    while n_generations:
        first = last + 1 - n_generations
        drawn = [trial for trial in finished if first <= trial.number // size <= last]
        history = history_of(drawn, directions, size)
        figure = draw(history).update_layout(_LAYOUT)
        if len(drawn) < len(finished):
            shown = [individual.generation for individual in history.individuals]
            _add_to_title(figure, f"only generations {shown[0]} to {shown[-1]}")
        if figure.layout.annotations and "<br>" in figure.layout.title.text:
            figure.layout.margin.t = _HIGH_MARGIN
        many = len(drawn) > _MAX_DETAILED_TRIALS
        for n_lines in _MAX_LINES[-1:] if many else _MAX_LINES:
            if n_lines is not None:
                _shorten_hover_texts(figure, n_lines)
            if len(figure.to_json()) <= _MAX_CHARACTERS:
                return figure
        n_generations //= 2
    return None


def _add_to_title(figure: go.Figure, shown: str) -> None:
    """Say below the title that only a part is shown."""
    title, _, below = figure.layout.title.text.removesuffix("</sub>").partition("<br><sub>")
    below = f"{below}; {shown}" if below else f"Shown: {shown}"
    figure.layout.title.text = f"{title}<br><sub>{below}</sub>"


def _shorten_hover_texts(figure: go.Figure, n_lines: int) -> None:
    """Cut every point's hover text down to its first lines, the first of which names the trial."""
    for trace in figure.data:
        if trace.text is not None:
            trace.text = [_first_lines(text, n_lines) for text in trace.text]


def _first_lines(text: str, n: int) -> str:
    lines = text.split("<br>")
    return "<br>".join([*lines[:n], "…"]) if len(lines) > n else text

"""`DashboardReport`: a callback that reports the search in optuna-dashboard."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import optuna
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from optuna_ga._checks import check_int, check_study
from optuna_ga._dashboard.note import HEADING, ignored_by_model, note_text
from optuna_ga._optuna_internals import read_trials
from optuna_ga._results.history import generation_of, population_size_of
from optuna_ga._sampler import GASampler

if TYPE_CHECKING:
    import plotly.graph_objects as go

_TRIALS_BETWEEN_REPORTS = 20  # On a study without generations.

# Limits of a figure. optuna-dashboard stores figures in pieces of 2,045 characters, and its page
# reads all of them again every few seconds.
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

_logger = optuna.logging.get_logger("optuna.generations")


class DashboardReport:
    """Callback that reports a search in optuna-dashboard.

    After each generation it writes the study's note: the sampler's settings, the best trial of
    the study, the trials that its model ignores, the best trial of the final generation (with
    several objectives: their fronts), and a table of the last 50 generations. The final
    generation of an adaptive search is no answer, and has no part of its own.
    Text above the report's heading is the user's own and stays.

    It also keeps the figures of `optuna_ga.visualization` on the study's page up to date, within
    limits, and says below a figure's title if only a part is shown. A figure shows at most 500
    trials: the last generations, as if the study had begun with them. With more than 200 trials, a
    point's hover text is only its trial number and generation. A figure of more than 150,000
    characters gets shorter hover texts, then fewer generations. Genes are shown for the first
    eight parameters by name, four to a figure, up to the last generation that has any of them. An
    update within these limits takes about a second.

    A study that no `GASampler` has worked on has no generations: its note is written every 20
    trials, and it gets no figures.

    The callback never stops a study. If a package is missing or the storage refuses a write, it
    logs one warning and tries again after the next generation. Every worker may have the
    callback; the worker that finishes a generation's last trial writes the report. If two
    processes write a figure at once, the figure may stay blank until the next generation.

    Example:
        >>> import optuna
        >>> from optuna_ga import DashboardReport, GASampler
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(sampler=GASampler(population_size=10))
        >>> study.optimize(
        ...     lambda trial: trial.suggest_float("x", -1, 1) ** 2,
        ...     n_trials=20,
        ...     callbacks=[DashboardReport()],
        ... )

    Args:
        every: Number of generations per report, at least 1.

    Raises:
        TypeError: If `every` is not an integer.
        ValueError: If `every` is less than 1.
    """

    def __init__(self, *, every: int = 1) -> None:
        self._every = check_int("every", every, minimum=1)
        self._lock = threading.Lock()
        self._warned = False

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the lock, which cannot be pickled."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the settings, with a new lock."""
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Write the report if all trials of this trial's generation have finished."""
        try:
            if self._is_due(study, trial):
                self._write(study, running=True)
        except Exception as error:  # A failed report must not stop the search.
            self._warn(error)

    def write(self, study: Study) -> None:
        """Write the report now; works for any study, with or without the callback.

        Args:
            study: The study.

        Raises:
            ImportError: If optuna-dashboard or Plotly is not installed.
            TypeError: If `study` is not a study.
        """
        check_study(study)
        self._write(study, running=False)

    def _write(self, study: Study, *, running: bool) -> None:
        from optuna_dashboard import save_plotly_graph_object

        size = _population_size(study)
        with self._lock:
            ignored = ignored_by_model(study, running=running)
            write_note = partial(_write_note, study, size, ignored, running)
            write_note()  # First, since the figures may fail.
            missing = []
            for name, figure in () if size is None else _figures(study, size):
                if figure is None:
                    missing.append(name)
                else:
                    save_plotly_graph_object(study, figure, graph_object_id=f"ga-{name}")
            if missing:
                write_note(missing)

    def _is_due(self, study: Study, trial: FrozenTrial) -> bool:
        size = _population_size(study) or _TRIALS_BETWEEN_REPORTS
        generation = trial.number // size
        if (generation + 1) % self._every:
            return False
        numbers = range(generation * size, (generation + 1) * size)
        if not any(read_trials(study, numbers[-1:])):  # Spares looking for all of them.
            return False
        return sum(other.state.is_finished() for other in read_trials(study, numbers)) == size

    def _warn(self, error: Exception) -> None:
        with self._lock:
            warned, self._warned = self._warned, True
        if warned:
            return
        known = isinstance(error, ImportError)
        hint = ' Run `pip install -e ".[dashboard]"`.' if known else ""
        _logger.warning(
            f"The report for optuna-dashboard is incomplete: {error!r}.{hint}",
            exc_info=None if known else error,
        )


def _population_size(study: Study) -> int | None:
    """Return the number of trials in a generation; None if the study has no generations."""
    try:
        return population_size_of(study, None)
    except ValueError:
        return None


def _write_note(
    study: Study,
    size: int | None,
    ignored: Sequence[int],
    running: bool,
    missing: Sequence[str] = (),
) -> None:
    """Write the note below the user's own text."""
    from optuna_dashboard import get_note, save_note

    user_text = re.split(rf"(?m)^{HEADING}\s*$", get_note(study))[0].rstrip()
    separator = "\n\n" if user_text else ""
    text = note_text(study, size, missing, ignored, running=running)
    save_note(study, user_text + separator + text)


class _LastTrials(NamedTuple):
    """Stands in for a `Study` whose first generations are left out of the figures.

    Its sampler tells the population size, which as an argument of the figures would replace the
    generations that trials show.
    """

    directions: Sequence[StudyDirection]
    trials: Sequence[FrozenTrial]
    sampler: GASampler

    def get_trials(self, deepcopy: bool) -> list[FrozenTrial]:
        assert not deepcopy
        return list(self.trials)


def _figures(study: Study, size: int) -> Iterator[tuple[str, go.Figure | None]]:
    """Yield each figure with its name; None for a figure that is too large."""
    from optuna_ga import visualization

    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    if not finished:
        return
    for name, plot in {
        "fitness": visualization.plot_fitness,
        "genealogy": visualization.plot_genealogy,
        "improvements": visualization.plot_improvements,
    }.items():
        yield name, _bounded(plot, study.directions, finished, size, _last(finished, size))
    names = _gene_names(finished, size)
    for first in range(0, min(len(names), _MAX_GENES), _GENES_PER_FIGURE):
        plot_genes = partial(_plot_genes, names=names, first=first)
        shown = names[first : first + _GENES_PER_FIGURE]
        last = _last([trial for trial in finished if trial.params.keys() & set(shown)], size)
        name = f"genes-{first // _GENES_PER_FIGURE + 1}" if first else "genes"
        yield name, _bounded(plot_genes, study.directions, finished, size, last)


def _gene_names(finished: Sequence[FrozenTrial], size: int) -> list[str]:
    """Return the sorted names of the parameters of the last generations that have any."""
    owners = [trial for trial in finished if trial.params]
    if not owners:
        return []
    first = _last(owners, size) + 1 - _most_generations(size)
    return sorted(
        {name for trial in owners if trial.number // size >= first for name in trial.params}
    )


def _plot_genes(study: Study, *, names: Sequence[str], first: int) -> go.Figure:
    """Plot the parameters from the `first` on, as many as are legible and as the trials have."""
    from optuna_ga.visualization import plot_genes
    from optuna_ga.visualization._genes import thin_out_labels

    known = {name for trial in study.get_trials(deepcopy=False) for name in trial.params}
    legible = names[first : first + _GENES_PER_FIGURE]
    shown = [name for name in legible if name in known]
    figure = plot_genes(study, shown)
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
    plot: Callable[..., go.Figure],
    directions: Sequence[StudyDirection],
    trials: Sequence[FrozenTrial],
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
        drawn = [trial for trial in trials if first <= trial.number // size <= last]
        figure = plot(cast(Study, _LastTrials(directions, drawn, GASampler.adaptive(size))))
        figure.update_layout(_LAYOUT)
        if len(drawn) < len(trials):
            shown = [generation_of(trial, size) for trial in drawn]
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

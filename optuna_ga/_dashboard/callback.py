"""A report of the search for optuna-dashboard, kept up to date by a callback."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import optuna
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from optuna_ga._checks import check_int
from optuna_ga._dashboard.note import HEADING, write_note
from optuna_ga._optuna_internals import only_direction, read_trials
from optuna_ga._results.history import population_size_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

_N_TRIALS = 20  # Between reports on a study without generations.

# Of a figure: optuna-dashboard writes 2,045 characters at a time, and reads all each few seconds.
_N_DRAWN = 500
_N_TOLD = 200
_MOST_CHARACTERS = 150_000
_N_GENES = 6
# The dashboard leaves room for 450 pixels of height, and for half of the page's width.
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
    """Callback that shows a search in optuna-dashboard.

    After each generation it writes the study's note: the sampler's settings, the best trials of
    the study and of the final generation, and a table of the last 50 generations. What stands in
    the note above the report's heading stays.

    On the study's page it keeps the figures of `optuna_ga.visualization` up to date, within
    bounds. Where there are more than 500 trials, or more than 150,000 characters in a figure, it
    shows the last generations as if the study had begun with them; where it shows more than 200
    trials, points tell their trial's number only; and genes are those of six parameters, the
    first by name. With such a study an update takes about a second.

    A study that no `GASampler` has worked on has no generations. Its note is written every 20
    trials, and it gets no figures.

    It never stops a study. What cannot be written, because a package is missing or a storage
    refuses it, waits for the next generation, and one warning is logged. Every worker may have
    one: who finishes a generation's last trial writes. Where two processes write at once, a
    figure may be broken, and is then not drawn until the next generation.

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
        every: Write after every so many generations, at least 1.

    Raises:
        TypeError: If `every` is no integer.
        ValueError: If it is smaller than 1.
    """

    def __init__(self, *, every: int = 1) -> None:
        self._every = check_int("every", every, minimum=1)
        self._lock = threading.Lock()
        self._warned = False

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the lock, which is of this process."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the rest."""
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Write the report if all trials of this one's generation have finished."""
        try:
            if len(study.directions) > 1 or self._is_due(study, trial):
                self.write(study)
        except Exception as error:  # Whatever it is, the search is worth more.
            self._warn(error)

    def write(self, study: Study) -> None:
        """Write the report now, also for a study that had no callback.

        Raises:
            ImportError: If a package is missing.
            ValueError: If the study has several objectives.
        """
        only_direction(study)
        from optuna_dashboard import get_note, save_note, save_plotly_graph_object

        size = _population_size(study)
        with self._lock:
            users_own = re.split(rf"(?m)^{HEADING}[ \t]*$", get_note(study))[0].rstrip()
            between = "\n\n" if users_own else ""
            save_note(study, users_own + between + write_note(study, size))
            if size is not None:
                for name, figure in _figures(study, size):
                    save_plotly_graph_object(study, figure, graph_object_id=name)

    def _is_due(self, study: Study, trial: FrozenTrial) -> bool:
        size = _population_size(study) or _N_TRIALS
        generation = trial.number // size
        if (generation + 1) % self._every:
            return False
        numbers = range(generation * size, (generation + 1) * size)
        return sum(other.state.is_finished() for other in read_trials(study, numbers)) == size

    def _warn(self, error: Exception) -> None:
        with self._lock:
            warned, self._warned = self._warned, True
        if warned:
            return
        hint = ""
        if isinstance(error, ImportError):
            hint = ' `pip install "optuna-ga[dashboard]"` installs what is missing.'
        _logger.warning(f"The report for optuna-dashboard is not complete: {error!r}.{hint}")


def _population_size(study: Study) -> int | None:
    """Return how many trials make a generation, None if the study has no generations."""
    try:
        return population_size_of(study, None)
    except ValueError:
        return None


class _LastTrials(NamedTuple):
    """What figures read of a study, as if it had begun with these trials."""

    directions: Sequence[StudyDirection]
    trials: Sequence[FrozenTrial]

    def get_trials(self, deepcopy: bool) -> list[FrozenTrial]:
        assert not deepcopy
        return list(self.trials)


def _figures(study: Study, size: int) -> Iterator[tuple[str, go.Figure]]:
    """Yield each figure and its name in the dashboard."""
    from optuna_ga import visualization

    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    if not finished:
        return
    plots: dict[str, Callable[..., go.Figure]] = {
        "fitness": visualization.plot_fitness,
        "genealogy": visualization.plot_genealogy,
        "improvements": visualization.plot_improvements,
    }
    if any(trial.params for trial in finished):
        plots["genes"] = _plot_genes
    for name, plot in plots.items():
        figure = _bounded(plot, study.directions, finished, size)
        if figure is not None:
            yield f"ga-{name}", figure


def _plot_genes(study: Study, *, population_size: int) -> go.Figure:
    """Plot as many of the parameters as are legible."""
    from optuna_ga.visualization import plot_genes

    trials = study.get_trials(deepcopy=False)
    names = sorted({name for trial in trials for name in trial.params})
    figure = plot_genes(study, names[:_N_GENES], population_size=population_size)
    return figure.update_xaxes(title=None)  # The figure's title says it, and rows are near.


def _bounded(
    plot: Callable[..., go.Figure],
    directions: Sequence[StudyDirection],
    trials: Sequence[FrozenTrial],
    size: int,
) -> go.Figure | None:
    """Return the figure of as many of the last generations as it may show."""
    last = max(trial.number for trial in trials) // size
    n_generations = min(last + 1, max(_N_DRAWN // size, 1))
    while n_generations:
        first = last + 1 - n_generations
        drawn = [trial for trial in trials if trial.number // size >= first]
        figure = plot(cast(Study, _LastTrials(directions, drawn)), population_size=size)
        figure.update_layout(_LAYOUT)
        if len(drawn) > _N_TOLD:
            _shorten(figure)
        if len(figure.to_json()) <= _MOST_CHARACTERS:
            return figure
        n_generations //= 2
    return None


def _shorten(figure: go.Figure) -> None:
    """Let the texts that appear over points have their first line only, which names the trial."""
    for trace in figure.data:
        if trace.text is not None:
            trace.text = [text.partition("<br>")[0] for text in trace.text]

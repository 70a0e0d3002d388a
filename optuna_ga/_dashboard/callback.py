"""`DashboardReport`: a callback that reports the search in optuna-dashboard."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._checks import check_int, check_study
from optuna_ga._dashboard.note import HEADING, ignored_by_model, note_text
from optuna_ga._optuna_internals import read_trials
from optuna_ga._results.history import population_size_of

_TRIALS_BETWEEN_REPORTS = 20  # On a study without generations.

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


def _figures(study: Study, size: int) -> Iterable[tuple[str, Any]]:
    from optuna_ga._dashboard.figures import figures  # Needs Plotly.

    return figures(study, size)

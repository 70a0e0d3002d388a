"""A progress bar that appears on terminals and in notebooks only, and what it shows."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm


@contextmanager
def progress_bar(shown: bool, **options: Any) -> Iterator[tqdm[Any]]:
    """Yield a progress bar that hides where the output is not interactive.

    Optuna's log lines are printed above the bar, not through it.

    Args:
        shown: Whether to show the bar on a terminal or in a notebook.
        **options: Options of `tqdm`.
    """
    with tqdm(disable=None if shown else True, **options) as bar:
        logger = logging.getLogger("optuna")
        streams = [getattr(handler, "stream", None) for handler in logger.handlers]
        # Without a visible bar, or with logs that go elsewhere, nothing needs redirecting.
        if bar.disable or not {sys.stdout, sys.stderr} & set(streams):
            yield bar
            return
        with logging_redirect_tqdm([logger], tqdm_class=tqdm):
            yield bar


def advancing(progress: tqdm[Any], size: int) -> Callable[[Study, FrozenTrial], None]:
    """Return a callback that advances the progress bar by one trial."""

    def advance(study: Study, trial: FrozenTrial) -> None:
        progress.set_description(f"generation {trial.number // size}", refresh=False)
        if len(study.directions) > 1:
            if trial.number % size == size - 1 and not progress.disable:  # It sorts all trials.
                front = f"{len(study.best_trials)} in the front"
                progress.set_postfix_str(front, refresh=False)
        elif trial.state == TrialState.COMPLETE:
            with suppress(ValueError):  # No trial is feasible yet.
                progress.set_postfix_str(f"best {study.best_value:.6g}", refresh=False)
        progress.update()

    return advance

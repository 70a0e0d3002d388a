"""A progress bar that appears on terminals and in notebooks only."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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

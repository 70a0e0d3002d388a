"""A progress bar that keeps out of the way."""

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
    """Yield a bar that shows only on a terminal or in a notebook; Optuna's logs stay whole.

    Args:
        shown: Whether it is wanted.
        **options: Those of tqdm.
    """
    with tqdm(disable=None if shown else True, **options) as bar:
        logger = logging.getLogger("optuna")
        streams = [getattr(handler, "stream", None) for handler in logger.handlers]
        if bar.disable or not {sys.stdout, sys.stderr} & set(streams):  # Its logs do not show.
            yield bar
            return
        with logging_redirect_tqdm([logger], tqdm_class=tqdm):
            yield bar

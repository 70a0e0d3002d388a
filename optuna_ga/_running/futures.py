"""Futures of an executor: waiting for them so that a signal or a shutdown is noticed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, TimeoutError, as_completed, wait
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar

import optuna

_logger = optuna.logging.get_logger("optuna.generations")

_PATIENCE_S = 30.0  # Until a worker has opened the study.
_SECONDS_BETWEEN_WAKINGS = 1.0

_Result = TypeVar("_Result")


def wait_for_a_worker(future: Future[None]) -> None:
    """Wait until a worker has opened the study; say so if it takes long.

    That is no error: a cluster may start its first worker after minutes.
    """
    start, has_said = monotonic(), False
    while not wait([future], timeout=_SECONDS_BETWEEN_WAKINGS).done:
        if not has_said and monotonic() - start > _PATIENCE_S:
            has_said = True
            _logger.warning(
                f"No worker has opened the study within {_PATIENCE_S:.0f} seconds. Still waiting: "
                "are there workers, and can they reach its storage? Forked workers may hang if a "
                'library of the driver has threads; use the context "forkserver" or "spawn".'
            )
    future.result()


def as_they_end(futures: Iterable[Future[_Result]]) -> Iterator[Future[_Result]]:
    """Yield futures as they complete, waking regularly.

    CPython does not wake a thread for a signal that arrives just before it begins to wait.
    """
    pending = set(futures)
    while pending:
        with suppress(TimeoutError):
            for future in as_completed(pending.copy(), timeout=_SECONDS_BETWEEN_WAKINGS):
                pending.remove(future)
                yield future
        # Of an executor that was shut down, whose futures nobody is notified of.
        for future in [each for each in pending if each.cancelled()]:
            pending.remove(future)
            yield future


def cancel(futures: Iterable[Future[Any]]) -> None:
    """Cancel those that have not begun."""
    for future in futures:
        future.cancel()

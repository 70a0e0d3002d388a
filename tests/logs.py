"""What Optuna's loggers say, for tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import optuna


@contextmanager
def messages_of(name: str, level: int) -> Iterator[list[str]]:
    """Collect what a logger says from a level on, whatever Optuna's verbosity is.

    Messages come with the tracebacks of their errors.
    """
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(handler.format(record))  # type: ignore[method-assign]
    logger = optuna.logging.get_logger(name)
    before = logger.level
    logger.setLevel(level)  # Setting the attribute would leave a cached answer.
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)

"""Workers end with their driver, even if it is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import connection, parent_process
from threading import Thread, local

_SECONDS_BETWEEN_LOOKS = 1.0  # At the driver.


def end_with(driver: int) -> None:
    """End this process when its parent ends, if that is the driver, by its process id."""
    _end_with(os.getpid(), driver)


@cache  # One thread watches, however many studies the process works on.
def _end_with(process: int, driver: int) -> None:
    """Do as `end_with`, in this process: a fork has its parent's cache, but not its threads."""
    parent = parent_process()
    if parent is not None and parent.pid == driver:
        _watch(os.getppid(), parent.sentinel)


@contextmanager
def forks_that_end() -> Iterator[None]:
    """Have processes that this thread forks end when this process ends.

    A pool forks all of its processes at its first task. One that never gets a task of its own
    would wait for ever, and would keep the pipes open by which others learn of the end.
    """
    before, _forks.driver = _forks.driver, os.getpid()
    try:
        yield
    finally:
        _forks.driver = before


class _Forks(local):
    """What a fork finds of the thread that forks it.

    Attributes:
        driver: The process to end with; None if the fork is to live on.
    """

    driver: int | None = None


_forks = _Forks()


def _watch_in_fork() -> None:
    driver, _forks.driver = _forks.driver, None
    if driver is not None:
        _watch(driver)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_watch_in_fork)


def _watch(parent: int, *sentinels: int) -> None:
    """End this process when a sentinel is ready, or when it has another parent."""

    def exit_after() -> None:
        # Forks of a pool may keep each other's sentinels from being ready.
        while not connection.wait(sentinels, _SECONDS_BETWEEN_LOOKS) and os.getppid() == parent:
            pass
        os._exit(1)

    Thread(target=exit_after, daemon=True).start()

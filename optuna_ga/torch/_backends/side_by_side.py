"""Calls at the same time on threads, all of which end with the first error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

_Result = TypeVar("_Result")


def side_by_side(
    calls: Sequence[Callable[[], _Result]], n_threads: int, stop: Event
) -> list[_Result]:
    """Return the results of calls that have no arguments.

    Args:
        calls: The calls.
        n_threads: How many run at a time.
        stop: Set if a call fails or the waiting is interrupted: then the calls that run shall end,
            and no other begins.

    Raises:
        BaseException: The error of the first call, in their order, that has failed.
    """
    with ThreadPoolExecutor(n_threads) as executor:
        try:
            futures = [executor.submit(call) for call in calls]
            ended, _ = wait(futures, return_when=FIRST_EXCEPTION)
            return [future.result() for future in futures if future in ended]
        except BaseException:
            stop.set()  # Or leaving the executor would wait for all calls.
            executor.shutdown(wait=False, cancel_futures=True)
            raise

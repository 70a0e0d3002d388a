"""Call a function many times in worker processes that do not get in each other's way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context
from time import monotonic
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm


def in_processes(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    n_processes: int,
    seconds: float = math.inf,
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield each job with the function's result, as they end; begin none after so many seconds."""
    end = monotonic() + seconds
    context = get_context("spawn")
    with (
        ProcessPoolExecutor(n_processes, context, _one_thread) as executor,
        tqdm(total=len(jobs), unit="study", disable=None) as progress,
    ):
        left = iter(jobs)
        running: dict[Future[Any], tuple[Any, ...]] = {}
        while True:
            if monotonic() < end:
                begun = islice(left, n_processes - len(running))
                running |= {executor.submit(function, *job): job for job in begun}
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
                progress.update()


def _one_thread() -> None:
    """Let each process compute with one thread, whichever library it uses."""
    torch.set_num_threads(1)
    threadpool_limits(1)

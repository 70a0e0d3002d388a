"""Call a function many times in worker processes that do not get in each other's way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm


def in_processes(
    function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], n_processes: int
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield each job with the function's result, as they end."""
    context = get_context("spawn")
    with (
        ProcessPoolExecutor(n_processes, context, _one_thread) as executor,
        tqdm(total=len(jobs), unit="study") as progress,
    ):
        futures = {executor.submit(function, *job): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
            progress.update()


def _one_thread() -> None:
    """Let each process compute with one thread, whichever library it uses."""
    torch.set_num_threads(1)
    threadpool_limits(1)

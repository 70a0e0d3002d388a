"""Run the jobs whose rows a file lacks, in worker processes, and add their rows to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.rows import Row, write_rows

WRITE_EVERY_S = 5.0


class Job(NamedTuple):
    """One call of a function.

    Attributes:
        key: Columns of its rows that no other job's rows share.
        arguments: The arguments of the call.
    """

    key: Row
    arguments: tuple[Any, ...]


class Missing(NamedTuple):
    """The rows that a file is to be completed with.

    Attributes:
        path: The file.
        rows: The rows that it has.
        jobs: All jobs; those whose rows are there are not run.
        facts: Columns that follow those of the key and of the result in every new row.
        order: Sort key of the rows in the finished file; None leaves them as they ended.
    """

    path: Path
    rows: list[Row]
    jobs: Sequence[Job]
    facts: Row
    order: Callable[[Row], Any] | None = None


def run_missing(
    missing: Missing,
    function: Callable[..., Row | list[Row]],
    n_processes: int,
    seconds: float = math.inf,
) -> None:
    """Run the jobs whose rows are missing, and write all rows every few seconds and at the end.

    Args:
        missing: The jobs and their file.
        function: Returns a row or several from a job's arguments; importable by its name.
        n_processes: Worker processes.
        seconds: No job begins later than this.
    """
    path, rows, _, facts, order = missing
    written = monotonic()
    try:
        for job, found in in_processes(function, left(missing), n_processes, seconds):
            of_job = found if isinstance(found, list) else [found]
            rows += [job.key | row | facts for row in of_job]
            if monotonic() > written + WRITE_EVERY_S:
                write_rows(path, rows)
                written = monotonic()
    finally:
        if rows:
            write_rows(path, sorted(rows, key=order) if order else rows)


def left(missing: Missing) -> list[Job]:
    """Return the jobs whose rows are missing."""
    columns = list(missing.jobs[0].key) if missing.jobs else []
    done = {tuple(str(row[name]) for name in columns) for row in missing.rows}
    return [job for job in missing.jobs if tuple(map(str, job.key.values())) not in done]


def in_processes(
    function: Callable[..., Any], jobs: Sequence[Job], n_processes: int, seconds: float
) -> Iterator[tuple[Job, Any]]:
    """Yield each job with the function's result, as they end."""
    end = monotonic() + seconds
    context = get_context("spawn")
    with (
        ProcessPoolExecutor(n_processes, context, _use_one_thread) as executor,
        tqdm(total=len(jobs), unit="job", disable=None) as progress,
    ):
        waiting = iter(jobs)
        running: dict[Future[Any], Job] = {}
        while True:
            if monotonic() < end:
                begun = islice(waiting, n_processes - len(running))
                running |= {executor.submit(function, *job.arguments): job for job in begun}
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
                progress.update()


def _use_one_thread() -> None:
    """Let a worker compute with one thread, whichever library it uses."""
    import torch

    torch.set_num_threads(1)
    threadpool_limits(1)

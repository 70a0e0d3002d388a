"""Peak memory of a piece of work on the CPU, as Linux counts it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path


def peak_mb(work: Callable[[], object]) -> int | None:
    """Return the peak of resident MB during the work, less those before it.

    Worker processes that live when it returns count as a whole. Memory that this process has freed
    but not returned to the system counts as resident before, so that a fresh process is most
    exact. None where the system does not report it.
    """
    start_over = Path("/proc/self/clear_refs")
    if not os.access(start_over, os.W_OK):
        return None
    start_over.write_text("5")  # The high-water mark begins from what is resident now.
    before = _status_kb(os.getpid(), "VmRSS")
    work()
    workers = [worker.pid for worker in multiprocessing.active_children() if worker.pid]
    peak = sum(_status_kb(pid, "VmHWM") for pid in [os.getpid(), *workers])
    return round((peak - before) * 1024 / 1e6)


def _status_kb(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0])
    raise LookupError(f"The system reports no {key} of process {pid}.")

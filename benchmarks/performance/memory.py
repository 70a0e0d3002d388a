"""How much memory a piece of work takes on the CPU, as Linux counts it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path


def peak_mb(work: Callable[[], object]) -> int | None:
    """Return the MB that the work had resident at most, beyond what was resident before.

    Worker processes that it starts, and that still live when it returns, count as a whole. What
    the process has freed but not given back counts as resident before, so a fresh process tells
    best. None where the system does not say.
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
    raise LookupError(f"The system does not tell {key} of process {pid}.")

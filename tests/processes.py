"""Fresh processes for tests: they share nothing with the test's own, and start at once.

A server imports what they need once and forks itself for each of them. Starting an interpreter
that imports PyTorch takes seconds instead.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

FRESH = get_context("forkserver")
# A process has a single server: what another context preloads may come too late.
FRESH.set_forkserver_preload(
    [
        "torch",
        "tests.running.evaluations",
        "tests.pbt.walks",
        "pytest",
        "scipy.optimize",
        "alembic.command",  # Optuna imports it, and the next, for its first database.
        "sqlalchemy.dialects.sqlite",
    ]
)


def exit_codes(function: Callable[..., Any], *arguments: Any, n_processes: int = 1) -> list[int]:
    """Call a function in fresh processes at the same time, and return their exit codes.

    A process that a signal ended has the negative number of the signal.
    """
    processes = [FRESH.Process(target=function, args=arguments) for _ in range(n_processes)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
        process.join()
    return [int(process.exitcode or 0) for process in processes]

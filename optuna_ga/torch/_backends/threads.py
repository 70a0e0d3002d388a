"""As many members at a time as there are cores, each with one thread: for CPUs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from optuna_ga.torch._backends.loop import LoopBackend
from optuna_ga.torch._environment import one_thread, usual_settings
from optuna_ga.torch._training import Epoch, Training


class ThreadsBackend(LoopBackend):
    """Trains members side by side.

    A member computes with one thread, whoever trains beside it, so that its result depends
    neither on them nor on the number of cores.
    """

    def train_epoch(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Train the members; see `Backend`."""
        with one_thread(), ThreadPoolExecutor(_n_cores()) as executor:
            return list(executor.map(self._train_in_thread, members))

    def _train_in_thread(self, training: Training) -> tuple[Training, Epoch]:
        with usual_settings(self._recipe.device):  # Some of them are a thread's own.
            return self._train(training)


def _n_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

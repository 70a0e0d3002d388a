"""Members trained at the same time, one on each core of a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from optuna_ga.torch._backends.loop import LoopBackend
from optuna_ga.torch._environment import n_cores, one_thread, usual_settings
from optuna_ga.torch._training import Epoch, Training


class ThreadsBackend(LoopBackend):
    """Trains members side by side.

    A member computes with one thread, whoever trains beside it, so that its result depends
    neither on them nor on the number of cores.
    """

    def train_epoch(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Train the members; see `Backend`."""
        with ThreadPoolExecutor(n_cores()) as executor:
            return list(executor.map(self._train_in_thread, members))

    def _train_in_thread(self, training: Training) -> tuple[Training, Epoch]:
        with one_thread(), usual_settings(self._recipe.device):  # These belong to a thread.
            return self._train(training)

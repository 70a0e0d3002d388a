"""The interface of all backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from optuna_ga.torch._training import Epoch, Training


class Backend(Protocol):
    """Advances members of equal structure and batch size by an epoch."""

    def train_epoch(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Return the members after an epoch, each with the epoch's results.

        The given members stay unchanged, so that an epoch can be tried again with fewer at once.

        Raises:
            torch.OutOfMemoryError: If there is no memory to train as many at once.
        """

    def release(self) -> None:
        """Free the memory that is kept for further epochs."""

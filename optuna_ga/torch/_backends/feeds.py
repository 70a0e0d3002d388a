"""How the batches of a step come to it: from tensors on the device, or from a loader.

A step that is a CUDA graph reads its batch from the same place each time.

Shapes: P members, N examples, B examples of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from optuna_ga.torch._data.loader_data import Data, LoaderData
from optuna_ga.torch._data.tensor_data import TensorData, n_rows
from optuna_ga.torch._training import Training


class Feed(Protocol):
    """Gives batches to steps.

    Attributes:
        counters: Tensors that `batch` changes.
    """

    @property
    def counters(self) -> Sequence[Tensor]: ...

    def load(self, members: Sequence[Training]) -> None:
        """Take the members' epoch, and the orders in which they see the examples."""

    def lengths(self) -> Iterator[int]:
        """Yield B of each batch of the epoch, which is then ready for a step."""

    def batch(self, length: int) -> Any:
        """Return the batch that is ready: tensors `(B, ...)` for all members, or `(P, B, ...)`."""

    def rewind(self) -> None:
        """Return to the first batch, before a step is tried."""


class TensorFeed:
    """Batches of tensors on the device.

    Args:
        data: The examples.
        n_orders: Number of orders: P, or 1 if the members share one; 0 leaves the examples as
            they are stored.
        batch_size: B, except perhaps of the last batch.

    Attributes:
        batch_size: B, which may be changed between epochs.
    """

    def __init__(self, data: TensorData, n_orders: int, batch_size: int) -> None:
        self.batch_size = batch_size
        self._data, self._n_orders = data, n_orders
        self._device = data.device
        in_order = torch.arange(len(data), device=self._device)
        self._order = in_order.repeat(max(n_orders, 1), 1)
        self._position = torch.zeros(1, dtype=torch.int64, device=self._device)
        self.counters = (self._position,)

    def load(self, members: Sequence[Training]) -> None:
        """Take the members' orders; see `Feed`."""
        if self._n_orders:
            unlike = members[: self._n_orders]
            orders = [self._data.order(each.member.seed, each.n_epochs) for each in unlike]
            self._order.copy_(torch.stack(orders))

    def lengths(self) -> Iterator[int]:
        """Yield B of each batch; see `Feed`."""
        self.rewind()
        yield from self._data.lengths(self.batch_size)

    def batch(self, length: int) -> Any:
        """Return the next batch; see `Feed`."""
        places = self._position + torch.arange(length, device=self._device)  # (B,)
        self._position += length
        index = self._order.index_select(1, places)  # (1, B) or (P, B)
        return self._data.take(index[0] if len(index) == 1 else index)

    def rewind(self) -> None:
        """Return to the first batch."""
        self._position.zero_()


class LoaderFeed:
    """Batches of a loader, copied to places of their own for each B, which a graph needs.

    Args:
        data: The loader.
    """

    def __init__(self, data: LoaderData) -> None:
        self.counters = ()
        self._data = data
        self._epoch = 0
        self._places: dict[int, Any] = {}

    def load(self, members: Sequence[Training]) -> None:
        """Take the members' epoch; see `Feed`."""
        self._epoch = members[0].n_epochs

    def lengths(self) -> Iterator[int]:
        """Yield B of each batch; see `Feed`."""
        for batch in self._data.batches(self._epoch):
            length = n_rows(batch)
            if length in self._places:
                tree_map(lambda place, rows: place.copy_(rows), self._places[length], batch)
            else:  # The batch may be the loader's own.
                self._places[length] = tree_map(torch.clone, batch)
            yield length

    def batch(self, length: int) -> Any:
        """Return the batch that is ready; see `Feed`."""
        # A loss may ask for gradients of its inputs.
        return tree_map(torch.Tensor.detach, self._places[length])

    def rewind(self) -> None:
        """Do nothing, since the batch that is ready stays so."""


def feed(data: Data, n_orders: int, batch_size: int) -> Feed:
    """Return a feed of examples, in `n_orders` orders, or of a loader, in its own."""
    if isinstance(data, LoaderData):
        return LoaderFeed(data)
    return TensorFeed(data, n_orders, batch_size)

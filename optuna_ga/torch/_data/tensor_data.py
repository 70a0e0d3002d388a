"""Examples on the device, and the order in which a member sees them.

Shapes: N examples, B of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from optuna_ga._checks import check_callable, check_int, shown
from optuna_ga.torch._randomness.keys import derived_seed


class TensorData:
    """Examples in tensors, one a row.

    A subclass may order them otherwise by `order`, which is called for each epoch.

    >>> data = TensorData(torch.zeros(100, 8), torch.zeros(100), batch_size=64)
    >>> data.lengths(64)
    [64, 36]

    Args:
        *examples: Tensors of N rows each, of which a batch is a tuple; or a single tensor or
            dictionary of tensors, of which a batch is another.
        batch_size: Examples of a batch, at least 1; the last one may be smaller.
        transform: Called with a batch, on the device, before the task sees it; for what is
            better stored otherwise, such as pixels as bytes. It must treat each row by itself.

    Raises:
        TypeError: If `batch_size` is not an integer, or `transform` is not a function.
        ValueError: If the examples are no dense tensors, if these have no rows or differ in their
            number, or if `batch_size` is too small.
    """

    def __init__(
        self,
        *examples: Any,
        batch_size: int = 64,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.batch_size = check_int("batch_size", batch_size, minimum=1)
        if transform is not None:
            check_callable("transform", transform)
        self._examples = examples[0] if len(examples) == 1 else examples
        self._transform = transform
        _check_examples(self._examples)
        # What they were computed from is not trained on, and is differentiated once at most.
        self._examples = tree_map(Tensor.detach, self._examples)

    def __len__(self) -> int:
        return len(tree_leaves(self._examples)[0])

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        place: torch.device = tree_leaves(self._examples)[0].device
        return place

    def order(self, seed: int, epoch: int) -> Tensor:
        """Return the order `(N,)` of the examples in an epoch, counted from 0, on the CPU."""
        generator = torch.Generator("cpu").manual_seed(derived_seed(seed, epoch, "order"))
        return torch.randperm(len(self), generator=generator, device="cpu")

    def lengths(self, batch_size: int) -> list[int]:
        """Return the number of examples of each batch of an epoch."""
        n_whole, rest = divmod(len(self), batch_size)
        return [batch_size] * n_whole + [rest] * (rest > 0)

    def n_batches(self, batch_size: int) -> int:
        """Return the number of batches of an epoch."""
        return len(self.lengths(batch_size))

    def batches(self, batch_size: int, order: Tensor | None = None) -> Iterator[Any]:
        """Yield batches on the device, in an order `(N,)` or, without one, as they are stored."""
        order = torch.arange(len(self), device="cpu") if order is None else order
        for index in order.to(self.device).split(batch_size):
            yield self.take(index)

    def first_batch(self, batch_size: int) -> Any:
        """Return the first batch as stored."""
        return next(self.batches(batch_size))

    def take(self, index: Tensor) -> Any:
        """Return the examples at these places, `index` `(...)` giving tensors `(..., *row)`."""
        flat = index.flatten()
        batch = tree_map(lambda rows: rows.index_select(0, flat), self._examples)
        if self._transform is not None:
            batch = self._transform(batch)
            _check_transformed(batch, len(flat))
        return tree_map(lambda rows: rows.unflatten(0, index.shape), batch)

    def to(self, device: torch.device) -> TensorData:
        """Return the data on a device."""
        moved = object.__new__(type(self))
        moved.__dict__.update(self.__dict__)
        moved._examples = tree_map(lambda rows: rows.to(device), self._examples)
        return moved


def _check_examples(examples: Any) -> None:
    leaves = tree_leaves(examples)
    for leaf in leaves or [examples]:
        if not isinstance(leaf, Tensor) or not leaf.dim():
            raise ValueError(
                "`examples` must be tensors with a row for each example, but "
                f"{shown(leaf)} was given."
            )
        if leaf.layout != torch.strided or leaf.is_nested or leaf.is_meta:
            raise ValueError(
                f"`examples` must be dense tensors with numbers, but {shown(leaf)} was given."
            )
    sizes = {len(leaf) for leaf in leaves}
    if len(sizes) > 1 or not min(sizes):
        raise ValueError(
            "`examples` must have the same number of rows, at least 1, but "
            f"{sorted(sizes)} were given."
        )


def _check_transformed(batch: Any, n: int) -> None:
    rule = "`transform` must return tensors with a row for each example"
    leaves = tree_leaves(batch)
    if not leaves or not all(isinstance(leaf, Tensor) for leaf in leaves):
        raise TypeError(f"{rule}, but it returned {shown(batch)}.")
    for leaf in leaves:
        if leaf.shape[:1] != (n,):
            raise ValueError(
                f"{rule}, but for {n} examples it returned one of shape {tuple(leaf.shape)}."
            )


def n_rows(batch: Any) -> int:
    """Return the number B of examples in a batch."""
    return len(tree_leaves(batch)[0])

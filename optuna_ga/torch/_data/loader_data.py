"""Batches that come from a loader, such as PyTorch's `DataLoader`, in its order.

Shapes: B examples of a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map
from torch.utils.data import DataLoader, Dataset, TensorDataset

from optuna_ga._checks import shown
from optuna_ga._user_warnings import warn_user
from optuna_ga.torch._data.tensor_data import TensorData, n_rows
from optuna_ga.torch._randomness.generators import (
    cpu_states,
    python_kept,
    python_seeded,
    seeded,
    set_cpu_states,
)
from optuna_ga.torch._randomness.keys import derived_seed


class LoaderData:
    """Batches of a loader, of which one at a time is on the device.

    The global generators of PyTorch, Python and NumPy are seeded by the epoch while the loader
    works. So a loader that draws from them, as `DataLoader(shuffle=True)` does without a generator
    of its own, gives an epoch the same batches in the same order whenever that epoch is trained.

    Args:
        name: Name of the argument, for errors.
        loader: An iterable that yields an epoch's batches each time it is iterated. Its length is
            their number. A batch is a tensor, or a tuple, list or dictionary of tensors.
        device: The device that batches are copied to.

    Attributes:
        device: The device.
        batch_size: B of the first batch. Only the last batch of an epoch may have fewer rows.
        failure: The latest error of the loader or of a batch, which all members have in common.

    Raises:
        TypeError: If the loader cannot be iterated anew, has no length, or yields something other
            than tensors.
        ValueError: If it is empty, or if a batch's tensors have no rows or not as many as others.
    """

    def __init__(self, name: str, loader: Any, device: torch.device) -> None:
        self._name, self._loader, self.device = name, loader, device
        if _are_examples(loader):
            raise TypeError(
                f"`{name}` must be a `TensorData` or an iterable of batches, but a tuple of "
                f"tensors was given, {_described(loader)}. `TensorData(*{name})` has one example "
                "in each row; a list of batches is taken as batches."
            )
        if isinstance(loader, Tensor | Mapping | str) or not isinstance(loader, Iterable):
            raise TypeError(
                f"`{name}` must be a `TensorData` or an iterable of batches, such as a "
                f"`DataLoader`, but {shown(loader)} was given.{_hint(name, loader)}"
            )
        if isinstance(loader, Iterator):
            raise TypeError(
                f"`{name}` must be iterable once an epoch, but {shown(loader)} can be iterated "
                "only once. A list of its batches can be iterated again."
            )
        self.failure: Exception | None = None
        self._length = self._checked_length()
        self._first: Any = None
        self._first = next(self.batches(0))
        if getattr(loader, "persistent_workers", False) and not self._has_generator():
            self._warn_of_workers()
        self.batch_size = n_rows(self._first)

    def n_batches(self, batch_size: int) -> int:
        """Return the number of batches of an epoch, which the loader alone decides."""
        return self._length

    def first_batch(self, batch_size: int) -> Any:
        """Return the first batch of epoch 0, on the device."""
        return self._first

    def batches(self, epoch: int) -> Iterator[Any]:
        """Yield the batches of an epoch, counted from 0, on the device.

        Raises:
            TypeError: If a batch has something other than tensors.
            ValueError: If a batch has another shape than the first, or if there are more or fewer
                batches than the loader's length says.
        """
        try:
            yield from self._checked_batches(epoch)
        except Exception as error:
            self.failure = error
            raise

    def _checked_batches(self, epoch: int) -> Iterator[Any]:
        n = 0
        before = self._first
        for batch in self._batches_of_loader(epoch):
            n += 1
            self._check_batch(n, batch, before)
            before = batch
            yield tree_map(self._placed, batch)
        if n != self._length:
            raise ValueError(self._wrong_length(f"only {n} of"))

    def _placed(self, rows: Tensor) -> Tensor:
        """Return a tensor on the device, one that gradients can be taken of, and no further."""
        # Others than PyTorch's may refill pinned memory before it is copied.
        is_kept = isinstance(self._loader, DataLoader)
        rows = rows.detach().to(self.device, non_blocking=is_kept)
        return rows.clone() if rows.is_inference() else rows

    def _batches_of_loader(self, epoch: int) -> Iterator[Any]:
        """Yield what the loader yields, with random states of its own."""
        seed = derived_seed(epoch, "loader")
        with seeded(seed), python_seeded(seed):
            iterator = iter(self._loader)
            states = cpu_states()
        while True:
            with seeded(0), python_kept():
                set_cpu_states(states)
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
                states = cpu_states()
            yield batch

    def _has_generator(self) -> bool:
        """Return whether the loader draws from a generator of its own."""
        owners = [self._loader, getattr(self._loader, "batch_sampler", None)]
        owners += [getattr(each, "sampler", None) for each in owners]
        return any(getattr(each, "generator", None) is not None for each in owners)

    def _warn_of_workers(self) -> None:
        """Warn if workers that live on draw other numbers when an epoch is repeated."""
        # Only the first epoch of all draws a seed for the workers, and then another order.
        once, again = (tree_leaves(next(self.batches(0))) for _ in range(2))
        pairs = zip(once, again, strict=True)
        if not all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in pairs):
            warn_user(
                f"`{self._name}` should not have `persistent_workers=True`: its workers draw "
                "random numbers, and go on with them from epoch to epoch, so that results depend "
                "on what was trained before."
            )

    def _checked_length(self) -> int:
        """Return the loader's number of batches."""
        rule = f"`{self._name}` must have a length, its number of batches"
        try:
            if not isinstance(self._loader, Sized):
                raise TypeError(f"{type(self._loader).__name__} has none")
            length = len(self._loader)
        except TypeError as error:  # As of a `DataLoader` of an iterable-style data set.
            raise TypeError(f"{rule}, but {error}.") from error
        if not length:
            raise ValueError(f"{rule}, of at least 1, but {shown(self._loader)} is empty.")
        return length

    def _check_batch(self, n: int, batch: Any, before: Any) -> None:
        leaves, _ = tree_flatten(batch)
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise TypeError(
                    f"`{self._name}` must yield batches of tensors, but batch {n} has "
                    f"{shown(leaf)}."
                )
        if n > self._length:
            raise ValueError(self._wrong_length("more than"))
        if not leaves or len({rows.shape[:1] for rows in leaves}) > 1 or not leaves[0].dim():
            raise ValueError(
                f"`{self._name}` must yield tensors with a row for each example, but batch {n} "
                f"has {_described(batch)}."
            )
        if before is None:
            return
        is_alike = _layout(batch) == _layout(self._first)
        whole = n_rows(self._first)
        if not is_alike or n_rows(batch) > whole or n_rows(before) < whole:
            raise ValueError(
                f"`{self._name}` must yield batches of one shape, of which only the last may have "
                f"fewer rows, but batch {n} has {_described(batch)}, the one before "
                f"{_described(before)}, and the first of all {_described(self._first)}."
            )

    def _wrong_length(self, found: str) -> str:
        return (
            f"`{self._name}` must yield as many batches as its length says, but it yielded "
            f"{found} {self._length}."
        )


Data = TensorData | LoaderData


def as_data(name: str, data: Any, device: torch.device) -> Data:
    """Return examples, or a loader's batches, on a device."""
    return data.to(device) if isinstance(data, TensorData) else LoaderData(name, data, device)


def _are_examples(data: object) -> bool:
    """Return whether this is a tuple of tensors with as many rows, rather than batches."""
    return (
        isinstance(data, tuple)
        and len(data) > 1
        and all(isinstance(each, Tensor) and each.dim() for each in data)
        and len({len(each) for each in data}) == 1
    )


def _hint(name: str, data: object) -> str:
    """Return how a data set of PyTorch becomes batches."""
    if isinstance(data, TensorDataset):
        return f" `TensorData(*{name}.tensors, batch_size=...)` has its examples."
    return f" `DataLoader({name}, batch_size=...)` has batches." * isinstance(data, Dataset)


def _layout(batch: Any) -> tuple[Any, ...]:
    """Return all of a batch's shape but the number of rows."""
    leaves, structure = tree_flatten(batch)
    return structure, [(rows.dtype, rows.shape[1:]) for rows in leaves]


def _described(batch: Any) -> str:
    return ", ".join(f"{tuple(rows.shape)} {rows.dtype}" for rows in tree_flatten(batch)[0])

"""Trains a population chunk by chunk, each chunk as one.

Members of one chunk share their batches, so those of another seed, or that have trained for
another number of epochs before, train in another chunk.

Shapes: P members of the population, N images.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor

from optuna_ga.fashion_mnist._chunks import Chunk, Stack, VmapChunk
from optuna_ga.fashion_mnist._data import Images
from optuna_ga.fashion_mnist._network import dropout_seed
from optuna_ga.fashion_mnist._trainers import AfterEpoch, Member
from optuna_ga.fashion_mnist._training import LEARNING_RATE_DECAY, Epoch, State, image_orders
from optuna_ga.torch._backends.cuda_graph import Capturer
from optuna_ga.torch._environment import Precision, usual_settings

# A chunk takes the smallest of these sizes that holds it, so that few graphs are captured, and
# time falls as members drop out. More members at once would gain no speed and cost memory.
CHUNK_SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)


class StackedTrainer:
    """Trains members in chunks, each as one network.

    The results on a CPU do not depend on who trains beside whom. On a GPU they do within
    rounding, since the library's kernels depend on the size of the chunk. If the memory does
    not suffice, chunks are halved, with one warning.

    Args:
        device: Where to train.
        precision: The precision of products.
        dropout: Whether to train with dropout.
        learning_rate_decay: Factor of the learning rates after each epoch.
        dtype: Type of the weights; float64 is for tests.
        largest_chunk: How many members to train at once, from 1 to 16.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        precision: Precision = "float32",
        dropout: bool = False,
        learning_rate_decay: float = LEARNING_RATE_DECAY,
        dtype: torch.dtype = torch.float32,
        largest_chunk: int = CHUNK_SIZES[-1],
    ) -> None:
        self._learning_rate_decay = learning_rate_decay
        self._device = device
        self._precision: Precision = precision
        self._dropout = dropout
        self._dtype = dtype
        self._largest_chunk = largest_chunk
        self._warned = False
        fused = (
            device.type == "cuda"
            and dtype == torch.float32
            and precision != "float32"  # Triton compiles products of float32 for minutes.
            and _has_triton()
        )
        self._kind = _fused_chunk() if fused else VmapChunk
        self._capturer = Capturer(device)
        self._chunks: dict[tuple[int, ...], Chunk] = {}

    def train(
        self,
        members: Sequence[Member],
        training: Images,
        validation: Images,
        epochs: int,
        after_epoch: AfterEpoch,
    ) -> list[State | None]:
        """Train the population; see `Trainer`."""
        with usual_settings(self._device):
            return self._train(members, training, validation, epochs, after_epoch)

    def _train(
        self,
        members: Sequence[Member],
        training: Images,
        validation: Images,
        epochs: int,
        after_epoch: AfterEpoch,
    ) -> list[State | None]:
        stack = Stack(members, self._device, self._dtype)
        classes = [(m.seed, m.start.n_epochs if m.start else 0) for m in members]
        orders = {key: image_orders(len(training.labels), *key) for key in classes}
        alive = list(range(len(members)))
        for epoch in range(epochs):
            results: dict[int, Epoch | None] = {}
            for key in dict.fromkeys(classes[position] for position in alive):
                seed, n_before = key
                mask_seed = dropout_seed(seed, n_before + epoch)
                lesson = _Lesson(training, validation, next(orders[key]), mask_seed)
                group = [position for position in alive if classes[position] == key]
                for rows in split_evenly(group, self._largest_chunk):
                    ended = self._train_rows(stack, rows, lesson)
                    results |= zip(rows, ended, strict=True)
            stack.decay_learning_rates(self._learning_rate_decay)
            dropped = after_epoch({position: results[position] for position in alive})
            alive = [p for p in alive if results[p] is not None and p not in dropped]
            if not alive:
                break
        return [
            stack.state(row, member, epochs) if row in alive else None
            for row, member in enumerate(members)
        ]

    def _train_rows(
        self, stack: Stack, rows: Sequence[int], lesson: _Lesson
    ) -> list[Epoch | None]:
        """Train these rows of the stack for an epoch, in halves if the memory does not suffice."""
        results = self._try_rows(stack, rows, lesson)
        if results is None and self._chunks:  # Idle chunks of other sizes hold memory too.
            self._release()
            results = self._try_rows(stack, rows, lesson)
        if results is not None:
            return results
        self._shrink(len(rows))
        return [
            result
            for part in split_evenly(rows, self._largest_chunk)
            for result in self._train_rows(stack, part, lesson)
        ]

    def _try_rows(
        self, stack: Stack, rows: Sequence[int], lesson: _Lesson
    ) -> list[Epoch | None] | None:
        """Train these rows as one chunk; None, and the stack as it was, if memory runs out."""
        try:
            chunk = self._chunk(len(rows), lesson.training, lesson.validation)
            chunk.load(stack, rows)
            results = chunk.train_epoch(lesson.order, lesson.mask_seed)[: len(rows)]
        except RuntimeError as error:
            # While a graph is captured, it may come as another error than OutOfMemoryError.
            if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in str(error):
                raise
            return None  # Leaving this frame lets go of the chunk, which holds the memory.
        chunk.store(stack, rows)
        return results

    def _chunk(self, n_members: int, training: Images, validation: Images) -> Chunk:
        size = next(size for size in CHUNK_SIZES if size >= n_members)
        key = size, *_identity(training), *_identity(validation)
        if key not in self._chunks:
            self._chunks[key] = self._kind(
                size,
                training,
                validation,
                dtype=self._dtype,
                precision=self._precision,
                dropout=self._dropout,
                capturer=self._capturer,
            )
        return self._chunks[key]

    def _shrink(self, n_members: int) -> None:
        self._release()
        if n_members == 1:
            raise torch.OutOfMemoryError("There is no memory to train a single network.")
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"There is no memory to train {n_members} networks at once; smaller chunks are "
                "taken from here on.",
                RuntimeWarning,
                stacklevel=2,
            )
        self._largest_chunk = n_members // 2

    def _release(self) -> None:
        self._chunks.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def split_evenly(rows: Sequence[int], largest: int) -> Iterator[Sequence[int]]:
    """Yield parts of nearly equal length, none longer than `largest`.

    >>> [len(part) for part in split_evenly(range(50), 16)]
    [13, 13, 13, 11]
    """
    size = math.ceil(len(rows) / math.ceil(len(rows) / largest))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


class _Lesson(NamedTuple):
    """Images, their order `(N,)` and the seed of dropout, which members share in an epoch."""

    training: Images
    validation: Images
    order: Tensor
    mask_seed: int


def _identity(images: Images) -> tuple[int, int]:
    return images.pixels.data_ptr(), len(images.labels)


def _has_triton() -> bool:
    return find_spec("triton") is not None


def _fused_chunk() -> type[Chunk]:
    from optuna_ga.fashion_mnist._fused import FusedChunk  # Needs Triton, which needs Linux.

    return FusedChunk

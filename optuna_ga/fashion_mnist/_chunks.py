"""A chunk: some members of a population, trained as one.

All members see the same batches, each with weights and settings of its own. On a GPU a whole step
(taking the batch, forward, backward, SGD) is captured as a CUDA graph and replayed, and the host
waits once an epoch. On a CPU the same steps run uncaptured.

`VmapChunk` writes the step in plain PyTorch; `FusedChunk`, in `_fused.py`, in kernels of its own.
Nothing that becomes infinite or NaN in one member reaches another.

Shapes: P members of the population, C members of a chunk, B images in a batch, N images.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga.fashion_mnist._data import Images, normalize
from optuna_ga.fashion_mnist._network import Kept, Network, draw_kept
from optuna_ga.fashion_mnist._trainers import Member
from optuna_ga.fashion_mnist._training import (
    BATCH_SIZE,
    Epoch,
    State,
    computing,
    initial_state,
)
from optuna_ga.torch._backends.cuda_graph import Capturer
from optuna_ga.torch._environment import Precision


class Stack:
    """The weights `(P, ...)`, momenta and settings `(P,)` of a population.

    Args:
        members: The P members.
        device: Where the tensors lie.
        dtype: Type of the weights.
    """

    def __init__(
        self, members: Sequence[Member], device: torch.device, dtype: torch.dtype
    ) -> None:
        # Seeds are few, and a network is small.
        seeds = {m.seed for m in members if m.start is None}
        initial = {seed: initial_state(seed, device) for seed in seeds}
        starts = [m.start or initial[m.seed] for m in members]
        self.weights, self.momenta = (
            {
                name: torch.stack([tensors[name] for tensors in each]).to(device, dtype)
                for name in each[0]
            }
            for each in ([s.weights for s in starts], [s.momenta for s in starts])
        )
        settings = torch.tensor([m[:3] for m in members], dtype=torch.float64)  # (P, 3)
        self.settings = settings.to(device, dtype)  # Learning rate, momentum, weight decay.

    def decay_learning_rates(self, factor: float) -> None:
        """Multiply the learning rates."""
        self.settings[:, 0] *= factor

    def state(self, row: int, member: Member, epochs: int) -> State:
        """Return the state of a member after so many epochs, as views of its row."""
        weights = {name: each[row] for name, each in self.weights.items()}
        # Without momentum PyTorch's SGD keeps no buffer.
        momenta = {
            name: each[row] if member.momentum else torch.zeros_like(each[row])
            for name, each in self.momenta.items()
        }
        n_before = member.start.n_epochs if member.start else 0
        return State(weights, momenta, n_before + epochs, member.seed)


class Chunk(ABC):
    """C networks with their data, at fixed places in memory, as a CUDA graph needs them.

    Args:
        size: The number C of members.
        training: The images to train on.
        validation: The images to evaluate on.
        dtype: Type of the weights.
        precision: The precision of products.
        dropout: Whether to train with dropout.
        capturer: Captures steps as CUDA graphs.
    """

    EVALUATION_BATCH_SIZE: ClassVar[int]

    def __init__(
        self,
        size: int,
        training: Images,
        validation: Images,
        *,
        dtype: torch.dtype,
        precision: Precision,
        dropout: bool,
        capturer: Capturer,
    ) -> None:
        self.size = size
        self._training, self._validation = training, validation
        self._dtype, self._precision = dtype, precision
        self._device = training.labels.device
        zeros = partial(torch.zeros, size, dtype=dtype, device=self._device)
        self._loss, self._validation_loss, self._n_correct = zeros(), zeros(), zeros()
        self._masks = torch.Generator(self._device) if dropout else None
        self._order = torch.zeros_like(training.labels)
        self._in_order = torch.arange(len(validation.labels), device=self._device)
        self._position = torch.zeros((), dtype=torch.int64, device=self._device)
        self._offsets = torch.arange(
            max(BATCH_SIZE, self.EVALUATION_BATCH_SIZE), device=self._device
        )
        self._allocate()
        run = partial(_Pass, position=self._position, capturer=capturer, generator=self._masks)
        with computing(precision, self._device):
            self._train = run(self._train_batch, len(training.labels), BATCH_SIZE)
            self._evaluate = run(
                self._evaluate_batch, len(validation.labels), self.EVALUATION_BATCH_SIZE
            )

    @abstractmethod
    def _allocate(self) -> None:
        """Make the tensors for weights, momenta, settings, and all that a step writes."""

    @abstractmethod
    def _train_batch(self, batch: int) -> None:
        """Take a step of SGD on the next images, and add the sums of their losses to `_loss`."""

    @abstractmethod
    def _evaluate_batch(self, batch: int) -> None:
        """Add to `_validation_loss` and `_n_correct` for the next images."""

    @abstractmethod
    def _write(
        self, weights: Mapping[str, Tensor], momenta: Mapping[str, Tensor], settings: Tensor
    ) -> None:
        """Take these weights and momenta `(C, ...)` by name, and settings `(C, 3)`."""

    @abstractmethod
    def _read(self) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """Return the weights and momenta `(C, ...)` by name."""

    def _next(self, images: Images, order: Tensor, batch: int) -> Images:
        return images.take(order[self._position + self._offsets[:batch]])

    def _add_evaluation(self, logits: Tensor, labels: Tensor) -> None:
        """Add the losses and the hits of logits `(C, B, 10)` for labels `(B,)`."""
        repeated = labels.expand(self.size, -1)
        losses = F.cross_entropy(logits.flatten(0, 1), repeated.flatten(), reduction="none")
        self._validation_loss += losses.view(repeated.shape).sum(1)
        self._n_correct += (logits.argmax(2) == repeated).sum(1)

    def load(self, stack: Stack, rows: Sequence[int]) -> None:
        """Take rows of the population; unused places repeat the first and do not learn."""
        padded = [*rows, *[rows[0]] * (self.size - len(rows))]
        index = torch.tensor(padded, device=self._device)
        settings = stack.settings[index]
        settings[len(rows) :, 0] = 0.0
        self._write(
            {name: each[index] for name, each in stack.weights.items()},
            {name: each[index] for name, each in stack.momenta.items()},
            settings,
        )

    def store(self, stack: Stack, rows: Sequence[int]) -> None:
        """Give weights and momenta back to their rows."""
        index = torch.tensor(rows, device=self._device)
        for mine, theirs in zip(self._read(), (stack.weights, stack.momenta), strict=True):
            for name, each in theirs.items():
                each[index] = mine[name][: len(rows)]

    def train_epoch(self, order: Tensor, mask_seed: int) -> list[Epoch | None]:
        """Train on every image once and evaluate; None for members that diverged.

        Args:
            order: The order `(N,)` of the training images.
            mask_seed: Seed of the epoch's dropout.
        """
        self._order.copy_(order)
        if self._masks is not None:
            self._masks.manual_seed(mask_seed)
        sums = self._loss, self._validation_loss, self._n_correct
        for each in sums:
            each.zero_()
        with computing(self._precision, self._device):
            self._train.run()
            self._evaluate.run()
        n, n_validation = len(order), len(self._in_order)
        counts = torch.tensor([n, n_validation, n_validation], device=self._device)
        ended = torch.stack(sums, dim=1) / counts  # (C, 3)
        epochs = [Epoch(*row) for row in ended.tolist()]  # The one wait for the device.
        return [epoch if all(map(math.isfinite, epoch[:2])) else None for epoch in epochs]


class _Pass:
    """A step repeated over all images of a data set, the last batch being smaller.

    Args:
        step: Takes the number of images in its batch.
        n: The number of images.
        batch_size: The number of images in a whole batch.
        position: Where the next batch begins.
        capturer: Captures a step, one for each size of a batch.
        generator: The generator that steps draw from.
    """

    def __init__(
        self,
        step: Callable[[int], None],
        n: int,
        batch_size: int,
        *,
        position: Tensor,
        capturer: Capturer,
        generator: torch.Generator | None,
    ) -> None:
        self._batches = [batch_size] * (n // batch_size) + [n % batch_size] * (n % batch_size > 0)
        self._position = position
        self._steps = {
            batch: capturer.capture(partial(self._advance, step, batch), position.zero_, generator)
            for batch in set(self._batches)
        }

    def _advance(self, step: Callable[[int], None], batch: int) -> None:
        step(batch)
        self._position += batch

    def run(self) -> None:
        self._position.zero_()
        for batch in self._batches:
            self._steps[batch]()


class VmapChunk(Chunk):
    """The step in plain PyTorch: `torch.func.vmap` over `Network` and its gradient."""

    EVALUATION_BATCH_SIZE = 1000

    def _allocate(self) -> None:
        with torch.device("meta"):
            self._network = Network()
        blank = Stack([Member(0.0, 0.0, 0.0)] * self.size, self._device, self._dtype)
        self._weights, self._momenta = blank.weights, blank.momenta
        self._settings = blank.settings
        self._logits = vmap(self._logits_of_one, in_dims=(0, None, None))
        self._gradients = vmap(grad_and_value(self._loss_of_one), in_dims=(0, None, None, None))

    def _logits_of_one(
        self, weights: Mapping[str, Tensor], pixels: Tensor, kept: Kept | None
    ) -> Tensor:
        logits: Tensor = functional_call(self._network, dict(weights), (pixels, kept))
        return logits

    def _loss_of_one(
        self, weights: Mapping[str, Tensor], pixels: Tensor, labels: Tensor, kept: Kept | None
    ) -> Tensor:
        return F.cross_entropy(self._logits_of_one(weights, pixels, kept), labels)

    def _train_batch(self, batch: int) -> None:
        pixels, labels = self._next(self._training, self._order, batch)
        pixels = normalize(pixels, self._dtype)
        kept = None if self._masks is None else draw_kept(batch, self._masks)
        gradients, losses = self._gradients(self._weights, pixels, labels, kept)
        rate, momentum, decay = self._settings.unbind(1)  # (C,) each
        for name, weights in self._weights.items():
            momenta = self._momenta[name]
            decayed = torch.addcmul(gradients[name], weights, _like(decay, weights))
            momenta.mul_(_like(momentum, weights)).add_(decayed)
            weights.addcmul_(momenta, _like(rate, weights), value=-1)
        self._loss += losses * batch

    def _evaluate_batch(self, batch: int) -> None:
        pixels, labels = self._next(self._validation, self._in_order, batch)
        pixels = normalize(pixels, self._dtype)
        with torch.no_grad():
            self._add_evaluation(self._logits(self._weights, pixels, None), labels)

    def _write(
        self, weights: Mapping[str, Tensor], momenta: Mapping[str, Tensor], settings: Tensor
    ) -> None:
        for mine, theirs in ((self._weights, weights), (self._momenta, momenta)):
            for name, each in mine.items():
                each.copy_(theirs[name])
        self._settings.copy_(settings)

    def _read(self) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        return self._weights, self._momenta


def _like(setting: Tensor, weights: Tensor) -> Tensor:
    """Return a setting `(C,)` as a view that multiplies weights `(C, ...)`."""
    return setting.view(-1, *[1] * (weights.dim() - 1))

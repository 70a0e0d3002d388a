"""A chunk of members whose step is a few Triton kernels: the fastest way on a GPU.

All members see the same batches, each with weights and settings of its own. A whole step (taking
the batch, forward, backward, SGD) is captured as a CUDA graph and replayed, and the host waits
once an epoch. Nothing that becomes infinite or NaN in one member reaches another.

Convolution, bias, ReLU and pooling are one kernel each way. The backward pass of a fully connected
layer takes SGD's step on the way, so that most gradients never reach memory. The layouts and the
kernels are in `_fused_kernels.py`.

Shapes: C members of a chunk, B images in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
import triton
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga.fashion_mnist import _fused_kernels as kernels
from optuna_ga.fashion_mnist._data import Images
from optuna_ga.fashion_mnist._network import DROPOUT_PROBS
from optuna_ga.fashion_mnist._training import BATCH_SIZE, in_precision
from optuna_ga.torch._backends.cuda_graph import Capturer
from optuna_ga.torch._environment import Precision
from optuna_ga.torch._randomness.member_randomness import MemberRandomness
from optuna_ga.torch._training import Epoch

# Tile shapes, the fastest of those measured on an H200.
_CONV1_ROWS = 128
_CONV2_ROWS = 64
_CONV2_WEIGHT_ROWS = 32
_CONV1_WEIGHT_ROWS = 64
_FC1_COLUMNS = 64
_CONV1_PARTS = 32
# Enough programs for every multiprocessor of a large GPU, whatever C is.
_N_PROGRAMS = 128

# The type of activations, and how products of float32 are computed.
_TYPES: Mapping[Precision, tuple[torch.dtype, str]] = {
    "float32": (torch.float32, "ieee"),
    "tf32": (torch.float32, "tf32"),
    "bfloat16": (torch.bfloat16, "tf32"),
}


class Packed(NamedTuple):
    """Weights, or momenta, in the layouts of the kernels."""

    filters1: Tensor
    filters2: Tensor
    bias2: Tensor
    matrix1: Tensor
    bias3: Tensor
    matrix2: Tensor
    bias4: Tensor


class FusedChunk:
    """C networks with their data, at fixed places in memory, as a CUDA graph needs them.

    Args:
        size: The number C of members.
        training: The images to train on.
        validation: The images to evaluate on.
        precision: The precision of products.
        dropout: Whether to train with dropout.
        capturer: Captures steps as CUDA graphs.
    """

    EVALUATION_BATCH_SIZE = BATCH_SIZE

    def __init__(
        self,
        size: int,
        training: Images,
        validation: Images,
        *,
        precision: Precision,
        dropout: bool,
        capturer: Capturer,
    ) -> None:
        self.size = size
        self._training, self._validation = training, validation
        self._precision, self._dropout = precision, dropout
        self._device = training.labels.device
        zeros = partial(torch.zeros, size, dtype=torch.float32, device=self._device)
        self._loss, self._validation_loss, self._n_correct = zeros(), zeros(), zeros()
        self._order = torch.zeros_like(training.labels)
        self._in_order = torch.arange(len(validation.labels), device=self._device)
        self._position = torch.zeros((), dtype=torch.int64, device=self._device)
        self._offsets = torch.arange(
            max(BATCH_SIZE, self.EVALUATION_BATCH_SIZE), device=self._device
        )
        self._key, self._step = (
            torch.zeros((), dtype=torch.int32, device=self._device) for _ in range(2)
        )
        self._allocate()
        run = partial(_Pass, position=self._position, capturer=capturer)
        with in_precision(precision, self._device):
            self._train = run(self._train_batch, len(training.labels), BATCH_SIZE)
            self._evaluate = run(
                self._evaluate_batch, len(validation.labels), self.EVALUATION_BATCH_SIZE
            )

    def load(
        self, weights: Mapping[str, Tensor], momenta: Mapping[str, Tensor], settings: Tensor
    ) -> None:
        """Take weights and momenta `(C, ...)` by name, and settings `(C, 3)`.

        Args:
            weights: The members'.
            momenta: The members'.
            settings: Learning rates, momenta and weight decays.
        """
        for packed, named in ((self._weights, weights), (self._momenta, momenta)):
            for mine, theirs in zip(packed, pack(named), strict=True):
                mine.copy_(theirs)
        for rounded, exact in (
            (self._rounded1, self._weights.matrix1), (self._rounded2, self._weights.filters2),
        ):  # fmt: skip
            if rounded is not None:
                rounded.copy_(exact)
        self._settings.copy_(settings)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the weights and momenta `(C, ...)` by name."""
        return unpack(self._weights), unpack(self._momenta)

    def train_epoch(self, order: Tensor, key: int) -> list[Epoch]:
        """Train on every image once and evaluate.

        Args:
            order: The order `(N,)` of the training images.
            key: Of the epoch's dropout.
        """
        self._order.copy_(order)
        self._key.fill_(key)
        sums = self._loss, self._validation_loss, self._n_correct
        for each in (*sums, self._step):
            each.zero_()
        with in_precision(self._precision, self._device):
            self._train.run()
            self._evaluate.run()
        n, n_validation = len(order), len(self._in_order)
        counts = torch.tensor([n, n_validation, n_validation], device=self._device)
        ended = torch.stack(sums, dim=1) / counts  # (C, 3)
        # The one wait for the device.
        return [
            Epoch(train, {"loss": loss, "accuracy": hits}) for train, loss, hits in ended.tolist()
        ]

    def _allocate(self) -> None:
        size, batch, device = self.size, BATCH_SIZE, self._device
        dtype, self._product = _TYPES[self._precision]
        self._weights, self._momenta = (_packed_zeros(size, device) for _ in range(2))
        is_half = dtype != torch.float32
        self._rounded1 = torch.zeros_like(self._weights.matrix1, dtype=dtype) if is_half else None
        self._rounded2 = torch.zeros_like(self._weights.filters2, dtype=dtype) if is_half else None
        self._settings = torch.zeros(size, 3, device=device, dtype=torch.float32)
        self._parts = min(max(_N_PROGRAMS // size, 8), 32)

        def empty(*shape: int, dtype: torch.dtype = dtype) -> Tensor:
            return torch.empty(size, *shape, dtype=dtype, device=device)

        # A smaller last batch uses the beginning of each.
        self._hidden1, self._dhidden1 = (empty(batch * 676 * 32) for _ in range(2))
        self._pooled, self._dpooled = (empty(batch * 12 * 768) for _ in range(2))
        self._winners = empty(batch * 12 * 768, dtype=torch.int8)
        self._dhidden2 = empty(batch * 128)
        self._gradients1 = empty(_CONV1_PARTS, 16, 32, dtype=torch.float32)
        self._gradients2 = empty(self._parts, 9, 64, 32, dtype=torch.float32)
        self._bias_gradients2 = empty(self._parts, 64, dtype=torch.float32)

    def _train_batch(self, batch: int) -> None:
        with torch.autocast(self._device.type, enabled=False):
            first, second = self._dropout_factors(batch)
            partial = self._forward(self._training, self._order, batch, first)
            self._backward_through_fc(partial, batch, second)
            if first is not None:
                self._view(self._dpooled, batch).mul_(first)
            self._backward_through_convolutions(batch)
        self._step += 1

    def _evaluate_batch(self, batch: int) -> None:
        with torch.autocast(self._device.type, enabled=False), torch.no_grad():
            partial = self._forward(self._validation, self._in_order, batch, None)
            weights = self._weights
            hidden = partial.view(self.size, 12, batch, 128).sum(1)
            hidden = F.relu(hidden + weights.bias3.unsqueeze(1))  # (C, B, 128)
            logits = torch.baddbmm(weights.bias4.unsqueeze(1), hidden, weights.matrix2)
            labels = self._validation.labels[self._position + self._offsets[:batch]]
            self._add_evaluation(logits[..., :10], labels)

    def _add_evaluation(self, logits: Tensor, labels: Tensor) -> None:
        """Add the losses and the hits of logits `(C, B, 10)` for labels `(B,)`."""
        repeated = labels.expand(self.size, -1)
        losses = F.cross_entropy(logits.flatten(0, 1), repeated.flatten(), reduction="none")
        self._validation_loss += losses.view(repeated.shape).sum(1)
        self._n_correct += (logits.argmax(2) == repeated).sum(1)

    def _forward(
        self, images: Images, order: Tensor, batch: int, factors: Tensor | None
    ) -> Tensor:
        """Return fc1's sums `(12 C, B, 128)` over each twelfth of its inputs, without bias."""
        weights = self._weights
        kernels.conv1_forward[triton.cdiv(batch * 676, _CONV1_ROWS), self.size](
            images.pixels, order, self._position, weights.filters1, self._hidden1,
            B=batch, ROWS=_CONV1_ROWS,
        )  # fmt: skip
        kernels.conv2_forward[triton.cdiv(batch * 144, _CONV2_ROWS), self.size](
            self._hidden1, self._filters2, weights.bias2, self._pooled, self._winners,
            B=batch, ROWS=_CONV2_ROWS, PRECISION=self._product,
        )  # fmt: skip
        pooled = self._view(self._pooled, batch)
        if factors is not None:
            pooled.mul_(factors)
        pooled = pooled.view(self.size * 12, batch, 768)
        matrix = weights.matrix1 if self._rounded1 is None else self._rounded1
        matrix = matrix.view(self.size * 12, 768, 128)
        if pooled.dtype == torch.float32:
            return torch.bmm(pooled, matrix)
        if pooled.is_cuda:
            return torch.bmm(pooled, matrix, out_dtype=torch.float32)
        return torch.bmm(pooled.float(), matrix.float())  # Triton's interpreter, in tests.

    def _backward_through_fc(self, partial: Tensor, batch: int, factors: Tensor | None) -> None:
        weights, momenta = self._weights, self._momenta
        padded = max(triton.next_power_of_2(batch), 16)  # The shortest side of a product is 16.
        shape = {"B": batch, "PADDED": padded, "PRECISION": self._product}
        kernels.fc2_step[(self.size,)](
            partial, weights.bias3, weights.matrix2, weights.bias4, self._order, self._position,
            self._training.labels, factors, self._dhidden2, self._loss,
            momenta.bias3, momenta.matrix2, momenta.bias4, self._settings, **shape,
        )  # fmt: skip
        kernels.fc1_step[12 * 768 // _FC1_COLUMNS, self.size](
            weights.matrix1, momenta.matrix1, self._rounded1, self._pooled, self._dhidden2,
            self._dpooled, self._settings, COLUMNS=_FC1_COLUMNS, num_warps=8, **shape,
        )  # fmt: skip

    def _backward_through_convolutions(self, batch: int) -> None:
        weights, momenta, size = self._weights, self._momenta, self.size
        kernels.conv2_backward_weight[self._parts, size](
            self._hidden1, self._dpooled, self._winners, self._gradients2, self._bias_gradients2,
            B=batch, ROWS=_CONV2_WEIGHT_ROWS, PARTS=self._parts, PRECISION=self._product,
            num_warps=8,
            num_stages=1 if self._rounded2 is None else 2,
        )  # fmt: skip
        kernels.conv2_backward_input[triton.cdiv(batch * 169, _CONV2_ROWS), size](
            self._dpooled, self._winners, self._filters2, self._hidden1, self._dhidden1,
            B=batch, ROWS=_CONV2_ROWS, PRECISION=self._product,
        )  # fmt: skip
        kernels.conv1_backward_weight[_CONV1_PARTS, size](
            self._training.pixels, self._order, self._position, self._dhidden1, self._gradients1,
            B=batch, ROWS=_CONV1_WEIGHT_ROWS, PARTS=_CONV1_PARTS, PRECISION=self._product,
        )  # fmt: skip
        kernels.convolutions_sgd[10, size](
            weights.filters1, momenta.filters1, self._gradients1,
            weights.filters2, momenta.filters2, self._rounded2, self._gradients2,
            weights.bias2, momenta.bias2, self._bias_gradients2, self._settings,
            PARTS1=_CONV1_PARTS, PARTS2=self._parts,
        )  # fmt: skip

    def _dropout_factors(self, batch: int) -> tuple[Tensor | None, Tensor | None]:
        """Return the factors of pooled values `(12, B, 768)` and of fc1's outputs `(B, 128)`."""
        if not self._dropout:
            return None, None
        shapes = (batch, 64 * 12 * 12), (batch, 128)
        ones = (torch.ones(shape, device=self._device, dtype=torch.float32) for shape in shapes)
        with MemberRandomness(self._key, self._step):
            first, second = map(F.dropout, ones, DROPOUT_PROBS)
        pooled = first.view(batch, 64, 12, 12).permute(2, 0, 3, 1).reshape(12, batch, 768)
        return pooled.to(self._pooled.dtype), second

    @property
    def _filters2(self) -> Tensor:
        return self._weights.filters2 if self._rounded2 is None else self._rounded2

    def _view(self, activations: Tensor, batch: int) -> Tensor:
        """Return the values `(C, 12, B, 768)` of a batch."""
        used = activations.view(-1)[: self.size * 12 * batch * 768]
        return used.view(self.size, 12, batch, 768)


class _Pass:
    """A step repeated over all images of a data set, the last batch being smaller.

    Args:
        step: Takes the number of images in its batch.
        n: The number of images.
        batch_size: The number of images in a whole batch.
        position: Where the next batch begins.
        capturer: Captures a step, one for each size of a batch.
    """

    def __init__(
        self,
        step: Callable[[int], None],
        n: int,
        batch_size: int,
        *,
        position: Tensor,
        capturer: Capturer,
    ) -> None:
        self._batches = [batch_size] * (n // batch_size) + [n % batch_size] * (n % batch_size > 0)
        self._position = position
        self._steps = {
            batch: capturer.capture(partial(self._advance, step, batch), position.zero_)
            for batch in set(self._batches)
        }

    def _advance(self, step: Callable[[int], None], batch: int) -> None:
        step(batch)
        self._position += batch

    def run(self) -> None:
        self._position.zero_()
        for batch in self._batches:
            self._steps[batch]()


def pack(named: Mapping[str, Tensor]) -> Packed:
    """Return a network's weights `(C, ...)` in the layouts of the kernels."""
    size = len(named["conv1.bias"])
    filters1 = F.pad(named["conv1.weight"].reshape(size, 32, 9).transpose(1, 2), (0, 0, 0, 7))
    filters1[:, 9] = named["conv1.bias"]
    filters2 = named["conv2.weight"].permute(0, 3, 4, 2, 1).reshape(size, 9, 32, 64)
    matrix1 = named["fc1.weight"].reshape(size, 128, 64, 12, 12).permute(0, 3, 4, 2, 1)
    matrix2 = F.pad(named["fc2.weight"].transpose(1, 2), (0, 6))
    return Packed(
        filters1, filters2, named["conv2.bias"], matrix1.reshape(size, 12, 768, 128),
        named["fc1.bias"], matrix2, F.pad(named["fc2.bias"], (0, 6)),
    )  # fmt: skip


def unpack(packed: Packed) -> dict[str, Tensor]:
    """Return weights `(C, ...)` by name, as `pack` takes them."""
    size = len(packed.bias2)
    filters2 = packed.filters2.view(size, 3, 3, 32, 64).permute(0, 4, 3, 1, 2)
    matrix1 = packed.matrix1.view(size, 12, 12, 64, 128).permute(0, 4, 3, 1, 2)
    return {
        "conv1.weight": packed.filters1[:, :9].transpose(1, 2).reshape(size, 32, 1, 3, 3),
        "conv1.bias": packed.filters1[:, 9],
        "conv2.weight": filters2,
        "conv2.bias": packed.bias2,
        "fc1.weight": matrix1.reshape(size, 128, 9216),
        "fc1.bias": packed.bias3,
        "fc2.weight": packed.matrix2[..., :10].transpose(1, 2),
        "fc2.bias": packed.bias4[:, :10],
    }


def _packed_zeros(size: int, device: torch.device) -> Packed:
    shapes = (16, 32), (9, 32, 64), (64,), (12, 768, 128), (128,), (128, 16), (16,)
    made = (torch.zeros(size, *s, device=device, dtype=torch.float32) for s in shapes)
    return Packed(*made)

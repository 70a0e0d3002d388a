"""A chunk of networks trained as one, on a GPU as CUDA graphs.

The networks' weights are stacked. The first convolution has all members' filters at once, since
they see the same images; the second is grouped, one group a member; the fully connected layers
are batched matrix products. The loss is the sum of the members' losses, so that each gets its own
gradient, and nothing that becomes infinite or NaN in one member reaches another.

On a GPU a whole step (taking the batch, forward, backward, SGD) is captured as a CUDA graph and
replayed; the host waits between epochs, not between steps. On a CPU the same steps run uncaptured,
which is for tests: they are no faster there than separate trainings.

Members of one chunk share their batches, so those of another seed, or that have trained for
another number of epochs before, train in another chunk.

Shapes: P members of the population, C members of a chunk, B images in a batch, N images.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga.fashion_mnist._data import Images, normalize
from optuna_ga.fashion_mnist._network import (
    DROPOUT_PROBS,
    drop_out,
    dropout_seed,
)
from optuna_ga.fashion_mnist._trainers import AfterEpoch, Member
from optuna_ga.fashion_mnist._training import (
    BATCH_SIZE,
    EVALUATION_BATCH_SIZE,
    LEARNING_RATE_DECAY,
    Epoch,
    Precision,
    State,
    computing,
    image_orders,
    initial_state,
)

# A chunk takes the smallest of these sizes that holds it, so that few graphs are captured, and
# time falls as members drop out. More members at once would gain no speed and cost memory.
CHUNK_SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
_WARM_UP_STEPS = 3


class StackedTrainer:
    """Trains members in chunks, each as one network.

    The results on a CPU do not depend on who trains beside whom. On a GPU they do within
    rounding, since the library's kernels depend on the size of the chunk. If the memory does
    not suffice, chunks are halved, with one warning.

    Args:
        device: Where to train.
        precision: What to compute with.
        dropout: Whether to train with dropout.
        learning_rate_decay: What learning rates are multiplied by after each epoch.
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
        self._chunks: dict[tuple[int, ...], _Chunk] = {}

    def train(
        self,
        members: Sequence[Member],
        training: Images,
        validation: Images,
        epochs: int,
        after_epoch: AfterEpoch,
    ) -> list[State | None]:
        """Train the population; see `Trainer`."""
        stack = _Stack(members, self._device, self._dtype)
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
            stack.learning_rate *= self._learning_rate_decay
            dropped = after_epoch({position: results[position] for position in alive})
            alive = [p for p in alive if results[p] is not None and p not in dropped]
            if not alive:
                break
        return [
            stack.state(row, member, epochs) if row in alive else None
            for row, member in enumerate(members)
        ]

    def _train_rows(
        self, stack: _Stack, rows: Sequence[int], lesson: _Lesson
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
        self, stack: _Stack, rows: Sequence[int], lesson: _Lesson
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

    def _chunk(self, n_members: int, training: Images, validation: Images) -> _Chunk:
        size = next(size for size in CHUNK_SIZES if size >= n_members)
        key = size, *_identity(training), *_identity(validation)
        if key not in self._chunks:
            with computing(self._precision, self._device):
                self._chunks[key] = _Chunk(
                    size, training, validation, self._dtype, self._precision, self._dropout
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
    """What members of one class have in common in an epoch: the images and their order `(N,)`."""

    training: Images
    validation: Images
    order: Tensor
    mask_seed: int


class _Stack:
    """The weights `(P, ...)`, momenta and settings `(P,)` of a population."""

    def __init__(
        self, members: Sequence[Member], device: torch.device, dtype: torch.dtype
    ) -> None:
        # Seeds are few, and a network is small.
        seeds = {m.seed for m in members if m.start is None}
        initial = {seed: initial_state(seed, device) for seed in seeds}
        starts = [m.start or initial[m.seed] for m in members]
        self._names = list(starts[0].weights)
        self.weights, self.momenta = (
            [
                torch.stack([tensors[name] for tensors in each]).to(device, dtype)
                for name in self._names
            ]
            for each in ([s.weights for s in starts], [s.momenta for s in starts])
        )
        settings = torch.tensor([m[:3] for m in members], dtype=torch.float64)  # (P, 3)
        settings = settings.to(device, dtype)
        self.learning_rate, self.momentum, self.weight_decay = settings.T.contiguous()

    def state(self, row: int, member: Member, epochs: int) -> State:
        """Return what a member has come to after so many epochs, as views of its row."""
        weights = dict(zip(self._names, (w[row] for w in self.weights), strict=True))
        # Without momentum PyTorch's SGD keeps no buffer.
        momenta = {
            name: momenta[row] if member.momentum else torch.zeros_like(momenta[row])
            for name, momenta in zip(self._names, self.momenta, strict=True)
        }
        n_before = member.start.n_epochs if member.start else 0
        return State(weights, momenta, n_before + epochs, member.seed)


class _Chunk:
    """C networks with their data, at fixed places in memory, as a CUDA graph needs them."""

    def __init__(
        self,
        size: int,
        training: Images,
        validation: Images,
        dtype: torch.dtype,
        precision: Precision,
        dropout: bool,
    ) -> None:
        self._training, self._validation = training, validation
        self._dtype, self._precision = dtype, precision
        device = training.labels.device
        blank = [Member(0.0, 0.0, 0.0)] * size
        self._members = _Stack(blank, device, dtype)
        for weights in self._members.weights:
            weights.requires_grad_()
        n = len(training.labels)
        self._order = torch.zeros(n, dtype=torch.int64, device=device)
        self._position = torch.zeros((), dtype=torch.int64, device=device)
        self._offsets = torch.arange(BATCH_SIZE, device=device)
        self._total = torch.zeros(size, dtype=dtype, device=device)
        self._masks = torch.Generator(device) if dropout else None
        self._batches = [BATCH_SIZE] * (n // BATCH_SIZE) + [n % BATCH_SIZE] * (n % BATCH_SIZE > 0)
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        if device.type == "cuda":
            self._graphs = {batch: self._capture(batch) for batch in set(self._batches)}

    def load(self, stack: _Stack, rows: Sequence[int]) -> None:
        """Take rows of the population; unused places repeat the first and do not learn."""
        padded = [*rows, *[rows[0]] * (len(self._total) - len(rows))]
        index = torch.tensor(padded, device=self._total.device)
        with torch.no_grad():
            for mine, theirs in _tensors(self._members, stack):
                mine.copy_(theirs[index])
            self._members.learning_rate[len(rows) :] = 0.0

    def store(self, stack: _Stack, rows: Sequence[int]) -> None:
        """Give weights and momenta back to their rows."""
        index = torch.tensor(rows, device=self._total.device)
        with torch.no_grad():
            for mine, theirs in _tensors(self._members, stack):
                if theirs.dim() > 1:
                    theirs[index] = mine[: len(rows)]

    def train_epoch(self, order: Tensor, mask_seed: int) -> list[Epoch | None]:
        """Train on every image once and evaluate; None for members that diverged."""
        self._order.copy_(order)
        self._position.zero_()
        self._total.zero_()
        if self._masks is not None:
            self._masks.manual_seed(mask_seed)
        with computing(self._precision, self._total.device):
            for batch in self._batches:
                if batch in self._graphs:
                    self._graphs[batch].replay()
                else:
                    self._step(batch)
            ended = torch.stack([self._total / len(order), *self._evaluate()], dim=1)  # (C, 3)
        epochs = [Epoch(*row) for row in ended.tolist()]  # The one wait for the device.
        return [epoch if all(map(math.isfinite, epoch[:2])) else None for epoch in epochs]

    def _capture(self, batch: int) -> torch.cuda.CUDAGraph:
        # As PyTorch's notes on CUDA graphs ask: warm up on another stream, then capture.
        with torch.cuda.device(self._total.device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP_STEPS):
                    self._position.zero_()
                    self._step(batch)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            if self._masks is not None:
                graph.register_generator_state(self._masks)
            self._position.zero_()
            with torch.cuda.graph(graph, stream=stream):
                self._step(batch)
        return graph

    def _step(self, batch: int) -> None:
        """Take the next batch and one step of SGD, in place and without the host's help."""
        members = self._members
        pixels, labels = self._training.take(self._order[self._position + self._offsets[:batch]])
        losses = self._losses(self._forward(pixels, self._masks), labels).mean(1)  # (C,)
        gradients = torch.autograd.grad(losses.sum(), members.weights)
        with torch.no_grad():
            for weights, momenta, gradient in zip(
                members.weights, members.momenta, gradients, strict=True
            ):
                decayed = torch.addcmul(gradient, weights, _like(members.weight_decay, weights))
                momenta.mul_(_like(members.momentum, weights)).add_(decayed)
                weights.addcmul_(momenta, _like(members.learning_rate, weights), value=-1)
            self._total += losses * batch
            self._position += batch

    def _forward(self, pixels: Tensor, masks: torch.Generator | None) -> Tensor:
        """Return the logits `(C, B, 10)` of `(B, 1, 28, 28)`: `Network.forward`, stacked."""
        filters1, bias1, filters2, bias2, matrix1, bias3, matrix2, bias4 = self._members.weights
        n_members, n_images = len(self._total), len(pixels)
        hidden = F.conv2d(
            normalize(pixels, self._dtype), _last(filters1.flatten(0, 1)), bias1.flatten()
        )  # (B, C * 32, 26, 26)
        hidden = F.conv2d(
            _last(F.relu(hidden)), _last(filters2.flatten(0, 1)), bias2.flatten(), groups=n_members
        )  # (B, C * 64, 24, 24)
        hidden = F.relu(F.max_pool2d(hidden, 2)).reshape(n_images, n_members, -1)
        hidden = drop_out(hidden.transpose(0, 1), DROPOUT_PROBS[0], masks)  # (C, B, 9216)
        hidden = F.relu(torch.baddbmm(bias3.unsqueeze(1), hidden, matrix1.transpose(1, 2)))
        hidden = drop_out(hidden, DROPOUT_PROBS[1], masks)  # (C, B, 128)
        return torch.baddbmm(bias4.unsqueeze(1), hidden, matrix2.transpose(1, 2))

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy `(C, B)` of each member and image."""
        repeated = labels.expand(len(logits), -1)
        losses = F.cross_entropy(logits.flatten(0, 1), repeated.flatten(), reduction="none")
        return losses.view(repeated.shape)

    def _evaluate(self) -> tuple[Tensor, Tensor]:
        """Return mean loss and accuracy `(C,)` over the validation images."""
        loss, correct = torch.zeros_like(self._total), torch.zeros_like(self._total)
        with torch.no_grad():
            for pixels, labels in zip(
                self._validation.pixels.split(EVALUATION_BATCH_SIZE),
                self._validation.labels.split(EVALUATION_BATCH_SIZE),
                strict=True,
            ):
                logits = self._forward(pixels, None)
                loss += self._losses(logits, labels).sum(1)
                correct += (logits.argmax(2) == labels).sum(1)
        n = len(self._validation.labels)
        return loss / n, correct / n


def _identity(images: Images) -> tuple[int, int]:
    return images.pixels.data_ptr(), len(images.labels)


def _tensors(mine: _Stack, theirs: _Stack) -> Iterator[tuple[Tensor, Tensor]]:
    yield from zip(mine.weights, theirs.weights, strict=True)
    yield from zip(mine.momenta, theirs.momenta, strict=True)
    for name in ("learning_rate", "momentum", "weight_decay"):
        yield getattr(mine, name), getattr(theirs, name)


def _like(setting: Tensor, weights: Tensor) -> Tensor:
    """Return a setting `(C,)` as a view that multiplies weights `(C, ...)`."""
    return setting.view(-1, *[1] * (weights.dim() - 1))


def _last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)

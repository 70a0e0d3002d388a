"""P members as one: their numbers in tensors, and a step that advances them all.

Everything that a step reads or changes stays at its place, so that a step can be captured as a
CUDA graph. The host waits for the device once an epoch, not once a step.

Shapes: P members, W weights of a member, S steps of an epoch, B examples of a batch.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from threading import Event

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from optuna_ga.torch._backends.branches import ByBranches
from optuna_ga.torch._backends.cuda_graph import Capturer, new_capturer
from optuna_ga.torch._backends.feeds import TensorFeed, feed
from optuna_ga.torch._backends.method import Method, Numbers
from optuna_ga.torch._data.loader_data import LoaderData
from optuna_ga.torch._environment import one_thread
from optuna_ga.torch._networks.structure import Structure
from optuna_ga.torch._optimizers import (
    N_BY_STEP,
    N_CONSTANT,
    Settings,
    clip,
    settings_of_epoch,
    type_of_settings,
)
from optuna_ga.torch._randomness.keys import member_key
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._returned import check_names
from optuna_ga.torch._training import Epoch, Training

MAX_KEPT = 8  # Stacks, each with its graphs and their memory.


@dataclass(frozen=True)
class Kind:
    """The properties of a stack that its graphs depend on.

    Attributes:
        structure: That of the members.
        size: P.
        batch_size: B.
        shared: Whether all members see the same batches.
        clips: Whether some member's gradient is clipped.
    """

    structure: Structure
    size: int
    batch_size: int
    shared: bool
    clips: bool


class StackBackend:
    """Trains members as one.

    Args:
        recipe: The settings that all members share.
        method: How gradients are computed.
        stop: Set to end the training after a step.
    """

    def __init__(self, recipe: Recipe, method: Method, stop: Event | None = None) -> None:
        self._recipe = recipe
        self._method = method
        self._stop = Event() if stop is None else stop
        self._capturer = Capturer(recipe.device)
        self._stacks: OrderedDict[Kind, _Stack] = OrderedDict()
        self._evaluation_batch = recipe.validation.batch_size

    def train_epoch(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Train the members; see `Backend`."""
        with one_thread():
            stack = self._stack(members)
            stack.load(members)
            stack.train_epoch(self._stop)
            ended = self._evaluate(stack)[: len(members)]
            return list(zip(stack.advanced(members), ended, strict=True))

    def release(self) -> None:
        """Free all stacks and their graphs."""
        self._stacks.clear()
        self._capturer = new_capturer(self._recipe.device)

    def _stack(self, members: Sequence[Training]) -> _Stack:
        on_gpu = self._recipe.device.type == "cuda"
        kind = Kind(
            structure=members[0].structure,
            size=padded_size(len(members)) if on_gpu else len(members),
            batch_size=self._recipe.batch_size(members[0].member),
            shared=self._recipe.shares_batches(members),
            clips=any(math.isfinite(each.member.clip_norm) for each in members),
        )
        stack = self._stacks.pop(kind, None)
        if stack is None:
            stack = _Stack(self._recipe, self._method, self._capturer, kind, members[0])
        self._stacks[kind] = stack  # The latest is the last.
        if len(self._stacks) > MAX_KEPT:
            self._stacks.popitem(last=False)
        return stack

    def _evaluate(self, stack: _Stack) -> list[Epoch]:
        """Evaluate with smaller batches, not fewer members, if memory runs out and it can."""
        while True:
            try:
                return stack.evaluate(self._evaluation_batch)
            except torch.OutOfMemoryError:
                if self._evaluation_batch == 1 or isinstance(self._recipe.validation, LoaderData):
                    raise
                self._evaluation_batch //= 2


class _Stack:
    """Members of one kind, at fixed places in memory."""

    def __init__(
        self, recipe: Recipe, method: Method, capturer: Capturer, kind: Kind, like: Training
    ) -> None:
        self._recipe, self._method, self._kind = recipe, method, kind
        self._capturer = capturer
        size, device = kind.size, recipe.device
        dtype = kind.structure.layout.dtype
        new = partial(torch.zeros, device=device)
        self._n_steps = recipe.train.n_batches(kind.batch_size)
        self._numbers = Numbers(
            weights=new(size, kind.structure.layout.width, dtype=dtype),
            buffers={
                name: new(size, *buffer.shape, dtype=buffer.dtype)
                for name, buffer in like.buffers.items()
            },
            keys=new(size, dtype=torch.int32),
            step=new((), dtype=torch.int32),
        )
        self._moments = tuple(torch.zeros_like(self._numbers.weights) for _ in like.moments)
        as_settings = type_of_settings(dtype)
        self._by_step = new(N_BY_STEP, size, self._n_steps, dtype=as_settings)
        self._constant = new(N_CONSTANT, size, 1, dtype=as_settings)
        places = kind.structure.decayed_places()
        self._decayed_places = None if places is None else places.to(device)
        self._losses = new(size, dtype=torch.float64)
        self._sums: dict[str, Tensor] = {}
        self._n_rows = 0
        self._training = feed(recipe.train, 1 if kind.shared else size, kind.batch_size)
        self._validation = feed(recipe.validation, 0, recipe.validation.batch_size)
        self._steps: dict[int, Callable[[], None]] = {}
        self._evaluations: dict[int, Callable[[], None]] = {}

    def load(self, members: Sequence[Training]) -> None:
        """Copy the members' numbers; unused places repeat the first member."""
        members = [*members, *[members[0]] * (self._kind.size - len(members))]
        rates = [
            each.rates(self._recipe.schedule, self._recipe.n_epochs(each.member), self._n_steps)
            for each in members
        ]
        keys = [member_key(each.member.seed, each.n_epochs) for each in members]
        self._numbers.weights.copy_(torch.stack([each.weights for each in members]))
        for name, buffer in self._numbers.buffers.items():
            buffer.copy_(torch.stack([each.buffers[name] for each in members]))
        for place, moments in enumerate(self._moments):
            moments.copy_(torch.stack([each.moments[place] for each in members]))
        settings = settings_of_epoch(
            [each.member for each in members], rates, [each.n_steps for each in members]
        )
        self._by_step.copy_(settings[0])
        self._constant.copy_(settings[1])
        self._numbers.keys.copy_(torch.tensor(keys, dtype=torch.int32))
        self._training.load(members)
        self._validation.load(members)

    def train_epoch(self, stop: Event) -> None:
        """Train on every example once, without waiting for the device, until told to stop."""
        self._begin()
        self._n_rows = 0
        for length in self._training.lengths():
            if length not in self._steps:
                step = partial(self._train_step, length, self._trained_places(length))
                self._steps[length] = self._captured(step, self._begin)
            self._steps[length]()
            self._n_rows += length
            if stop.is_set():
                raise CancelledError

    def evaluate(self, batch_size: int) -> list[Epoch]:
        """Return the results of the epoch, which waits for the device."""
        if isinstance(self._validation, TensorFeed):
            self._validation.batch_size = batch_size
        self._numbers.step.fill_(self._n_steps)  # Also after an evaluation that failed.
        for total in self._sums.values():
            total.zero_()
        n_rows = 0
        for length in self._validation.lengths():
            if length not in self._evaluations:
                step = partial(self._evaluate_step, length)
                self._evaluations[length] = self._captured(step, self._validation.rewind)
            self._evaluations[length]()
            n_rows += length
        table = torch.stack([self._losses / self._n_rows, *self._sums.values()], 1)
        return [
            Epoch(loss, {n: each / n_rows for n, each in zip(self._sums, sums, strict=True)})
            for loss, *sums in table.tolist()
        ]

    def _captured(
        self, step: Callable[[], None], rewind: Callable[[], None]
    ) -> Callable[[], None]:
        """Return a step that can be repeated; what it changed while it was tried is restored."""
        before = [tensor.clone() for tensor in self._changing()]
        captured = self._capturer.capture(step, rewind)
        for tensor, value in zip_longest(self._changing(), before):
            if value is None:  # The sum of a metric, which did not exist.
                tensor.zero_()
            else:
                tensor.copy_(value)
        return captured

    def _changing(self) -> list[Tensor]:
        """Return all tensors that steps change."""
        numbers = self._numbers
        return [
            numbers.weights, *numbers.buffers.values(), numbers.step, *self._moments, self._losses,
            *self._training.counters, *self._validation.counters, *self._sums.values(),
        ]  # fmt: skip

    def advanced(self, members: Sequence[Training]) -> list[Training]:
        """Return the members' present numbers as trainings."""
        weights, moments = self._numbers.weights.clone(), [m.clone() for m in self._moments]
        buffers = {name: buffer.clone() for name, buffer in self._numbers.buffers.items()}
        return [
            each.advanced(
                weights[row],
                tuple(moment[row] for moment in moments),
                {name: buffer[row] for name, buffer in buffers.items()},
                self._n_steps,
            )
            for row, each in enumerate(members)
        ]

    def _begin(self) -> None:
        for counter in (self._numbers.step, self._losses):
            counter.zero_()
        self._training.rewind()

    def _trained_places(self, length: int) -> Tensor | None:
        """Return the places `(W,)` that batches of a length train, by the graph of one of them.

        PyTorch's optimizers leave parameters without a gradient alone, but `vmap` gives zeros.
        """
        structure = self._kind.structure
        if length not in structure.facts.unused:
            numbers = self._numbers
            buffers = {name: buffer[:1] for name, buffer in numbers.buffers.items()}
            one = Numbers(numbers.weights[:1], buffers, numbers.keys[:1], numbers.step)
            batch = self._recipe.train.first_batch(self._kind.batch_size)
            batch = tree_map(lambda rows: rows[:length].clone(), batch)
            structure.model.train()
            loss = self._recipe.task.loss
            ByBranches(torch.device("cpu")).gradients(structure, loss, one, batch, True)
        places = structure.trained_places(length)
        return None if places is None else places.to(self._recipe.device)

    def _train_step(self, length: int, places: Tensor | None) -> None:
        """Take the next batch and a step of the optimizer, in place."""
        structure, numbers, shared = self._kind.structure, self._numbers, self._kind.shared
        structure.model.train()
        batch = self._training.batch(length)
        gradient, losses, buffers = self._method.gradients(
            structure, self._recipe.task.loss, numbers, batch, shared
        )
        gradient = gradient.to(structure.layout.dtype)
        by_step = self._by_step.index_select(2, numbers.step.view(1))
        now = Settings(*by_step.unbind(), *self._constant.unbind())  # (P, 1) each
        now = now.decaying(self._decayed_places)
        if self._kind.clips:
            clip(gradient, now.clip_norm)
        self._update(gradient, now, places)
        for name, buffer in numbers.buffers.items():
            buffer.copy_(buffers[name])
        self._losses += losses.double() * length  # In 16 bits the product may overflow.
        numbers.step.add_(1)

    def _update(self, gradient: Tensor, settings: Settings, places: Tensor | None) -> None:
        """Take a step of the optimizer at some places, or at all."""
        changing = self._numbers.weights, *self._moments
        before = [] if places is None else [tensor.clone() for tensor in changing]
        weights, *moments = changing
        self._recipe.optimizer.update(weights, tuple(moments), gradient, settings)
        if places is not None:
            for tensor, value in zip(changing, before, strict=True):
                tensor.copy_(torch.where(places, tensor, value))

    def _evaluate_step(self, length: int) -> None:
        """Add the metrics of the next batch to the sums."""
        self._kind.structure.model.eval()
        batch = self._validation.batch(length)
        with torch.no_grad():
            metrics = self._method.metrics(
                self._kind.structure, self._recipe.task.metrics, self._numbers, batch
            )
        check_names(metrics, self._sums)
        for name, value in metrics.items():
            if name not in self._sums:
                self._sums[name] = torch.zeros_like(self._losses)
            self._sums[name] += value
        self._numbers.step.add_(1)  # Each batch draws numbers of its own.


def padded_size(n: int) -> int:
    """Return the smallest of 1 to 8, 10, 13, 16, 20, 25, 32, 40, 50, 64, ... that is at least `n`.

    Few sizes mean few graphs, and time still falls as members drop out.

    >>> [padded_size(n) for n in (1, 7, 17, 20, 90)]
    [1, 7, 20, 20, 100]
    """
    if n <= 8:
        return n
    scale = 10 ** (len(str(n - 1)) - 1)
    steps = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.4, 8.0, 10.0)  # Renard's R10.
    sizes: list[int] = [math.ceil(scale * step) for step in steps]
    return min(size for size in sizes if size >= n)

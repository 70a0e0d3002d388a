"""Train many networks together, each with its own hyperparameters, epoch by epoch.

Every backend gives the results of separate trainings by `_training.train`, up to rounding:

- `loop` trains one member after the other: the specification.
- `threads` trains a member on each core, with one thread. On a CPU it is the fastest, since
  stacking convolutions there gains nothing.
- `stacked`, in `_stacked.py`, trains chunks of members as one, on a GPU as CUDA graphs.

Shapes: P members of a population.
"""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import torch

from optuna_ga.fashion_mnist._data import Images
from optuna_ga.fashion_mnist._network import initial_network
from optuna_ga.fashion_mnist._training import (
    LEARNING_RATE_DECAY,
    DivergedError,
    Epoch,
    State,
    train,
)
from optuna_ga.torch._environment import Precision, n_cores, one_thread, usual_settings


class Member(NamedTuple):
    """The settings of one training.

    Attributes:
        learning_rate: Learning rate of the first epoch.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of SGD.
        seed: Seed of initial weights, batches and dropout.
        start: State of the same seed to resume; None begins with initial weights.
    """

    learning_rate: float
    momentum: float
    weight_decay: float
    seed: int = 0
    start: State | None = None


# The results of an epoch by the positions of members still training; None if one diverged.
Epochs = Mapping[int, "Epoch | None"]
Run = Generator[Epoch, None, State]
# Called after each epoch; returns the positions of members to train no further.
AfterEpoch = Callable[[Epochs], Collection[int]]


class Trainer(Protocol):
    """Trains a population."""

    def train(
        self,
        members: Sequence[Member],
        training: Images,
        validation: Images,
        epochs: int,
        after_epoch: AfterEpoch,
    ) -> list[State | None]:
        """Train the members until the last epoch, or until all have dropped out.

        Args:
            members: The settings of the P members.
            training: The images to train on, the same for all.
            validation: The images to evaluate on after each epoch.
            epochs: Number of epochs, at least 1.
            after_epoch: Receives the results of an epoch, and returns the positions of members
                to drop. Diverged members are dropped without it.

        Returns:
            The state of each member; None for members that were dropped.
        """


class LoopTrainer:
    """Trains one member after the other, in the plainest way.

    Args:
        device: The device to train on.
        precision: The precision of products.
        dropout: Whether to train with dropout.
        learning_rate_decay: Factor of the learning rates after each epoch.
        dtype: Type of the weights; float64 is for tests.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        precision: Precision = "float32",
        dropout: bool = False,
        learning_rate_decay: float = LEARNING_RATE_DECAY,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._device = device
        self._learning_rate_decay = learning_rate_decay
        self._precision: Precision = precision
        self._dropout = dropout
        self._dtype = dtype

    def train(
        self,
        members: Sequence[Member],
        training: Images,
        validation: Images,
        epochs: int,
        after_epoch: AfterEpoch,
    ) -> list[State | None]:
        """Train the population; see `Trainer`."""
        runs = {
            position: self._run(member, training, validation, epochs)
            for position, member in enumerate(members)
        }
        for _ in range(epochs):
            results = dict(zip(runs, self._advance(list(runs.values())), strict=True))
            dropped = after_epoch(results)
            runs = {p: run for p, run in runs.items() if results[p] and p not in dropped}
            if not runs:
                break
        return [_end(runs[p]) if p in runs else None for p in range(len(members))]

    def _run(self, member: Member, training: Images, validation: Images, epochs: int) -> Run:
        return train(
            initial_network(member.seed, self._device).to(self._dtype),
            training,
            validation,
            **member._asdict(),
            epochs=epochs,
            learning_rate_decay=self._learning_rate_decay,
            precision=self._precision,
            dropout=self._dropout,
        )

    def _advance(self, runs: list[Run]) -> list[Epoch | None]:
        return [self._next_epoch(run) for run in runs]

    def _next_epoch(self, run: Run) -> Epoch | None:
        with usual_settings(self._device):  # These belong to a thread.
            try:
                return next(run)
            except DivergedError:
                return None


class ThreadsTrainer(LoopTrainer):
    """Trains as many members at a time as there are cores, on the CPU.

    A member computes with one thread, so that its result depends neither on the other members
    nor on the number of cores.
    """

    def _advance(self, runs: list[Run]) -> list[Epoch | None]:
        def next_epoch(run: Run) -> Epoch | None:
            with one_thread():
                return self._next_epoch(run)

        with ThreadPoolExecutor(n_cores()) as executor:
            return list(executor.map(next_epoch, runs))


def _end(run: Run) -> State:
    """Return the state of a training that has yielded its last epoch."""
    try:
        next(run)
    except StopIteration as end:
        state: State = end.value
        return state
    raise AssertionError("The training has another epoch.")

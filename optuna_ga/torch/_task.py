"""The two things that a user states: the problem, and one member's settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Protocol

from torch import Tensor, nn

from optuna_ga._checks import MAX_TRAINING_SEED, check_at_least_zero, check_int, shown
from optuna_ga.torch._schedules import Schedule


class Task(Protocol):
    """A network and how it is trained and judged.

    `loss` and `metrics` see the model of one member and one batch, however many members train at
    once. They may use any function of PyTorch, but no number of the batch or the model may steer
    Python (`.item()`, `if loss > 1`), or members are trained one after the other.
    """

    @property
    def model(self) -> Callable[..., nn.Module]:
        """Method `model(seed, **settings)`, which makes a network on the CPU.

        PyTorch's global generator is seeded before. The settings are `Member.model`; networks
        that differ in more than the numbers in their tensors train in groups of their own.
        """

    def loss(self, model: Any, batch: Any) -> Tensor:
        """Return the mean loss `()` of a batch to train on."""

    def metrics(self, model: Any, batch: Any) -> dict[str, Tensor]:
        """Return sums `()` over a batch of what is to be averaged over the examples."""


@dataclass(frozen=True)
class Member:
    """Settings of one training; those that the optimizer does not have are ignored.

    Attributes:
        learning_rate: The schedule multiplies it.
        momentum: Of SGD, at least 0.
        weight_decay: At least 0.
        betas: Of Adam and AdamW, each in [0, 1).
        clip_norm: Largest norm of the gradient of all weights; longer ones are scaled down.
        batch_size: None takes that of the training data.
        epochs: Epochs of the training, at least 1; None takes those of the trainer.
        schedule: None takes that of the trainer.
        seed: Seed of initial weights, order of examples and dropout, 0 to 2**63 - 1.
        model: Further arguments of `Task.model`.

    Raises:
        TypeError: If an argument has the wrong type; a bool is no number.
        ValueError: If a number is out of its range.
    """

    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = math.inf
    batch_size: int | None = None
    epochs: int | None = None
    schedule: Schedule | None = None
    seed: int = 0
    model: Mapping[str, Hashable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_int("seed", self.seed, minimum=0, maximum=MAX_TRAINING_SEED)
        for name in ("batch_size", "epochs"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name), minimum=1)
        for name in ("learning_rate", "momentum", "weight_decay", "clip_norm"):
            check_at_least_zero(name, getattr(self, name))
        betas = self.betas
        if not (isinstance(betas, Sequence) and all(isinstance(beta, Real) for beta in betas)):
            raise TypeError(f"`betas` must be two numbers, but {shown(betas)} was given.")
        if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"`betas` must lie in [0, 1), but {shown(betas)} was given.")

"""The two things that a user states: the problem, and one member's settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from optuna_ga._checks import check_int
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
        schedule: None takes that of the trainer.
        seed: Seed of initial weights, order of examples and dropout.
        model: Further arguments of `Task.model`.

    Raises:
        TypeError: If `seed` or `batch_size` is no integer.
        ValueError: If a number is out of its range.
    """

    learning_rate: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = math.inf
    batch_size: int | None = None
    schedule: Schedule | None = None
    seed: int = 0
    model: Mapping[str, Hashable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_int("seed", self.seed, minimum=0)
        if self.batch_size is not None:
            check_int("batch_size", self.batch_size, minimum=1)
        for name in ("learning_rate", "momentum", "weight_decay", "clip_norm"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(
                    f"`{name}` must be at least 0, but {getattr(self, name)!r} was given."
                )
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"`betas` must lie in [0, 1), but {self.betas!r} was given.")

"""The two things that a user states: the problem, and one member's settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from optuna_ga._checks import (
    MAX_TRAINING_SEED,
    check_at_least_zero,
    check_int,
    is_number,
    set_checked,
    shown,
)
from optuna_ga.torch._schedules import Schedule, check_schedule


class Task(Protocol):
    """A network and how it is trained and judged.

    `loss` and `metrics` see the model of one member and one batch, however many members train at
    once. They may use any function of PyTorch. If a number of the model or of a member's own batch
    steers Python (`.item()`, `if loss > 1`), members cannot train as one: they train in threads or
    one after the other. Random functions draw by the member's seed; with the few that cannot,
    members train one after the other.

    A task may have a method `decays(name, parameter)`, which returns whether weight decay applies
    to a parameter to train, a bool; such as `parameter.dim() > 1`, which leaves biases and norms
    alone. It is called once for networks of the same structure. Without it all parameters decay.
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
        """Return sums `()` over a batch of what is to be averaged over the examples.

        Their names are the same for every batch. Changes of buffers and of frozen
        parameters are not kept.
        """


@dataclass(frozen=True)
class Member:
    """Settings of one training; those that the optimizer does not have are ignored.

    Attributes:
        learning_rate: The schedule multiplies it.
        momentum: Of SGD, at least 0.
        weight_decay: At least 0. By default there is none, also for AdamW.
        betas: Of Adam and AdamW, each in [0, 1).
        clip_norm: Largest norm of the gradient of all weights; longer ones are scaled down.
        batch_size: None takes that of the training data.
        epochs: Epochs of the training, at least 1; None takes those of the trainer.
        schedule: None takes that of the trainer.
        seed: Seed of initial weights, order of examples and random numbers, 0 to 2**63 - 1. Equal
            seeds, as by default, compare settings on the same weights and batches; seeds of their
            own, such as `trial.number`, let no search fit the chance of one seed.
        model: Further arguments of `Task.model`.

    Raises:
        TypeError: If an argument has the wrong type.
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
        numbers = ("learning_rate", "momentum", "weight_decay", "clip_norm")
        counts = [name for name in ("batch_size", "epochs") if getattr(self, name) is not None]
        set_checked(
            self,
            seed=check_int("seed", self.seed, minimum=0, maximum=MAX_TRAINING_SEED),
            **{name: check_int(name, getattr(self, name), minimum=1) for name in counts},
            **{name: check_at_least_zero(name, getattr(self, name)) for name in numbers},
        )
        check_schedule(self.schedule)
        _check_settings_of_model(self.model)
        betas = self.betas
        if not (isinstance(betas, Sequence) and all(map(is_number, betas))):
            raise TypeError(f"`betas` must be two numbers, but {shown(betas)} was given.")
        if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(f"`betas` must lie in [0, 1), but {shown(betas)} was given.")
        set_checked(self, betas=tuple(map(float, betas)))


def _check_settings_of_model(model: object) -> None:
    if not isinstance(model, Mapping) or not all(isinstance(name, str) for name in model):
        raise TypeError(
            f"`model` must be a mapping of names to settings, but {shown(model)} was given."
        )
    for name, value in model.items():
        try:
            hash(value)
        except TypeError as error:
            raise TypeError(
                f"`model` must have hashable settings, such as numbers, strings and tuples, but "
                f"{name!r} is {shown(value)}."
            ) from error


def check_task(task: object) -> None:
    """Check that an argument has the methods of a task.

    Raises:
        TypeError: If one is missing, if `decays` is none, or if it is the class of a task.
    """
    if isinstance(task, type):
        raise TypeError(
            f"`task` must be an object with the methods of a task, such as `{task.__name__}()`, "
            f"but the class {shown(task)} was given."
        )
    for name in ("model", "loss", "metrics"):
        if not callable(getattr(task, name, None)):
            raise TypeError(
                f"`task` must have a method `{name}`, but {shown(task)} was given, which has none."
            )
    decays = getattr(task, "decays", None)
    if decays is not None and not callable(decays):
        raise TypeError(f"`task.decays` must be a method, but it is {shown(decays)}.")

"""The two things that a user states: the problem, and one member's settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

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
    once. They may use any function of PyTorch, but no number of the batch or the model may steer
    Python (`.item()`, `if loss > 1`), or members are trained one after the other. Random functions
    draw by the member's seed; the few that cannot have members trained one after the other, too.

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


def undecayed(task: object, parameters: Mapping[str, nn.Parameter]) -> frozenset[str]:
    """Return the names of the parameters that weight decay leaves alone.

    Raises:
        TypeError: If `task.decays` does not return a bool.
    """
    decays = getattr(task, "decays", None)
    if decays is None:
        return frozenset()
    found = {name: decays(name, parameter) for name, parameter in parameters.items()}
    for name, decay in found.items():
        if not isinstance(decay, bool):
            raise TypeError(
                f"`task.decays` must return a bool, but for {name!r} it returned {shown(decay)}."
            )
    return frozenset(name for name, decay in found.items() if not decay)


def check_model(model: object) -> nn.Module:
    """Return what `Task.model` returned, if it is a network whose parameters exist.

    Raises:
        TypeError: If it is not a network.
        ValueError: If it has lazy parameters.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"`task.model` must return an `nn.Module`, but it returned {shown(model)}."
        )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise ValueError(
                "`task.model` must return a network whose parameters have a shape, but "
                f"`{name}` is lazy. Call the network with a batch first, or give the sizes."
            )
    return model


def check_loss(loss: object) -> Tensor:
    """Return what `Task.loss` returned, if it is a scalar that depends on parameters.

    Raises:
        TypeError: If it is not a tensor.
        ValueError: If it has several numbers, is complex, or depends on no parameter.
    """
    rule = "`task.loss` must return a tensor `()`, the mean over a batch"
    if not isinstance(loss, Tensor):
        raise TypeError(f"{rule}, but it returned {shown(loss)}.")
    if loss.dim():
        raise ValueError(f"{rule}, but it returned one of shape {tuple(loss.shape)}.")
    if loss.is_complex():
        raise ValueError(f"{rule}, which must be real, but it returned one of {loss.dtype}.")
    if not loss.requires_grad:
        raise ValueError(
            "`task.loss` must depend on the network's parameters, but it returned a tensor "
            "without a gradient."
        )
    return loss


def check_metrics(metrics: object) -> dict[str, Tensor]:
    """Return what `Task.metrics` returned, if it is a dictionary of scalars.

    Raises:
        TypeError: If it is something else.
        ValueError: If it is empty, or has a tensor of several numbers, or a complex one.
    """
    rule = "`task.metrics` must return a dictionary of tensors `()`, sums over a batch"
    if not isinstance(metrics, dict):
        raise TypeError(f"{rule}, but it returned {shown(metrics)}.")
    if not metrics:
        raise ValueError(f"{rule}, but it returned an empty one.")
    for name, value in metrics.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            hint = " Without `.item()` it stays a tensor." if is_number(value) else ""
            raise TypeError(f"{rule}, but {shown(name)} is {shown(value)}.{hint}")
        if value.dim():
            raise ValueError(f"{rule}, but {name!r} has the shape {tuple(value.shape)}.")
        if value.is_complex():
            raise ValueError(f"{rule}, which must be real, but {name!r} is of {value.dtype}.")
    return metrics


def check_names(metrics: Collection[str], before: Collection[str]) -> None:
    """Check that a batch has the metrics of the batches before it, if there are any.

    Raises:
        ValueError: If it has others, which could not be averaged over all examples.
    """
    if before and (differing := {*metrics} ^ {*before}):
        raise ValueError(
            "`task.metrics` must return the same names for every batch, but only some batches "
            f"have {shown(sorted(differing, key=str))}."
        )

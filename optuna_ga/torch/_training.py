"""A member in training: its numbers, and how far it has come.

Shapes: W weights of a member, S steps of an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optuna_ga._checks import check_int
from optuna_ga.torch._networks.structure import Structure
from optuna_ga.torch._optimizers import Optimizer
from optuna_ga.torch._schedules import Schedule, checked_factor
from optuna_ga.torch._task import Member

_MISSING = "missing"


class Epoch(NamedTuple):
    """The results of an epoch.

    Attributes:
        training_loss: Mean loss of the batches as they were trained on, by example.
        metrics: Means over the validation data.
    """

    training_loss: float
    metrics: dict[str, float]


@dataclass
class Training:
    """A member in training; a backend advances it by an epoch at a time.

    Attributes:
        member: Its settings.
        structure: That of its network.
        weights: Its weights `(W,)`.
        moments: The optimizer's tensors `(W,)`.
        buffers: Its buffers and frozen parameters, by name.
        n_epochs: Epochs since the initial weights.
        n_steps: Steps since the initial weights.
    """

    member: Member
    structure: Structure
    weights: Tensor
    moments: tuple[Tensor, ...]
    buffers: dict[str, Tensor]
    n_epochs: int = 0
    n_steps: int = 0

    def advanced(
        self,
        weights: Tensor,
        moments: tuple[Tensor, ...],
        buffers: dict[str, Tensor],
        n_steps: int,
    ) -> Training:
        """Return the training an epoch later."""
        if not self.member.momentum and len(moments) == 1:
            # Without momentum PyTorch's SGD keeps no buffer.
            moments = (torch.zeros_like(moments[0]),)
        return replace(
            self,
            weights=weights,
            moments=moments,
            buffers=buffers,
            n_epochs=self.n_epochs + 1,
            n_steps=self.n_steps + n_steps,
        )

    def rates(self, schedule: Schedule, epochs: int, n_steps: int) -> list[float]:
        """Return the learning rates of the next epoch's steps."""
        return list(self._rates(schedule, epochs, n_steps, self.n_epochs))

    def idle_epochs(self, schedule: Schedule, epochs: int, n_steps: int) -> int:
        """Return how many of the last epochs have a learning rate of 0 by the schedule alone."""
        if not self.member.learning_rate:
            return 0
        for n_idle in range(epochs):
            if any(self._rates(schedule, epochs, n_steps, self.n_epochs + epochs - 1 - n_idle)):
                return n_idle
        return epochs

    def _rates(self, schedule: Schedule, epochs: int, n_steps: int, epoch: int) -> Iterator[float]:
        own = self.member.schedule or schedule
        for step in range(n_steps):
            yield self.member.learning_rate * checked_factor(own, epoch + step / n_steps, epochs)

    def state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the state that `resumed` takes, of tensors and numbers alone."""

        def views(row: Tensor) -> dict[str, Tensor]:
            return self.structure.layout.views(row.clone())

        return {
            "weights": views(self.weights),
            "buffers": {name: each.clone() for name, each in self.buffers.items()},
            "optimizer": dict(zip(optimizer.moments, map(views, self.moments), strict=True)),
            "n_epochs": self.n_epochs,
            "n_steps": self.n_steps,
            "seed": self.member.seed,
        }

    def resumed(self, optimizer: Optimizer, state: Mapping[str, Any]) -> Training:
        """Return this training with the numbers of a state.

        Raises:
            ValueError: If the state is of another structure or optimizer, or has a negative age.
        """
        mine, theirs = _layout(self.state(optimizer)), _layout(state)
        for name in {**mine, **theirs}:
            if mine.get(name) != theirs.get(name):
                raise ValueError(
                    "A training can only go on from the state of a network of the same shape and "
                    f"type and with the same optimizer: `{name}` of the state must be "
                    f"{mine.get(name, _MISSING)}, but it is {theirs.get(name, _MISSING)}. "
                    "Hyperparameters that change these cannot be searched by population-based "
                    "training."
                )
        device = self.weights.device
        rows = [state["weights"], *(state["optimizer"][name] for name in optimizer.moments)]
        weights, *moments = (self.structure.layout.rows(each).detach().to(device) for each in rows)
        return replace(
            self,
            member=replace(self.member, seed=state["seed"]),
            weights=weights,
            moments=tuple(moments),
            buffers={
                name: each.detach().to(device).clone() for name, each in state["buffers"].items()
            },
            n_epochs=check_int("n_epochs", state["n_epochs"], minimum=0),
            n_steps=check_int("n_steps", state["n_steps"], minimum=0),
        )


def _layout(state: Any, name: str = "") -> dict[str, str]:
    """Return shape and type of each part of a state, by dotted names."""
    if isinstance(state, Mapping):
        parts = [
            _layout(each, f"{name}.{key}" if name else str(key)) for key, each in state.items()
        ]
        return {name: kind for part in parts for name, kind in part.items()}
    if isinstance(state, Tensor):
        return {name: f"a tensor {tuple(state.shape)} of {state.dtype}"}
    return {name: f"of type {type(state).__name__}"}

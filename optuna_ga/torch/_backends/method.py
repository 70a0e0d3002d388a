"""The interface of the ways to compute gradients of many members: `vmap` and `branches`.

Shapes: P members, W weights of a member, B examples of a batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from torch import Tensor

from optuna_ga.torch._networks.structure import Structure


class Numbers(NamedTuple):
    """The numbers of all members that a gradient depends on.

    Attributes:
        weights: `(P, W)`.
        buffers: By name, `(P, ...)`.
        keys: Of the random numbers, int32 `(P,)`.
        step: The number of the batch within the epoch, int32 `()`.
    """

    weights: Tensor
    buffers: dict[str, Tensor]
    keys: Tensor
    step: Tensor


class Method(Protocol):
    """A way to compute with the numbers of P members."""

    def gradients(
        self, structure: Structure, loss: Any, numbers: Numbers, batch: Any, shared: bool
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return gradients `(P, W)`, losses `(P,)` and the buffers afterwards.

        Args:
            structure: That of the members.
            loss: The task's.
            numbers: The members'.
            batch: Tensors `(B, ...)` for all members, or `(P, B, ...)`.
            shared: Whether the batch is for all members.
        """

    def metrics(
        self, structure: Structure, metrics: Any, numbers: Numbers, batch: Any
    ) -> dict[str, Tensor]:
        """Return the task's metrics `(P,)` over a batch `(B, ...)` that the members share."""

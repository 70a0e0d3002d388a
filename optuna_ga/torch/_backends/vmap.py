"""Gradients of all members at once: `vmap` over the members of `grad` of the loss.

This is the whole idea. A function of one member's parameters, buffers and key is written down; its
gradient is taken; and the gradient is mapped over the members, so that each operation of the
network becomes one on a tensor that has all of them.

Shapes: P members, W weights of a member, B examples of a batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vmap

from optuna_ga.torch._backends.method import Numbers
from optuna_ga.torch._environment import plain_attention
from optuna_ga.torch._networks.structure import Structure


class ByVmap:
    """Computes all members as one."""

    def gradients(
        self, structure: Structure, loss: Any, numbers: Numbers, batch: Any, shared: bool
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return gradients `(P, W)`, losses `(P,)` and the buffers afterwards; see `Method`."""

        def loss_of_one(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], key: Tensor, batch: Any
        ) -> Any:
            value, after = structure.compute(loss, parameters, buffers, batch, key, numbers.step)
            return value, (value.detach(), after)

        batch = structure.own(batch) if shared else batch
        gradient_of_each = vmap(grad(loss_of_one, has_aux=True), (0, 0, 0, None if shared else 0))
        views = structure.layout.views(structure.rounded(numbers.weights))
        with plain_attention():
            gradients, (losses, after) = gradient_of_each(
                views, numbers.buffers, numbers.keys, batch
            )
        return structure.layout.rows(gradients), losses, after

    def metrics(
        self, structure: Structure, metrics: Any, numbers: Numbers, batch: Any
    ) -> dict[str, Tensor]:
        """Return sums `(P,)` over a batch that the members share; see `Method`."""

        def metrics_of_one(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], key: Tensor
        ) -> Any:
            def with_a_number(number: Tensor) -> Any:
                own = structure.own(batch)  # Here, since tensors from outside must stay.
                value, _ = structure.compute(metrics, parameters, buffers, own, key, numbers.step)
                return number, value

            # Recurrent cells can be mapped only where a gradient is taken, be it of nothing.
            return grad(with_a_number, has_aux=True)(torch.zeros((), device=key.device))[1]

        views = structure.layout.views(structure.rounded(numbers.weights))
        with plain_attention():
            result: dict[str, Tensor] = vmap(metrics_of_one)(views, numbers.buffers, numbers.keys)
        return result

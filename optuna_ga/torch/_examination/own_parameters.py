"""Gradients of each member by a network's own parameters: the measure of `vmap` and `branches`.

Shapes: P members, W weights of a member.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from optuna_ga.torch._backends.branches import row_of, row_of_gradients, stacked
from optuna_ga.torch._backends.method import Numbers
from optuna_ga.torch._data.tensor_data import n_rows
from optuna_ga.torch._networks.network import Network, marks
from optuna_ga.torch._networks.structure import Structure
from optuna_ga.torch._returned import check_loss, check_metrics


class ByOwnParameters:
    """Computes each member by itself, as `loop` does."""

    def gradients(
        self, structure: Structure, loss: Any, numbers: Numbers, batch: Any, shared: bool
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return gradients `(P, W)`, losses `(P,)` and the buffers afterwards; see `Method`.

        The structure gets to know which parameters are not used, and which are changed.
        """
        network = Network(structure, structure.model)
        leaves = network.parameters

        def differentiated(model: Any, batch: Any) -> Tensor:
            value = check_loss(loss(model, batch))
            # With inputs, so that checkpoints of the kind that `branches` cannot use are refused.
            value.backward(inputs=list(leaves.values()))
            return value.detach()

        results = []
        for row, weights in enumerate(numbers.weights):
            before = row_of(numbers.buffers, row)
            network.load(weights, before)
            network.module.zero_grad()
            marked, own = marks(leaves), structure.own(batch)
            value = network.call(differentiated, own, numbers.keys[row], numbers.step)
            structure.facts.note_changes(marked, marks(leaves))
            found = [leaf.grad for leaf in leaves.values()]
            gradient = row_of_gradients(structure, leaves, found, n_rows(own))
            after = {name: buffer.clone() for name, buffer in network.buffers().items()}
            structure.check_layouts(after, before)
            weights.copy_(network.weights())
            results.append((gradient.detach(), value, after))
        gradients, losses, buffers = zip(*results, strict=True)
        return torch.stack(gradients), torch.stack(losses), stacked(buffers)

    def metrics(
        self, structure: Structure, metrics: Any, numbers: Numbers, batch: Any
    ) -> dict[str, Tensor]:
        """Return sums `(P,)` over a batch that the members share; see `Method`."""
        network = Network(structure, structure.model)
        results = []
        for row, weights in enumerate(numbers.weights):
            network.load(weights, row_of(numbers.buffers, row))
            own, key, marked = structure.own(batch), numbers.keys[row], marks(network.parameters)
            results.append(check_metrics(network.call(metrics, own, key, numbers.step)))
            structure.facts.note_changes(marked, marks(network.parameters))
        return stacked(results)

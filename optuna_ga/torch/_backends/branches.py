"""Gradients of each member by itself, on a GPU on several streams at once.

For networks that `vmap` refuses, for few members, and for large convolutions, whose grouped form
is slower than several plain ones side by side. Captured as one CUDA graph, the members are
branches of it.

Shapes: P members, W weights of a member.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from optuna_ga.torch._backends.method import Numbers
from optuna_ga.torch._data.tensor_data import n_rows
from optuna_ga.torch._networks.structure import Structure
from optuna_ga.torch._returned import check_loss, check_metrics

_N_STREAMS = 8  # Measured on an H200: twice as fast as four for small networks.


class ByBranches:
    """Computes each member by itself.

    Args:
        device: The device that computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._streams: list[torch.cuda.Stream] = []
        if device.type == "cuda":
            self._streams = [torch.cuda.Stream(device) for _ in range(_N_STREAMS)]

    def gradients(
        self, structure: Structure, loss: Any, numbers: Numbers, batch: Any, shared: bool
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return gradients `(P, W)`, losses `(P,)` and the buffers afterwards; see `Method`."""
        weights = structure.rounded(numbers.weights)

        def gradient_of(row: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
            leaves = _leaves(structure, weights[row])
            own = structure.own(batch) if shared else tree_map(lambda tensor: tensor[row], batch)

            def differentiated(model: Any, batch: Any) -> tuple[Tensor, tuple[Tensor | None, ...]]:
                # Here, since `torch.utils.checkpoint` computes with the model again.
                value = check_loss(loss(model, batch))
                return value, torch.autograd.grad(value, list(leaves.values()), allow_unused=True)

            buffers, key = row_of(numbers.buffers, row), numbers.keys[row]
            (value, found), after = structure.compute(
                differentiated, leaves, buffers, own, key, numbers.step
            )
            return row_of_gradients(structure, leaves, found, n_rows(own)), value.detach(), after

        with self._side_by_side(len(weights)) as places:
            results = []
            for row, stream in enumerate(places):
                with torch.cuda.stream(stream):
                    results.append(gradient_of(row))
        gradients, losses, after = zip(*results, strict=True)
        return torch.stack(gradients), torch.stack(losses), stacked(after)

    def metrics(
        self, structure: Structure, metrics: Any, numbers: Numbers, batch: Any
    ) -> dict[str, Tensor]:
        """Return sums `(P,)` over a batch that the members share; see `Method`."""
        weights = structure.rounded(numbers.weights)
        if structure.facts.changes_weights:  # Evaluation is to change nothing.
            weights = weights.clone()
        with self._side_by_side(len(weights)) as places:
            results = []
            for row, stream in enumerate(places):
                with torch.cuda.stream(stream):
                    value, _ = structure.compute(
                        metrics,
                        _leaves(structure, weights[row]),  # Metrics may ask what is trained.
                        row_of(numbers.buffers, row),
                        structure.own(batch),
                        numbers.keys[row],
                        numbers.step,
                    )
                results.append(check_metrics(value))
        return stacked(results)

    @contextmanager
    def _side_by_side(self, n: int) -> Iterator[list[torch.cuda.Stream | None]]:
        """Yield a stream for each member; they begin after, and end before, the current one."""
        used = self._streams[:n]
        for stream in used:
            stream.wait_stream(torch.cuda.current_stream(stream.device))
        try:
            yield [used[row % len(used)] if used else None for row in range(n)]
        finally:  # A capture whose streams are apart cannot end, and hides what went wrong.
            for stream in used:
                torch.cuda.current_stream(stream.device).wait_stream(stream)


def _leaves(structure: Structure, weights: Tensor) -> dict[str, Tensor]:
    """Return the parameters in a row `(W,)`, of which gradients can be taken."""
    views = structure.layout.views(weights)
    return {name: view.detach().requires_grad_() for name, view in views.items()}


def row_of_gradients(
    structure: Structure,
    leaves: Mapping[str, Tensor],
    found: Iterable[Tensor | None],
    n_examples: int,
) -> Tensor:
    """Return gradients of a batch as a row `(W,)`, and note the parameters that have none.

    Raises:
        ValueError: If a gradient is sparse.
    """
    gradients = dict(zip(leaves, found, strict=True))
    for name, each in gradients.items():
        if each is not None and each.layout != torch.strided:
            raise ValueError(
                f"`task.model` must return a network with dense gradients, but that of `{name}` "
                f"is {each.layout}. Embeddings have dense ones with `sparse=False`."
            )
    unused = frozenset(name for name, each in gradients.items() if each is None)
    structure.facts.unused.setdefault(n_examples, unused)
    return structure.layout.rows(
        {
            name: torch.zeros_like(leaves[name]) if each is None else each
            for name, each in gradients.items()
        }
    )


def row_of(tensors: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    """Return the tensors of a member."""
    return {name: tensor[row] for name, tensor in tensors.items()}


def stacked(rows: Any) -> dict[str, Tensor]:
    """Return the tensors of all members, from those of each."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

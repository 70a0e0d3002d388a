"""A network that computes with parameters of its own, as PyTorch alone does.

So hooks on parameters, functions that enclose the network, and changes in place have an effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from optuna_ga.torch._environment import forget_casts
from optuna_ga.torch._networks.structure import Structure
from optuna_ga.torch._torch_internals import n_changes


class Network:
    """A module with the numbers of one member.

    Args:
        structure: That of the member.
        module: A module of this structure.

    Attributes:
        module: The module.
        parameters: Its parameters that are trained, by name.
    """

    def __init__(self, structure: Structure, module: nn.Module) -> None:
        self._structure = structure
        self.module = module
        self.parameters = structure.trained(module)

    def load(self, weights: Tensor | None, buffers: Mapping[str, Tensor]) -> None:
        """Take a member's weights `(W,)`, if they are given, and buffers."""
        with torch.no_grad():
            if weights is not None:
                _copy(self._structure.layout.views(weights), self.parameters)
            _copy(buffers, self.buffers())

    def weights(self) -> Tensor:
        """Return the present weights `(W,)`, a copy."""
        return self._structure.layout.rows(
            {name: p.detach() for name, p in self.parameters.items()}
        )

    def buffers(self) -> dict[str, Tensor]:
        """Return the present buffers and frozen parameters."""
        return self._structure.buffers(self.module)

    def call(self, function: Any, batch: Any, key: Tensor, step: Tensor) -> Any:
        """Call a function of model and batch with a member's random numbers.

        Raises:
            ValueError: If it changes parameters in place, of which there are but casts.
        """
        if not self._structure.computes_in_half:
            forget_casts()
            with self._structure.randomness(key, step):
                return function(self.module, batch)
        casts = {name: p.bfloat16() for name, p in self.parameters.items()}
        before = marks(casts)
        result, buffers = self._structure.compute(
            function, casts, self.buffers(), batch, key, step, self.module
        )
        if marks(casts) != before:
            raise ValueError(
                "`task` must not change the parameters to train itself if `precision` is "
                "'bfloat16', since it sees casts of them, but it does: by assignments to `.data`, "
                "by functions that end in `_`, or by `max_norm` of an embedding."
            )
        with torch.no_grad():
            _copy(buffers, self.buffers())
        return result


def marks(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, int]]:
    """Return of each tensor the place of its numbers, and how often they were changed there."""
    return {name: (each.data_ptr(), n_changes(each)) for name, each in tensors.items()}


def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, tensor in source.items():
        target[name].copy_(tensor)

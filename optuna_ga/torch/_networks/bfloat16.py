"""Models that compute in bfloat16, with losses and statistics in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only


def compute_in_bfloat16(model: nn.Module) -> None:
    """Have a model take its floating-point inputs in bfloat16, and give float32 outputs.

    `torch.autocast` cannot be used: inside `vmap(grad)` it fails for normalisation and attention.
    """
    model.register_forward_pre_hook(
        lambda module, args, kwargs: (_cast(args), _cast(kwargs)), with_kwargs=True
    )
    model.register_forward_hook(lambda module, args, output: _cast(output, torch.float32))


def _cast(tree: Any, dtype: torch.dtype = torch.bfloat16) -> Any:
    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return tree_map_only(Tensor, cast, tree)


class Float32Statistics(TorchFunctionMode):
    """A context in which batch normalisation computes in float32, the type of its statistics."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of PyTorch, in float32 if it is batch normalisation."""
        kwargs = kwargs or {}
        if func is F.batch_norm:
            args, kwargs = _cast((args, kwargs), torch.float32)
            return func(*args, **kwargs).to(torch.bfloat16)
        return func(*args, **kwargs)

"""What PyTorch keeps of tensors and parametrizations without a public name."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.utils import parametrize


def n_changes(tensor: Tensor) -> int:
    """Return how often a tensor's numbers were changed in place."""
    return int(getattr(tensor, "_version"))  # noqa: B009


def hooks_of(tensor: Tensor) -> list[Any]:
    """Return the hooks on a tensor's gradient."""
    kinds = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return [hook for kind in kinds for hook in (getattr(tensor, kind, None) or {}).values()]


def parametrization_cache() -> object:
    """Return the cache of `torch.nn.utils.parametrize.cached`, of which each use leaves another.

    All threads have the same one.
    """
    return vars(parametrize).get("_cache")

"""What PyTorch has no public name for: of tensors, parametrizations, transforms and draws."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import _functorch
from torch.nn.utils import parametrize

# `torch.distributions` draws by these.
sample_gamma: Any = getattr(torch, "_standard_gamma")  # noqa: B009
sample_dirichlet: Any = getattr(torch, "_sample_dirichlet")  # noqa: B009


def argument_names(operation: Any) -> list[str]:
    """Return the names of the arguments of an operation of PyTorch, in their order."""
    schema: Any = getattr(operation, "_schema")  # noqa: B009
    return [each.name for each in schema.arguments]


def n_changes(tensor: Tensor) -> int:
    """Return how often a tensor's numbers were changed in place."""
    return int(getattr(tensor, "_version"))  # noqa: B009


def is_of_vmap(tensor: Tensor) -> bool:
    """Return whether a tensor stands for those of several members, and has no numbers itself."""
    while _functorch.is_gradtrackingtensor(tensor):  # It has numbers if what it wraps has.
        tensor = _functorch.get_unwrapped(tensor)
    return bool(_functorch.is_batchedtensor(tensor))


def hooks_of(tensor: Tensor) -> list[Any]:
    """Return the hooks on a tensor's gradient."""
    kinds = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return [hook for kind in kinds for hook in (getattr(tensor, kind, None) or {}).values()]


def set_by_hooks(model: nn.Module) -> list[Tensor]:
    """Return the tensors that `nn.utils.spectral_norm` and its like set anew before each call."""
    found = []
    for module in model.modules():
        for hook in getattr(module, "_forward_pre_hooks").values():  # noqa: B009
            name = getattr(hook, "name", None)
            found.append(vars(module).get(name) if isinstance(name, str) else None)
    return [each for each in found if isinstance(each, Tensor)]


def parametrization_cache() -> object:
    """Return the cache of `torch.nn.utils.parametrize.cached`, of which each use leaves another.

    All threads have the same one.
    """
    return vars(parametrize).get("_cache")


def holds_any(condition: Tensor) -> bool:
    """Return whether something is true; False where reading it would wait or fail.

    As a GPU is waited for, and as `vmap` fails.
    """
    is_hidden = torch._C._functorch.is_functorch_wrapped_tensor(condition)
    return condition.device.type == "cpu" and not is_hidden and bool(condition.any())


def n_transforms() -> int:
    """Return how many of `torch.func`'s transforms the present call is in."""
    return len(_transforms())


def is_in_vmap(n_outer: int) -> bool:
    """Return whether one of the transforms is a `vmap`, but for the `n_outer` outermost ones."""
    return any("Vmap" in str(each.key()) for each in _transforms()[n_outer:])


def _transforms() -> list[Any]:
    if torch.compiler.is_compiling():
        return []  # `torch.compile` cannot trace the next call.
    return torch._C._functorch.get_interpreter_stack() or []


def end_recording(device: int, pool: tuple[int, int]) -> None:
    """End a capture's use of memory, which PyTorch leaves open if the capture cannot end."""
    of_version = ("_cuda_endAllocateToPool", "_cuda_endAllocateCurrentStreamToPool")
    end = next((f for name in of_version if (f := getattr(torch._C, name, None))), None)
    with suppress(RuntimeError):  # Of a pool that is no longer in use.
        if end is not None:
            end(device, pool)
            torch._C._cuda_releasePool(device, pool)

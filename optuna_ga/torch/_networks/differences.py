"""Whether a network computes the same in two ways, as far as rounding lets it.

True differences are of the size of the gradient. Where numbers are rounded to TF32, bfloat16 or
float16, one that is rounded the other way makes the next ones differ, and so on with each layer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Relative differences: by the order of atomic sums; by that of float32 sums; and both by rounding.
_SAME, _SAME_ROUNDED = 1e-4, 0.1
_ALIKE, _ALIKE_ROUNDED = 1e-2, 0.3
_SMALL = 1e-6
_MARGIN = 5.0  # Of a difference that another run has by chance.
SHORT = frozenset({torch.bfloat16, torch.float16})


def difference(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Return the largest difference of two tensors, relative to the size of the first.

    By their norms, since rounding may turn a single ReLU on.
    """
    found = [0.0]
    for mine, theirs in zip(one, other, strict=True):
        wide = torch.complex128 if mine.is_complex() else torch.float64
        difference = (mine.to(wide) - theirs.to(wide)).norm().item()
        if math.isfinite(difference):  # Gradients that are not finite cannot be compared.
            found.append(difference / (mine.to(wide).norm().item() + _SMALL))
    return max(found)


def is_alike(one: Sequence[Tensor], other: Sequence[Tensor], rounds: bool) -> bool:
    """Return whether results of other operations agree; `rounds` if these round."""
    return difference(one, other) <= (_ALIKE_ROUNDED if rounds else _ALIKE)


def repeats(one: Sequence[Tensor], other: Sequence[Tensor], rounds: bool) -> bool:
    """Return whether results of the same operations agree; only on a GPU they may differ."""
    is_rough = rounds and any(each.is_cuda for each in other)
    return difference(one, other) <= (_SAME_ROUNDED if is_rough else _SAME)


def repeats_metrics(one: Sequence[Tensor], other: Sequence[Tensor], rounds: bool) -> bool:
    """Return whether metrics agree, but for numbers of hits where rounding may turn one."""
    pairs = [
        (mine, theirs)
        for mine, theirs in zip(one, other, strict=True)
        if not (rounds and theirs.is_cuda and is_whole(mine) and is_whole(theirs))
    ]
    return repeats([mine for mine, _ in pairs], [theirs for _, theirs in pairs], rounds)


def is_within_noise(one: Sequence[Tensor], again: Sequence[Tensor], other: list[Tensor]) -> bool:
    """Return whether results agree as well as two runs in one way do."""
    noise = min(_MARGIN * difference(one, again), _SAME_ROUNDED)
    return difference(one, other) <= max(_SAME, noise)


def contiguous(model: nn.Module) -> nn.Module:
    """Return a network with its tensors in the usual layout, in which backends hold them."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.stride() != torch.empty(tensor.shape, device="meta").stride():
            tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return model


def is_whole(tensor: Tensor) -> bool:
    """Return whether all numbers are whole."""
    return torch.equal(tensor, tensor.round())

"""Tensors of a network in the memory of a parameter to train.

They change with it, but a copy of the network would separate them, as would numbers from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn


class _Span(NamedTuple):
    """A tensor in memory, from its first to behind its last byte.

    Attributes:
        start: The first address.
        end: The address behind the last.
        name: The tensor's name.
        tensor: The tensor.
    """

    start: int
    end: int
    name: str
    tensor: Tensor


def check_apart(model: nn.Module, others: Iterable[tuple[str, Tensor]] = ()) -> None:
    """Check that no other tensor of a network is in the memory of a parameter to train.

    Args:
        model: The network.
        others: Further tensors that it holds, with names.

    Raises:
        ValueError: If one is.
    """
    known = [*model.named_parameters(), *model.named_buffers()]
    ids = {id(tensor) for _, tensor in known}
    known += [(name, tensor) for name, tensor in others if id(tensor) not in ids]
    spans = sorted(
        (span for name, tensor in known for span in _spans(name, tensor)),
        key=lambda span: span.start,
    )
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    for one, other in _overlapping(spans):
        is_trained = {id(one.tensor), id(other.tensor)} & trained
        if is_trained and _have_common(one.tensor, other.tensor):
            raise ValueError(
                "`task.model` must return a network whose parameters to train share their memory "
                f"with no other tensor, but `{one.name}` and `{other.name}` share it, as by "
                "`.data`. Tie weights by one `nn.Parameter` in both places, and copy what is to "
                "stay by `.clone()`."
            )


def _spans(name: str, tensor: Tensor) -> Iterator[_Span]:
    """Yield where a tensor is in memory, if it is there and dense."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_nested or not tensor.numel():
        return
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    n = 1 + sum((size - 1) * stride for size, stride in steps)
    try:
        start = tensor.data_ptr()
    except RuntimeError:  # Of one that `vmap` has left behind.
        return
    yield _Span(start, start + n * tensor.element_size(), name, tensor)


def _overlapping(spans: Iterable[_Span]) -> Iterator[tuple[_Span, _Span]]:
    """Yield pairs of tensors in the same part of memory, of spans in the order of memory."""
    before: list[_Span] = []
    for span in spans:
        before = [each for each in before if each.end > span.start]
        yield from ((each, span) for each in before)
        before.append(span)


def _have_common(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors in the same part of memory share a number of it."""
    if one.device != other.device:
        return False
    if one.is_contiguous() and other.is_contiguous():
        return True
    storage, size = one.untyped_storage(), one.element_size()
    is_one = storage.data_ptr() == other.untyped_storage().data_ptr()
    if not is_one or size != other.element_size():
        return True
    # Columns of one matrix lie between each other.
    places = torch.arange(len(storage) // size, device="cpu")
    mine, theirs = (
        places.as_strided(each.shape, each.stride(), each.storage_offset()).flatten()
        for each in (one, other)
    )
    return bool(torch.isin(mine, theirs).any())

"""Products of a network's inputs with its weights, by which backends are chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn


@contextmanager
def counted_products(
    model: nn.Module,
) -> Iterator[tuple[list[int], list[int], set[torch.dtype]]]:
    """Yield lists that get the products of convolutions and of other layers, for a batch.

    Those of training are counted, not those of evaluation, nor what cannot be read. With them is
    a set of the types that the layers return, to which `torch.autocast` rounds.
    """
    convolutions: list[int] = []
    others: list[int] = []
    types: set[torch.dtype] = set()

    def count(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        if module.training:
            counts = convolutions if isinstance(module, nn.modules.conv._ConvNd) else others
            with suppress(Exception):  # A subclass may take and return anything.
                types.add((output[0] if isinstance(output, tuple) else output).dtype)
                counts.append(_products(module, [*args, *kwargs.values()], output))

    kinds = nn.modules.conv._ConvNd, nn.Linear, nn.MultiheadAttention, nn.RNNBase
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    handles = [layer.register_forward_hook(count, with_kwargs=True) for layer in layers]
    try:
        yield convolutions, others, types
    finally:
        for handle in handles:
            handle.remove()


def _products(module: Any, inputs: Any, output: Any) -> int:
    """Return the number of products of a layer's inputs with its weights.

    Sizes are those of settings: reading a parametrized weight would compute it again, and a
    spectral norm changes its buffers each time.
    """
    if isinstance(module, nn.MultiheadAttention):  # Its projections are no layers of their own.
        return int(output[0].numel() * 4 * module.embed_dim)
    if isinstance(module, nn.RNNBase):
        n_steps = inputs[0].data.numel() // module.input_size  # Those of a packed sequence, too.
        return int(n_steps * sum(weight.numel() for weight in module.parameters()))
    if isinstance(module, nn.Linear):
        return int(output.numel() * module.in_features)
    # A transposed convolution spreads each input, as another gathers each output.
    ends = (inputs[0], module.out_channels) if module.transposed else (output, module.in_channels)
    return int(ends[0].numel() * ends[1] // module.groups * math.prod(module.kernel_size))

"""Dropout of every kind, by a member's random numbers; else the functions are PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.utils._pytree import tree_map

from optuna_ga.torch._randomness.random_numbers import RandomNumbers, Shape
from optuna_ga.torch._torch_internals import holds_any

_SELU_LIMIT = -1.7580993408473766  # What SELU gives to the lowest inputs.


def _dropout(
    numbers: RandomNumbers, input: Tensor, p: Any = 0.5, training: bool = True,
    inplace: bool = False,
) -> Tensor:  # fmt: skip
    check_probability(p)
    return _masked(numbers, input, p, input.shape, inplace) if training else input


def _dropout1d(
    numbers: RandomNumbers, input: Tensor, p: Any = 0.5, training: bool = True,
    inplace: bool = False,
) -> Tensor:  # fmt: skip
    check_probability(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(f"dropout1d takes 2 or 3 dimensions, but got {input.dim()}.")
    n_outer = 1 if input.dim() == 2 else 2
    return _without_channels(numbers, input, p, training, inplace, n_outer)


def _dropout2d(
    numbers: RandomNumbers, input: Tensor, p: Any = 0.5, training: bool = True,
    inplace: bool = False,
) -> Tensor:  # fmt: skip
    check_probability(p)
    if training and input.dim() < 2:
        raise RuntimeError(f"dropout2d takes 2 or more dimensions, but got {input.dim()}.")
    # The first two are those of examples and channels, also without a batch: PyTorch's way.
    return _without_channels(numbers, input, p, training, inplace, 2)


def _dropout3d(
    numbers: RandomNumbers, input: Tensor, p: Any = 0.5, training: bool = True,
    inplace: bool = False,
) -> Tensor:  # fmt: skip
    check_probability(p)
    n_outer = 2 if input.dim() == 5 else 1
    return _without_channels(numbers, input, p, training, inplace, n_outer)


def _without_channels(
    numbers: RandomNumbers, hidden: Tensor, p: Any, training: bool, inplace: bool, n_outer: int
) -> Tensor:
    """Drop channels as a whole, which the first `n_outer` dimensions tell apart."""
    if not training:
        return hidden
    return _masked(numbers, hidden, p, _shape_of_channels(hidden, n_outer), inplace)


def _shape_of_channels(hidden: Tensor, n_outer: int) -> Shape:
    return (*hidden.shape[:n_outer], *[1] * (hidden.dim() - n_outer))


def _masked(numbers: RandomNumbers, hidden: Tensor, p: Any, shape: Shape, inplace: bool) -> Tensor:
    if not isinstance(p, Tensor) and p in (0, 1):
        masked = hidden * 0 if p else hidden  # The scale would be infinite.
    else:
        masked = hidden * _kept(numbers, p, shape) * (1.0 / (1.0 - p))
    return hidden.copy_(masked) if inplace else masked


def _kept(numbers: RandomNumbers, p: Any, shape: Shape) -> Tensor:
    """Return which places stay."""
    kept: Tensor = numbers.bits(shape) >= p * 2.0**32 - 2.0**31
    return kept


def _alpha_dropout(
    numbers: RandomNumbers, input: Tensor, p: float = 0.5, training: bool = False,
    inplace: bool = False,
) -> Tensor:  # fmt: skip
    check_probability(p)
    return _limited(numbers, input, p, input.shape, inplace) if training else input


def _feature_alpha_dropout(
    numbers: RandomNumbers, input: Tensor, p: float = 0.5, training: bool = False,
    inplace: bool = False,
) -> Tensor:  # fmt: skip
    check_probability(p)
    if not training:
        return input
    if input.dim() < 2:
        raise RuntimeError(f"Feature dropout takes 2 or more dimensions, but got {input.dim()}.")
    return _limited(numbers, input, p, _shape_of_channels(input, 2), inplace)


def _limited(
    numbers: RandomNumbers, hidden: Tensor, p: float, shape: Shape, inplace: bool
) -> Tensor:
    """Set places to SELU's limit, and keep mean and deviation."""
    if p in (0, 1):
        limited = hidden * 0 if p else hidden
    else:
        kept = _kept(numbers, p, shape)
        scale = ((_SELU_LIMIT**2 * p + 1.0) * (1.0 - p)) ** -0.5
        limited = (hidden * kept + _SELU_LIMIT * ((~kept).to(hidden.dtype) - p)) * scale
    return hidden.copy_(limited) if inplace else limited


def _attention(
    numbers: RandomNumbers, query: Tensor, key: Tensor, value: Tensor,
    attn_mask: Tensor | None = None, dropout_p: float = 0.0, is_causal: bool = False,
    **options: Any,
) -> Tensor:  # fmt: skip
    if dropout_p == 0.0:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, 0.0, is_causal, **options
        )
    if options.get("enable_gqa"):
        repeats = query.size(-3) // key.size(-3)
        key, value = (t.repeat_interleave(repeats, -3) for t in (key, value))
    if is_causal and attn_mask is not None:
        raise RuntimeError("Attention takes `is_causal` or `attn_mask`, but both were given.")
    scale = options.get("scale")
    scores = query @ key.transpose(-2, -1) * (query.size(-1) ** -0.5 if scale is None else scale)
    if is_causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~allowed, -math.inf)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    shares = scores.softmax(-1) if attn_mask is None else _safe_softmax(scores)
    return _dropout(numbers, shares, dropout_p) @ value


def _safe_softmax(scores: Tensor) -> Tensor:
    """Return shares of the last dimension, zeros where no score is finite, as PyTorch does."""
    is_masked = scores.isneginf().all(-1, keepdim=True)
    # Before, too, or the gradient would be no number.
    return scores.masked_fill(is_masked, 0.0).softmax(-1).masked_fill(is_masked, 0.0)


def _multi_head_attention(numbers: RandomNumbers, *args: Any, **kwargs: Any) -> Any:
    # PyTorch's own, with this dropout and attention.
    original = F.multi_head_attention_forward
    names = {
        **original.__globals__,
        "dropout": partial(_dropout, numbers),
        "scaled_dot_product_attention": partial(_attention, numbers),
        "has_torch_function": lambda tensors: False,
    }
    function = FunctionType(original.__code__, names, argdefs=original.__defaults__)
    function.__kwdefaults__ = original.__kwdefaults__
    return function(*args, **kwargs)


def _recurrent(function: Callable[..., Any], numbers: RandomNumbers, *args: Any) -> Any:
    """Compute recurrent layers one by one, with dropout between them."""
    n_inputs = 1 if isinstance(args[2], list) else 2  # A packed sequence has sizes, too.
    inputs, (states, weights, has_biases, n_layers, p, training, *rest) = (
        args[:n_inputs], args[n_inputs:]
    )  # fmt: skip
    if n_layers == 1:  # No dropout, for which cuDNN would draw a seed all the same.
        return function(*inputs, states, weights, has_biases, 1, 0.0, training, *rest)
    if not (p and training):
        return function(*args)
    hidden, *sizes = inputs
    n_weights = len(weights) // n_layers
    ends = []
    for layer in range(n_layers):
        begin = tree_map(lambda state, n=layer: state.chunk(n_layers)[n], states)
        own = weights[layer * n_weights : (layer + 1) * n_weights]
        if layer:
            hidden = _dropout(numbers, hidden, p)
        hidden, *end = function(hidden, *sizes, begin, own, has_biases, 1, 0.0, training, *rest)
        ends.append(end)
    return hidden, *map(torch.cat, zip(*ends, strict=True))


def check_probability(p: Any) -> None:
    """Check that a number lies in [0, 1], or those of a tensor, as far as they can be read.

    Raises:
        ValueError: If one does not.
    """
    is_wrong = holds_any((p < 0) | (p > 1)) if isinstance(p, Tensor) else not 0 <= p <= 1
    if is_wrong:
        raise ValueError(f"A probability must lie in [0, 1], but {p} was given.")


DROPOUTS: dict[Any, Callable[..., Any]] = {
    F.dropout: _dropout,
    F.dropout1d: _dropout1d,
    F.dropout2d: _dropout2d,
    F.dropout3d: _dropout3d,
    F.alpha_dropout: _alpha_dropout,
    F.feature_alpha_dropout: _feature_alpha_dropout,
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: _multi_head_attention,
    **{
        function: partial(_recurrent, function)
        for function in (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
    },
}

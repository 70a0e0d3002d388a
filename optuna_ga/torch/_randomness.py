"""Random numbers that depend on a member's seed and on nothing else.

A shared generator would give numbers by a member's place in the population. Here they
are a hash of the member's key, the step, the call and the element's place in its tensor: the same
for every backend, device and company, and nothing is to be saved or restored.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.overrides import TorchFunctionMode

# "triple32", https://nullprogram.com/blog/2018/07/31/: shifts and multipliers, as signed numbers.
_ROUNDS = (17, 0xED5AD4BB - 2**32), (11, 0xAC4C1B51 - 2**32), (15, 0x31848BAB)
_WEYL = 0x9E3779B9 - 2**32


def derived_seed(*parts: object) -> int:
    """Return a seed in [0, 2^63) that these parts determine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def member_key(seed: int, epoch: int) -> int:
    """Return the key, a signed 32-bit number, of a member's random numbers in an epoch."""
    return (derived_seed(seed, epoch, "dropout") & 0xFFFFFFFF) - 2**31


class MemberRandomness(TorchFunctionMode):
    """A context in which dropout and `rand_like` draw the numbers of one member.

    Args:
        key: The member's key, an int32 tensor `()`, in `vmap` a batched one.
        step: The step within the epoch, an int32 tensor `()` that the members share.
    """

    def __init__(self, key: Tensor, step: Tensor) -> None:
        super().__init__()
        self.was_needed = False
        self._key = key
        self._step = step
        self._base: Tensor | None = None
        self._n_calls = 0
        self._handlers: dict[Any, Callable[..., Any]] = {
            F.dropout: self._dropout,
            F.dropout1d: self._dropout1d,
            F.dropout2d: self._dropout2d,
            F.dropout3d: self._dropout3d,
            F.scaled_dot_product_attention: self._attention,
            F.multi_head_attention_forward: self._multi_head_attention,
            torch.rand_like: self._rand_like,
            torch.randn_like: self._randn_like,
        }

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of PyTorch, or its replacement here."""
        handler = self._handlers.get(func)
        if handler is None:
            return func(*args, **(kwargs or {}))
        self.was_needed = True
        return handler(*args, **(kwargs or {}))

    def _bits(self, shape: tuple[int, ...]) -> Tensor:
        """Return uniform int32 numbers in [-2^31, 2^31)."""
        if self._base is None:
            self._base = _mixed(self._key ^ _mixed(self._step * _WEYL))
        places = torch.arange(math.prod(shape), dtype=torch.int32, device=self._key.device)
        self._n_calls += 1
        salt = _signed(self._n_calls * _WEYL)
        return _mixed(places ^ (self._base + salt)).view(shape)

    def _uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Return float32 numbers in [0, 1)."""
        return ((self._bits(shape) >> 8) & 0xFFFFFF).float() * 2.0**-24

    def _dropout(
        self, input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        _check_probability(p)
        return self._masked(input, p, input.shape, inplace) if training else input

    def _dropout1d(
        self, input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        _check_probability(p)
        if input.dim() not in (2, 3):
            raise RuntimeError(f"dropout1d takes 2 or 3 dimensions, but got {input.dim()}.")
        n_outer = 1 if input.dim() == 2 else 2
        return self._without_channels(input, p, training, inplace, n_outer)

    def _dropout2d(
        self, input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        _check_probability(p)
        if training and input.dim() < 2:
            raise RuntimeError(f"dropout2d takes 2 or more dimensions, but got {input.dim()}.")
        # The first two are those of examples and channels, also without a batch: PyTorch's way.
        return self._without_channels(input, p, training, inplace, 2)

    def _dropout3d(
        self, input: Tensor, p: Any = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        _check_probability(p)
        n_outer = 2 if input.dim() == 5 else 1
        return self._without_channels(input, p, training, inplace, n_outer)

    def _without_channels(
        self, hidden: Tensor, p: Any, training: bool, inplace: bool, n_outer: int
    ) -> Tensor:
        """Drop channels as a whole, which the first `n_outer` dimensions tell apart."""
        if not training:
            return hidden
        n_inner = hidden.dim() - n_outer
        return self._masked(hidden, p, (*hidden.shape[:n_outer], *[1] * n_inner), inplace)

    def _masked(self, hidden: Tensor, p: Any, shape: tuple[int, ...], inplace: bool) -> Tensor:
        if not isinstance(p, Tensor) and p in (0, 1):
            masked = hidden * 0 if p else hidden  # The scale would be infinite.
        else:
            kept = self._bits(shape) >= p * 2.0**32 - 2.0**31
            masked = hidden * kept * (1.0 / (1.0 - p))
        return hidden.copy_(masked) if inplace else masked

    def _rand_like(self, input: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
        return self._uniform(input.shape).to(dtype or input.dtype)

    def _randn_like(self, input: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
        # Box and Muller's transform.
        radius = (-2.0 * torch.log1p(-self._uniform(input.shape))).sqrt()
        angle = 2.0 * math.pi * self._uniform(input.shape)
        return (radius * angle.cos()).to(dtype or input.dtype)

    def _attention(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
        dropout_p: float = 0.0, is_causal: bool = False, **options: Any,
    ) -> Tensor:  # fmt: skip
        if dropout_p == 0.0:
            return F.scaled_dot_product_attention(
                query, key, value, attn_mask, 0.0, is_causal, **options
            )
        if options.get("enable_gqa"):
            repeats = query.size(-3) // key.size(-3)
            key, value = (t.repeat_interleave(repeats, -3) for t in (key, value))
        scale = options.get("scale") or query.size(-1) ** -0.5
        scores = query @ key.transpose(-2, -1) * scale
        if is_causal:
            allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            scores = scores.masked_fill(~allowed, -math.inf)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -math.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        shares = scores.softmax(-1) if attn_mask is None else _safe_softmax(scores)
        attended: Tensor = self._dropout(shares, dropout_p) @ value
        return attended

    def _multi_head_attention(self, *args: Any, **kwargs: Any) -> Any:
        # PyTorch's own, with this dropout and attention.
        original = F.multi_head_attention_forward
        names = {
            **original.__globals__,
            "dropout": self._dropout,
            "scaled_dot_product_attention": self._attention,
            "has_torch_function": lambda tensors: False,
        }
        function = FunctionType(original.__code__, names, argdefs=original.__defaults__)
        function.__kwdefaults__ = original.__kwdefaults__
        return function(*args, **kwargs)


def _safe_softmax(scores: Tensor) -> Tensor:
    """Return shares of the last dimension, zeros where no score is finite, as PyTorch does."""
    is_masked = scores.isneginf().all(-1, keepdim=True)
    # Before, too, or the gradient would be no number.
    return scores.masked_fill(is_masked, 0.0).softmax(-1).masked_fill(is_masked, 0.0)


def _check_probability(p: Any) -> None:
    if not isinstance(p, Tensor) and not 0 <= p <= 1:
        raise ValueError(f"A dropout probability must lie in [0, 1], but {p} was given.")


def _mixed(bits: Tensor) -> Tensor:
    """Return a hash of 32-bit numbers; products wrap around, and shifts copy no sign."""
    for shift, multiplier in _ROUNDS:
        bits = (bits ^ ((bits >> shift) & (2 ** (32 - shift) - 1))) * multiplier
    return bits ^ ((bits >> 14) & 0x3FFFF)


def _signed(number: int) -> int:
    """Return the signed 32-bit number with the same lowest bits."""
    return (number + 2**31) % 2**32 - 2**31

"""Random numbers that are a hash of a member's key, the step, the draw and the place.

Numbers of a draw are computed in float32 from 24 random bits, whatever type they are given in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# "triple32", https://nullprogram.com/blog/2018/07/31/: shifts and multipliers, as signed numbers.
_ROUNDS = (17, 0xED5AD4BB - 2**32), (11, 0xAC4C1B51 - 2**32), (15, 0x31848BAB)
_WEYL = 0x9E3779B9 - 2**32
_N_TRIES = 8
_DIGITS = {torch.bfloat16: 8, torch.float16: 11}  # With more, numbers would round to 1.

Shape = tuple[int, ...]


class RandomNumbers:
    """The random numbers of one member in one step.

    Args:
        key: The member's key, an int32 tensor `()`, in `vmap` a batched one.
        step: The number of the batch within the epoch, an int32 tensor `()` that the members
            share; batches to evaluate on are counted after those to train on.
    """

    def __init__(self, key: Tensor, step: Tensor) -> None:
        self._key = key
        self._step = step
        self._base: Tensor | None = None
        self._n_draws = 0

    def bits(self, shape: Shape) -> Tensor:
        """Return uniform int32 numbers in [-2^31, 2^31)."""
        if self._base is None:
            self._base = _mixed(self._key ^ _mixed(self._step * _WEYL))
        places = torch.arange(math.prod(shape), dtype=torch.int32, device=self._key.device)
        self._n_draws += 1
        salt = _signed(self._n_draws * _WEYL)
        return _mixed(places ^ (self._base + salt)).view(shape)

    def long_bits(self, shape: Shape) -> Tensor:
        """Return uniform int64 numbers in [-2^62, 2^62)."""
        high, low = self.bits(shape).long(), self.bits(shape).long()
        return high * 2**31 + (low & 0x7FFFFFFF)

    def uniform(self, shape: Shape, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return numbers in [0, 1), also in 16 bits."""
        check_is_continuous(dtype)
        if dtype.is_complex:
            parts = self.uniform((*shape, 2), dtype.to_real())
            return torch.view_as_complex(parts)
        n_bits = _DIGITS.get(dtype, 24)
        chosen = (self.bits(shape) >> (32 - n_bits)) & (2**n_bits - 1)
        shares: Tensor = chosen.float() * 2.0**-n_bits
        return shares.to(dtype)

    def normal(self, shape: Shape, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return standard normal numbers, by Box and Muller's transform."""
        check_is_continuous(dtype)
        if dtype.is_complex:
            parts = self.normal((*shape, 2), dtype.to_real())
            return torch.view_as_complex(parts * 0.5**0.5)
        radius = (-2.0 * torch.log1p(-self.uniform(shape))).sqrt()
        angle = 2.0 * math.pi * self.uniform(shape)
        return (radius * angle.cos()).to(dtype)

    def exponential(self, shape: Shape) -> Tensor:
        """Return numbers above 0 with mean 1."""
        return (-torch.log1p(-self.uniform(shape))).clamp(min=2.0**-25)

    def gamma(self, alpha: Tensor) -> Tensor:
        """Return gamma numbers of scale 1, by Marsaglia and Tsang's method.

        It tries several numbers and takes the first that is accepted, which each is with a
        probability of 95 % at least.
        """
        tries = (_N_TRIES, *alpha.shape)
        d = torch.where(alpha < 1, alpha + 1, alpha) - 1 / 3
        x, u = self.normal(tries, alpha.dtype), self.uniform(tries, alpha.dtype)
        v = (1 + x / (9 * d).sqrt()) ** 3
        is_accepted = (v > 0) & (u.log() < x.square() / 2 + d * (1 - v + v.log()))
        first = is_accepted.byte().argmax(0, keepdim=True)
        numbers = d * v.gather(0, first).squeeze(0)
        power = torch.where(alpha < 1, (-self.exponential(alpha.shape) / alpha).exp(), 1.0)
        return (numbers * power).clamp(min=torch.finfo(alpha.dtype).tiny)

    def empty(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return an uninitialized tensor that numbers can be written to, also in `vmap`."""
        return self._key.new_empty(shape, dtype=dtype, device=device)


def check_is_continuous(dtype: torch.dtype) -> None:
    """Check that a type has fractions.

    Raises:
        NotImplementedError: If it has not, PyTorch's error.
    """
    if not (dtype.is_floating_point or dtype.is_complex):
        raise NotImplementedError(f"Such random numbers need a type with fractions, not {dtype}.")


def _mixed(bits: Tensor) -> Tensor:
    """Return a hash of 32-bit numbers; products wrap around, and shifts copy no sign."""
    for shift, multiplier in _ROUNDS:
        bits = (bits ^ ((bits >> shift) & (2 ** (32 - shift) - 1))) * multiplier
    return bits ^ ((bits >> 14) & 0x3FFFF)


def _signed(number: int) -> int:
    """Return the signed 32-bit number with the same lowest bits."""
    return (number + 2**31) % 2**32 - 2**31

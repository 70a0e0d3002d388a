"""Random draws that depend on what they are for, and on nothing else.

A draw is a hash of (seed, trial number, parameter name), a counter-based generator in the
sense of Salmon et al. 2011 (doi:10.1145/2063384.2063405). It has no state, so it does not
matter which process asks, in which order, after which restart, or with which NumPy version.
A hash costs about a microsecond; a fresh NumPy generator costs ten times as much.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.random.bit_generator import ISeedSequence


class TrialDraws(NamedTuple):
    """What a trial draws once; each in [0, 1)."""

    first_parent: float
    second_parent: float


class GeneDraws(NamedTuple):
    """What a trial draws for one parameter; each in [0, 1)."""

    mutation: float
    crossover: float
    fresh: float


def trial_draws(seed: int, number: int) -> TrialDraws:
    """Return the draws of trial `number`."""
    return TrialDraws(*_uniforms(f"{seed}:{number}")[:2])


def gene_draws(seed: int, number: int, name: str) -> GeneDraws:
    """Return the draws of trial `number` for the parameter `name`."""
    return GeneDraws(*_uniforms(f"{seed}:{number}:{name}")[:3])


def _uniforms(key: str) -> tuple[float, ...]:
    """Return four independent uniform draws in [0, 1), with 53 random bits each."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    return tuple((bits >> 11) * 2.0**-53 for bits in struct.unpack("<4Q", digest))


def generator(*key: object) -> np.random.Generator:
    """Return a generator of the draws that belong to a key, for draws by the hundred."""
    digest = _Digest(blake2b(repr(key).encode(), digest_size=32).digest())
    return np.random.Generator(np.random.PCG64(digest))  # type: ignore[arg-type]  # Its stubs lag.


class _Digest(ISeedSequence):
    """A hash as the state of a generator, in place of NumPy's slower one."""

    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        """Return the state `(n_words,)`; PCG64 asks for the 32 bytes that there are."""
        return np.frombuffer(self._digest, dtype)[:n_words]

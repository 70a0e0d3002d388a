"""Keyed random numbers: a draw depends on the seed, the trial's number and the parameter's name.

A draw is a hash of (seed, trial number, parameter name), a counter-based generator in the
sense of Salmon et al. 2011 (doi:10.1145/2063384.2063405). It has no state, so the process, the
order of the draws, restarts and NumPy's version do not matter. A hash costs about a microsecond;
a new NumPy generator costs ten times as much.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.random.bit_generator import ISeedSequence


class TrialDraws(NamedTuple):
    """The draws that a trial makes once, each in [0, 1)."""

    first_parent: float
    second_parent: float


class GeneDraws(NamedTuple):
    """The draws that a trial makes for each parameter, each in [0, 1)."""

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
    """Return a NumPy generator seeded by a key, for draws by the hundred."""
    digest = _Digest(blake2b(repr(key).encode(), digest_size=32).digest())
    return np.random.Generator(np.random.PCG64(digest))  # type: ignore[arg-type]  # Its stubs lag.


class _Digest(ISeedSequence):
    """A hash used as the state of a generator; NumPy's own seeding is slower."""

    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        """Return the state `(n_words,)`; PCG64 takes all 32 bytes of the hash."""
        return np.frombuffer(self._digest, dtype)[:n_words]

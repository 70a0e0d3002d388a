"""Seeds and keys that some parts determine, as a hash of them."""

from __future__ import annotations

import hashlib


def derived_seed(*parts: object) -> int:
    """Return a seed in [0, 2^63) that these parts determine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def member_key(seed: int, epoch: int) -> int:
    """Return the key, a signed 32-bit number, of a member's random numbers in an epoch."""
    return (derived_seed(seed, epoch, "dropout") & 0xFFFFFFFF) - 2**31

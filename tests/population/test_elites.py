"""The fittest trials that are kept: their number is bounded."""

from __future__ import annotations

import random

import pytest

from optuna_ga._population.elites import Archive
from optuna_ga._population.fitness import Rank, in_order


@pytest.mark.parametrize("size", [1, 5])
def test_an_archive_has_the_fittest_of_the_fitter_half_and_of_those_since(size: int) -> None:
    """Whenever it has twice as many trials as wanted, the fitter half stays."""
    rng, archive, kept = random.Random(size), Archive(size), []
    for number in range(12 * size):
        losses = float(rng.randrange(9)), float(rng.randrange(9))
        archive.add(Rank(0.0, False, 0, losses, number))
        kept.append(Rank(0.0, False, 0, losses, number))
        if len(kept) == 2 * size:
            kept = in_order(kept)[:size]
        assert archive.ranks == in_order(kept)
        assert min(size, number + 1) <= len(archive.ranks) < 2 * size

"""The cost of a suggestion, measured small."""

from __future__ import annotations

from math import comb
from pathlib import Path

import pytest

from benchmarks.performance import overhead
from benchmarks.rows import read_rows


@pytest.mark.slow
def test_overhead_rows_compare_with_random(tmp_path: Path) -> None:
    """Each sampler has a ratio within its interval; RandomSampler's is one."""
    path = tmp_path / "overhead.csv"
    options = ["--largest", "100", "--turns", "6", "--params", "2", "--storages", "memory"]
    overhead.main([*options, "--out", str(path)])

    rows = read_rows(path)
    assert [row["sampler"] for row in rows] == overhead.COMPARED
    assert all(float(r["low"]) <= float(r["ratio"]) <= float(r["high"]) for r in rows)
    assert float(rows[0]["ratio"]) == 1.0


@pytest.mark.parametrize("n", [10, 25, 100])
def test_the_interval_of_the_median_covers_it(n: int) -> None:
    """The order statistics bound it with at least 93 % of the binomial's probability."""
    low, high = overhead.interval_of_median([float(i) for i in range(n)])
    outside = sum(comb(n, k) for k in range(int(low) + 1)) / 2**n
    above = sum(comb(n, k) for k in range(n - int(high))) / 2**n

    assert outside + above < 0.07

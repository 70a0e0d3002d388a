"""The speed of a generation, measured small."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from benchmarks.performance import trainer_speed
from benchmarks.performance.memory import peak_mb
from benchmarks.rows import read_rows


@pytest.mark.slow
def test_trainer_rows_compare_with_a_plain_loader(tmp_path: Path) -> None:
    """Every variant of this device has a ratio, and none beats the floor."""
    path = tmp_path / "speed.csv"
    trainer_speed.main(["--members", "2", "--images", "80", "--turns", "6", "--out", str(path)])

    rows = read_rows(path)
    assert [row["variant"] for row in rows][:3] == ["loader", "loop", "ours"]
    assert float(rows[0]["ratio"]) == 1.0
    assert all(0 < float(row["share_of_floor"]) < 1 for row in rows)


def test_memory_counts_the_work_and_its_processes() -> None:
    """It finds 50 MB that are soon freed, and the few MB of a process that is still running."""
    before = bytearray(10**7)
    alone = peak_mb(lambda: len(bytearray(b"x") * 50_000_000))
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        shared = peak_mb(lambda: executor.submit(len, before).result())

    assert alone is not None and 45 < alone < 60
    assert shared is not None and shared > 5

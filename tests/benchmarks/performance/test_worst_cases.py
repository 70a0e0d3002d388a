"""The worst cases, measured small."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.performance import worst_cases
from benchmarks.performance.worst_cases import Cost
from benchmarks.rows import read_rows


def test_ratios_are_of_the_same_turn() -> None:
    """A ratio is the median over turns, whichever sampler the machine slowed down."""
    turns = [
        {"random": Cost(1.0, 0.5, 1), "tpe": Cost(2.0, 4.0, 2), "ga": Cost(3.0, 2.0, 3)},
        {"random": Cost(10.0, 5.0, 1), "tpe": Cost(20.0, 40.0, 2), "ga": Cost(30.0, 20.0, 5)},
    ]
    *_, row = worst_cases.rows({"dead": turns})

    assert row["sampler"] == "ga"
    assert (row["first_to_random"], row["first_to_tpe"]) == (3.0, 1.5)
    assert (row["next_to_random"], row["next_to_tpe"]) == (4.0, 0.5)
    assert row["memory_mb"] == 4


@pytest.mark.slow
def test_a_case_has_a_row_for_each_sampler(tmp_path: Path) -> None:
    """RandomSampler's ratio to itself is one."""
    path = tmp_path / "worst_cases.csv"
    options = ["--cases", "names", "--samplers", "random", "tpe", "ga", "--seconds", "0.1"]
    worst_cases.main([*options, "--out", str(path)])

    rows = read_rows(path)
    assert [row["sampler"] for row in rows] == ["random", "tpe", "ga"]
    assert float(rows[0]["next_to_random"]) == 1.0

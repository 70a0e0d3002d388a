"""The speed of any network's generation, measured small."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.performance import any_network
from benchmarks.rows import read_rows


def test_ratios_are_to_a_loop_of_as_many_members() -> None:
    """One of another size is no rival, and nothing is its own."""
    times = {
        ("eager", 1): (100.0, 110.0), ("loop", 1): (90.0, 89.0), ("loop", 20): (50.0, 54.0),
        ("auto", 20): (25.0, 28.0),
    }  # fmt: skip
    rows = pd.DataFrame(
        {
            "network": "mlp", "precision": "float32", "design": design, "members": members,
            "us_per_member_and_step": us,
        }
        for (design, members), both in times.items()
        for us in both
    )  # fmt: skip
    lines = list(any_network.ratios(rows))

    assert [line.count(" x ") for line in lines] == [1, 1, 1, 2]
    assert lines[-1].startswith("mlp float32 auto P=20: 26 us, 3.96 [")
    assert "x eager, 1.96 [" in lines[-1]


@pytest.mark.slow
def test_a_cpu_compares_the_chosen_backend_with_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every size has both, two turns at least."""
    monkeypatch.setattr(any_network, "PROBLEMS", {"mlp": any_network.PROBLEMS["mlp"]})
    monkeypatch.setattr(any_network, "STEPS", 2)
    path = tmp_path / "rows.csv"
    any_network.main(["--device", "cpu", "--seconds", "0", "--out", str(path)])

    designs = [(row["design"], row["members"]) for row in read_rows(path)]
    one_by_one = [(name, n) for name in ("loop", "auto") for n in ("1", "5", "20")]
    assert sorted(designs) == sorted(2 * [("eager", "1"), *one_by_one])

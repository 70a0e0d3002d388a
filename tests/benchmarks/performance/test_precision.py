"""The ranking of settings in a lower precision, measured small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.performance import precision
from benchmarks.rows import read_rows
from benchmarks.trainings import lower_precisions


@pytest.mark.slow
def test_precision_rows_compare_with_float32(tmp_path: Path) -> None:
    """The first row is another seed, which is the noise; the processor's precisions follow."""
    path = tmp_path / "precision.csv"
    precision.main(["--settings", "4", "--images", "64", "--out", str(path)])

    assert [row["compared"] for row in read_rows(path)] == [
        "other seed",
        *lower_precisions(torch.device("cpu")),
    ]


@pytest.mark.slow
def test_rankings_are_compared_by_rank() -> None:
    """Equal rankings correlate by 1, opposite ones by -1; infinite losses rank last."""
    losses = np.array([1.0, 2.0, 3.0, np.inf])
    same = precision.compare(losses, np.array([10.0, 20.0, 30.0, np.inf]), losses)
    opposite = precision.compare(losses, np.array([9.0, 8.0, 7.0, 6.0]), losses)

    assert (same["spearman"], same["same_parents"], same["diverged_alike"]) == (1.0, 1.0, 1.0)
    assert (opposite["spearman"], opposite["same_parents"]) == (-1.0, 0.0)
    assert (opposite["diverged_alike"], opposite["beyond_noise"]) == (0.75, -2.0)

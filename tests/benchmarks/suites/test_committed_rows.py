"""Committed rows are those of the present code: searches that have changed need new rows.

The samplers are those without a model, whose rounding differs from processor to processor.
"""

from __future__ import annotations

import random

import pytest

from benchmarks.rows import RESULTS, read_rows
from benchmarks.suites.study import row_of

N_TRIALS = 60


@pytest.mark.parametrize("sampler", ["ga", "ga-elitism", "adaptive-model-free"])
@pytest.mark.parametrize(
    "suite",
    ["bbob", "bbob-mixint", "pbo", "constrained", "failures", "bbob-biobj", "constrained-front"],
)
def test_searches_repeat_the_committed_rows(suite: str, sampler: str) -> None:
    """For some tasks and seeds, with one worker and with eight, to the last digit."""
    rows = read_rows(RESULTS / f"suite_{suite.replace('-', '_')}.csv")
    rows = random.Random(0).sample([row for row in rows if row["sampler"] == sampler], 6)
    assert {row["workers"] for row in rows} == {"1", "8"}
    for row in rows:
        task, n_workers, seed = row["task"], int(row["workers"]), int(row["seed"])
        again = row_of(suite, task, sampler, n_workers, seed, N_TRIALS)
        best = {name: each for name, each in again.items() if name.startswith("best_") and each}

        assert len(best) > 5
        assert {name: row[name] for name in best} == best

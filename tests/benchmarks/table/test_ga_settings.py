"""The settings of the genetic algorithm on the table: rows and the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.rows import RESULTS, TooFewRowsError, read_frame, write_rows
from benchmarks.suites.fashion_mnist_table import TableObjective
from benchmarks.suites.study import run_study
from benchmarks.table import ga_settings, ga_settings_report
from benchmarks.table.table import TABLE
from optuna_ga import GASampler


def test_settings_are_compared_on_balanced_cells(tmp_path: Path) -> None:
    """Regrets that depend on the mutation probability alone show that effect and no other."""
    names = [f"regret_{n}" for n in ga_settings.RECORDED]
    rng = np.random.default_rng(0)
    rows = [
        {**cell._asdict(), "seed": seed, "table": "t"}
        | {name: 0.1 + cell.mutation_prob + rng.normal(0, 0.01) for name in names}
        for cell in [*ga_settings.GRID, *ga_settings.OTHERS]
        for seed in range(12)
    ]
    path = tmp_path / "rows.csv"
    write_rows(path, rows)
    lines = ga_settings_report.report(read_frame(path)).splitlines()
    starred = [line.split("|")[1:3] for line in lines if line.endswith("* |")]

    assert [[cell.strip() for cell in cells] for cells in starred] == [
        ["mutation_prob", "0.0"], ["mutation_prob", "0.1"], ["mutation_prob", "0.4"]
    ]  # fmt: skip
    verdicts = [line for line in lines if "run 3 against run 2" in line]
    assert verdicts[0].endswith("| the opposite |")


def test_a_report_needs_two_seeds(tmp_path: Path) -> None:
    """A single seed has no interval."""
    path = tmp_path / "rows.csv"
    write_rows(path, [ga_settings.Cell("random")._asdict() | {"seed": 0, "regret_200": 1.0}])

    with pytest.raises(TooFewRowsError, match="two seeds"):
        ga_settings_report.report(read_frame(path))


def test_a_cells_regrets_are_those_of_its_sampler() -> None:
    """They are recorded after the paper's numbers of trials, among others."""
    cell = ga_settings.Cell("ga", 10, 0.5, 0.1, True)
    row = ga_settings.row_of(cell, 7, TABLE)
    sampler = GASampler(10, mutation_prob=0.1, elitism=True, seed=7)

    best = run_study(TableObjective(), sampler, 200, 1).best
    expected = {f"regret_{n}": pytest.approx(best[n], rel=1e-4) for n in ga_settings.RECORDED}
    assert {name: float(regret) for name, regret in row.items()} == expected


def test_the_committed_report_is_made_of_the_committed_rows() -> None:
    """The page equals the report to the letter."""
    path = RESULTS / "ga_settings_cuda.csv"

    assert path.with_suffix(".md").read_text() == ga_settings_report.report(read_frame(path))

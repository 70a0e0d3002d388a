"""The paper's claims on the table, with few seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.rows import RESULTS, TooFewRowsError, read_frame
from benchmarks.table.claims import RUNS, Run, row_of
from benchmarks.table.claims_report import CLAIMS, report
from benchmarks.table.table import TABLE


def made_up(n: int, *, better: tuple[int, int], by: float) -> pd.DataFrame:
    """Return rows of n seeds, in which the runs of one size end lower."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            run._asdict()
            | {"table": "made up", "seed": seed}
            | dict.fromkeys(("loss", "seen"), noise - by * (run[1:3] == better))
            for run in RUNS
            for seed, noise in enumerate(rng.normal(1.0, 0.1, n))
        ]
    )


def lines(text: str, first: str, second: str) -> list[list[str]]:
    """Return the cells of the lines that compare two runs."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return [line for line in cells if line[:2] == [first, second]]


@pytest.mark.parametrize("run", [Run("ga", 5, 2, 0.2), Run("random", 5, 2)])
def test_a_study_has_its_answers_loss_with_and_without_noise(run: Run) -> None:
    """The same seed gives the same row, another seed another."""
    row = row_of(run, 0, TABLE)

    assert row == row_of(run, 0, TABLE) != row_of(run, 1, TABLE)
    assert all(0.25 < float(loss) <= np.log(10) + 1e-6 for loss in row.values())
    assert row["loss"] != row["seen"]


def test_every_compared_run_is_run() -> None:
    """No line of the report waits for rows that never come."""
    compared = {name for pairs in CLAIMS.values() for pair in pairs for name in pair}

    assert compared <= {tuple(run) for run in RUNS}


def test_a_clear_effect_is_shown_and_none_is_not() -> None:
    """Effects come with an interval and with how often a user sees them."""
    text = report(made_up(50, better=(5, 5), by=0.3))

    (run_4,) = lines(text, "5 x 5, mutation 0.2", "5 x 2, mutation 0.2")
    assert run_4[-1] == "shown"
    assert float(run_4[5].split()[0]) == pytest.approx(-0.3, abs=0.05)
    assert 90 <= int(run_4[6].split()[0]) <= 100
    (run_3,) = lines(text, "5 x 2, mutation 0.2", "5 x 2, mutation 0.1")
    assert run_3[-1] == "not shown"


def test_a_claim_whose_opposite_holds_is_said_to_be_so() -> None:
    """A verdict is not one-sided."""
    text = report(made_up(50, better=(5, 6), by=0.3))

    (line,) = lines(text, "10 x 3, mutation 0.2", "5 x 6, mutation 0.2")
    assert line[-1] == "the opposite"
    assert int(line[6].split()[0]) <= 10


def test_one_seed_has_no_verdict() -> None:
    """There is no interval."""
    with pytest.raises(TooFewRowsError):
        report(made_up(1, better=(5, 5), by=0.3))


def test_the_rows_of_a_run_that_was_stopped_make_a_report() -> None:
    """Lines whose runs have no rows yet are left out."""
    rows = made_up(4, better=(5, 5), by=0.3)
    text = report(rows[rows["sampler"] != "tpe"])

    assert "random" in text and "| tpe, " not in text
    assert "| baseline | tpe | 0 | - | 10 | 0.309" in text


def test_the_committed_report_is_made_of_the_committed_rows() -> None:
    """The page equals the report to the letter."""
    path = RESULTS / "claims_cuda.csv"

    assert path.with_suffix(".md").read_text() == report(read_frame(path))


def test_table_and_trainings_agree() -> None:
    """In runs whose studies vary little, users of both see about the same losses."""
    text = (RESULTS / "claims_cuda.md").read_text()
    for run in ("baseline", "run 1"):
        for sampler in ("ga", "random", "tpe"):
            (line,) = (x for x in text.splitlines() if x.startswith(f"| {run} | {sampler} |"))
            told, real = (float(cell.split()[0]) for cell in line.split("|")[4:7:2])
            assert told == pytest.approx(real, abs=0.02)

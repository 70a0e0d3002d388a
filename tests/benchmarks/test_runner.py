"""The runner: missing jobs are run, and their rows are written however the run ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import runner
from benchmarks.rows import Row, read_rows, rows_to_continue, write_rows
from benchmarks.runner import Job, Missing, run_missing


def square(number: int) -> Row:
    """Return the result of a job; 3 has none."""
    if number == 3:
        raise RuntimeError("3 cannot be squared")
    return {"square": number**2}


@pytest.fixture(autouse=True)
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Run jobs in this process, and return the numbers that were squared."""
    numbers: list[int] = []

    def here(function: Any, jobs: Sequence[Job], *_: Any) -> Iterator[tuple[Job, Row]]:
        for job in jobs:
            numbers.append(*job.arguments)
            yield job, function(*job.arguments)

    monkeypatch.setattr(runner, "in_processes", here)
    return numbers


def missing(path: Path, *numbers: int) -> Missing:
    """Return the squares that a file lacks."""
    jobs = [Job({"number": number}, (number,)) for number in numbers]
    rows = rows_to_continue(path, {})
    return Missing(path, rows, jobs, {"by": "hand"}, lambda row: int(row["number"]))


def test_only_missing_rows_are_computed(tmp_path: Path, ran: list[int]) -> None:
    """The file has all rows, in order, with key, result and facts as columns."""
    path = tmp_path / "rows.csv"
    run_missing(missing(path, 2, 4), square, 1)
    run_missing(missing(path, 1, 2, 4), square, 1)

    assert ran == [2, 4, 1]
    assert read_rows(path) == [
        {"number": str(n), "square": str(n**2), "by": "hand"} for n in (1, 2, 4)
    ]


def test_an_error_loses_no_row(tmp_path: Path) -> None:
    """The rows of the jobs before it are written."""
    path = tmp_path / "rows.csv"
    with pytest.raises(RuntimeError, match="3 cannot"):
        run_missing(missing(path, 1, 2, 3, 4), square, 1)

    assert [row["number"] for row in read_rows(path)] == ["1", "2"]


def test_a_job_may_have_several_rows(tmp_path: Path) -> None:
    """All rows of a job have its key, by which the job counts as done."""
    path = tmp_path / "rows.csv"
    run_missing(missing(path, 1), lambda number: [square(number), {"square": "again"}], 1)

    assert [row["square"] for row in read_rows(path)] == ["1", "again"]
    assert [row["number"] for row in read_rows(path)] == ["1", "1"]


def test_rows_of_other_settings_are_refused(tmp_path: Path) -> None:
    """The message names the file and the setting."""
    path = tmp_path / "rows.csv"
    write_rows(path, [{"epochs": 2}])

    with pytest.raises(ValueError, match=r"'rows.csv' must have epochs 3, but one has '2'"):
        rows_to_continue(path, {"epochs": 3})

"""The experiments with many workers, run small: bounds hold, and broken ones are noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from benchmarks.rows import Row, read_rows, write_rows
from benchmarks.workers import free, interrupted, same_study
from benchmarks.workers.__main__ import main
from benchmarks.workers.common import TWO
from benchmarks.workers.suggestion import suggestion

pytestmark = pytest.mark.slow  # They work on PostgreSQL.
SMALL: dict[str, Callable[[], Iterator[Row]]] = {
    "identical": partial(same_study.identical, 2, (3,), TWO),
    "killed": partial(same_study.killed, 2, 40),
    "killed, two objectives": partial(same_study.killed_by_generations, 2, 40, TWO),
    "interrupted": partial(interrupted.interrupted, 1, 2, 1, 0.02),
    "swarm": partial(free.swarm, 100, 4, 1, 0.02, TWO),
    "faults": partial(free.faults, 160, 3, 0.01),
    "threads": partial(same_study.threads, 3, 8, 5),
}


@pytest.fixture(autouse=True)
def _servers(postgresql: str) -> None:
    """Start PostgreSQL, which every experiment needs."""


@pytest.mark.parametrize("name", SMALL)
def test_what_must_hold_under_many_workers_holds(name: str) -> None:
    """Each experiment has figures with bounds, and all keep them."""
    rows = list(SMALL[name]())

    assert any(row["holds"] for row in rows)
    assert [row for row in rows if row["holds"] is False] == []


def test_a_suggestion_is_timed_in_a_long_study(tmp_path: Path) -> None:
    """The study consists of copies of trials; the sampler breeds from the last of them."""
    rows = {row["figure"]: row["value"] for row in suggestion(1000, 6, 2)}

    assert rows["the same, lower end of the interval"] > 0
    assert rows["seconds of the first trial of a new process, GASampler"] > 0


def test_rows_say_what_holds(tmp_path: Path) -> None:
    """The exit status is 0 if every bound holds; rows of other experiments stay."""
    path = tmp_path / "workers.csv"
    write_rows(path, [{"experiment": "suggestion", "value": "1"}, {"experiment": "threads"}])
    with pytest.raises(SystemExit, match="0"):
        main(["--experiments", "threads", "--out", str(path)])

    found = [(row["experiment"], row["holds"]) for row in read_rows(path)]
    assert found == [("threads", "True"), ("suggestion", "")]

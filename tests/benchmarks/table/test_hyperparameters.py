"""The importance of the network's hyperparameters: rows and the report."""

from __future__ import annotations

import pytest

from benchmarks.rows import RESULTS, read_frame
from benchmarks.table import hyperparameters
from benchmarks.table.table import TABLE
from optuna_ga.fashion_mnist import SEARCH_SPACE


@pytest.mark.slow
def test_importances_add_up_and_find_the_learning_rate() -> None:
    """They are shares; over all trials fANOVA ranks the learning rate first."""
    rows = hyperparameters.importances(0, TABLE)

    assert len(rows) == 2 * len(hyperparameters.EVALUATORS)
    for row in rows:
        assert sum(row[name] for name in SEARCH_SPACE) == pytest.approx(1, abs=2e-3)
    first = next(r for r in rows if (r["trials"], r["evaluator"]) == ("all", "fANOVA"))
    assert max(SEARCH_SPACE, key=lambda name: first[name]) == "learning_rate"


def test_the_committed_report_is_made_of_the_committed_rows() -> None:
    """The page equals the report to the letter."""
    path = RESULTS / "hyperparameters_cuda.csv"

    assert path.with_suffix(".md").read_text() == hyperparameters.report(read_frame(path))

"""Markdown of reports."""

from __future__ import annotations

from benchmarks.markdown import paragraph, table


def test_a_table_may_be_padded_for_a_terminal() -> None:
    """Columns are as wide as their longest cell."""
    rows = [["ga", 0.5]]

    assert table(["sampler", "n"], rows) == "| sampler | n |\n| --- | --- |\n| ga | 0.5 |\n"
    assert table(["sampler", "n"], rows, padded=True).splitlines() == [
        "| sampler | n   |",
        "| ------- | --- |",
        "| ga      | 0.5 |",
    ]


def test_a_paragraph_is_one_line() -> None:
    """An empty line follows it when lines are joined."""
    assert paragraph("two\n    lines") == "two lines\n"

"""Markdown of reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def paragraph(text: str) -> str:
    """Return text as one line, with an empty line after it."""
    return f"{' '.join(text.split())}\n"


def table(
    header: Sequence[object], rows: Iterable[Sequence[object]], *, padded: bool = False
) -> str:
    """Return a table.

    Args:
        header: Titles of the columns.
        rows: Cells of each line, as many as there are titles.
        padded: Whether columns are as wide as their longest cell, for a terminal.
    """
    cells = [list(map(str, line)) for line in (header, *rows)]
    widths = [max(map(len, column)) if padded else 0 for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * max(width, 3) for width in widths])
    lines = (" | ".join(map(str.ljust, line, widths)) for line in cells)
    return "".join(f"| {line} |\n" for line in lines)

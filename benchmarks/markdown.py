"""Markdown of reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def paragraph(text: str) -> str:
    """Return text as one line, with an empty line after it."""
    return f"{' '.join(text.split())}\n"


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table, with an empty line after it."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)

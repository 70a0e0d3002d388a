"""Markdown of reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import fill


def paragraph(text: str) -> str:
    """Return text in lines of at most 100 characters, with an empty line after it."""
    return fill(" ".join(text.split()), 100, break_on_hyphens=False, break_long_words=False) + "\n"


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table, with an empty line after it."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)

"""A terminal to write to, without a person before it."""

from __future__ import annotations

import io
import sys

import pytest


class Terminal(io.StringIO):
    """A text stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make the standard error, for the rest of the test, a terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal

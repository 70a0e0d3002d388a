"""What an error says in a line, and where it comes from."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch


def first_line(error: Exception) -> str:
    """Return an error's type and the beginning of what it says."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"


def place_of(error: Exception) -> str:
    """Return the last line of the user's code that an error passed through, if there is one."""
    return _last_of_user(traceback.extract_tb(error.__traceback__))


def present_place() -> str:
    """Return the line of the user's code that is being carried out, if there is one."""
    return _last_of_user(traceback.extract_stack())


def _last_of_user(frames: traceback.StackSummary) -> str:
    libraries = [Path(torch.__file__).parent, Path(__file__).parent]
    for frame in reversed(frames):
        path = Path(frame.filename)
        if not any(library in path.parents for library in libraries):
            return f" (in {frame.filename}, line {frame.lineno}: `{frame.line}`)"
    return ""

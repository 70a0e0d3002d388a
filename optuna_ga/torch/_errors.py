"""What an error says in a line, and where it comes from."""

from __future__ import annotations

import traceback
from pathlib import Path

import torch

# Of functorch's messages: of numbers of a tensor that steer Python, and of all that it refuses.
_STEERS = ("data-dependent control flow", ".item()")
_OF_VMAP = (*_STEERS, "vmap", "functorch", "Cannot access data pointer of Tensor that doesn't")


class RefusedError(ValueError):
    """A backend that cannot train a network, whichever member it is."""

    def __init__(self, backend: str, reason: str) -> None:
        super().__init__(
            f"`backend` must not be {backend!r} for this network: {reason}. "
            '"auto" finds one that trains it.'
        )


def first_line(error: Exception) -> str:
    """Return an error's type and the beginning of what it says."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"


def steers(error: Exception) -> bool:
    """Return whether `vmap` failed since numbers of a tensor steer Python."""
    return any(words in str(error) for words in _STEERS)


def is_of_vmap(error: Exception) -> bool:
    """Return whether an error is a limit of `vmap`, and not one of the task."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_VMAP)


def against_vmap(error: Exception) -> str:
    """Return the reason that an error gives against `vmap`, with the line of the user's code."""
    if steers(error):
        return f"numbers of a tensor steer Python{place_of(error)}"
    return f"vmap refuses them, {first_line(error)}{place_of(error)}"


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

"""Option types whose errors say what is allowed."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a type of option: an integer of at least `minimum`."""

    def integer(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is no integer") from None
        if number < minimum:
            raise ArgumentTypeError(f"must be at least {minimum}, but {text} was given")
        return number

    return integer

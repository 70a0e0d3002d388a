"""Options whose help states the default and whose errors say what is allowed."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import Any


class Options(ArgumentParser):
    """Parser of a benchmark's options.

    Args:
        command: How the benchmark is called.
        description: What it does, in the lines in which it is to be shown.
    """

    def __init__(self, command: str, description: str | None) -> None:
        super().__init__(
            prog=command,
            description=description,
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def add_step(self, **steps: str) -> None:
        """Add the choice between steps, of which the first is the default; each with its words."""
        default, *_ = steps
        words = ", ".join(f"'{step}' {does}" for step, does in steps.items())
        self.add_argument(
            "step", nargs="?", choices=list(steps), default=default,
            help=f"{words} (default: {default})",
        )  # fmt: skip

    def add(self, option: str, text: str, default: object = None, **how: Any) -> None:
        """Add an option whose help states its default, or says it in its text if that is None."""
        words = default if isinstance(default, list) else [default]
        shown = "" if default is None else f" (default: {' '.join(map(str, words))})"
        self.add_argument(option, help=f"{text}{shown}", default=default, **how)


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

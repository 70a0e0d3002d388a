"""Options whose help states the default and whose errors say what is allowed."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from benchmarks.rows import TooFewRowsError, read_frame, replacing

Returned = TypeVar("Returned")


class Options(ArgumentParser):
    """Parser of a benchmark's options.

    Args:
        command: The command that runs the benchmark.
        description: The benchmark's documentation, shown line by line.
    """

    def __init__(self, command: str, description: str | None) -> None:
        super().__init__(
            prog=command,
            description=description,
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def add_step(self, **steps: str) -> None:
        """Add the choice between steps, each with its description; the first is the default."""
        default, *_ = steps
        words = ", ".join(f"'{step}' {does}" for step, does in steps.items())
        self.add_argument(
            "step", nargs="?", choices=list(steps), default=default,
            help=f"{words} (default: {default})",
        )  # fmt: skip

    def add(self, option: str, text: str, default: object = None, **how: Any) -> None:
        """Add an option; its help is the text with the default, unless that is None."""
        words = default if isinstance(default, list) else [default]
        shown = "" if default is None else f" (default: {' '.join(map(str, words))})"
        self.add_argument(option, help=f"{text}{shown}", default=default, **how)

    def checked(self, function: Callable[..., Returned], *arguments: Any) -> Returned:
        """Return a function's result; its errors are reported as those of a wrong option."""
        try:
            return function(*arguments)
        except (FileNotFoundError, ImportError, ValueError) as error:
            self.error(str(error))

    def report(self, path: Path, make: Callable[[pd.DataFrame], str], *texts: str) -> pd.DataFrame:
        """Write the report on a file of rows as Markdown beside it, and print it; return the rows.

        Args:
            path: The file.
            make: Returns the report; a `TooFewRowsError` of it is reported as a wrong option.
            *texts: Columns of texts; see `read_frame`.
        """
        if (frame := read_frame(path, *texts)).empty:
            self.error(f"argument --out: there are no rows in {path.name} to report on")
        try:
            text = make(frame)
        except TooFewRowsError as error:
            self.error(str(error))
        with replacing(path.with_suffix(".md")) as file:
            file.write(text)
        print(text)
        return frame


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

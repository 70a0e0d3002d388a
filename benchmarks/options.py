"""Options whose help states the default and whose errors say what is allowed."""

from __future__ import annotations

import re
import shutil
import textwrap
from argparse import ArgumentParser, ArgumentTypeError, HelpFormatter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from benchmarks.rows import TooFewRowsError, read_frame, replacing

MAX_WIDTH = 100  # Of help, in columns.

Returned = TypeVar("Returned")


class _Paragraphs(HelpFormatter):
    """Fills the paragraphs and the lists of a text to the terminal's width."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=min(shutil.get_terminal_size().columns, MAX_WIDTH) - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(self._filled(block, width) for block in text.split("\n\n"))

    def _filled(self, block: str, width: int) -> str:
        if block.startswith(" "):
            return block
        fill = partial(textwrap.fill, width=width, break_on_hyphens=False)
        items = (" ".join(one.split()) for one in re.split(r"\n(?=- )", block))
        return "\n".join(fill(one, subsequent_indent="  " * one.startswith("- ")) for one in items)


class Options(ArgumentParser):
    """Parser of a benchmark's options.

    Args:
        command: The command that runs the benchmark.
        description: The benchmark's documentation; indented paragraphs are shown as they are.
        epilog: Text after the options.
    """

    def __init__(self, command: str, description: str | None, epilog: str | None = None) -> None:
        super().__init__(
            prog=command,
            usage=f"{command} [options]",
            description=description,
            epilog=epilog,
            formatter_class=_Paragraphs,
            allow_abbrev=False,
        )

    def add_step(self, **steps: str) -> None:
        """Add the choice between steps, each with its description; the first is the default."""
        default, *_ = steps
        self.usage = f"{self.usage} [{'|'.join(steps)}]"
        words = ", ".join(f"'{step}' {does}" for step, does in steps.items())
        self.add_argument(
            "step", nargs="?", choices=list(steps), default=default,
            help=f"{words} (default: {default})",
        )  # fmt: skip

    def add(self, option: str, text: str, default: object = None, **how: Any) -> None:
        """Add an option; its help is its choices, the text, and the default, unless None."""
        if choices := how.get("choices"):
            text = f"{', '.join(choices)}: {text}"
            how["metavar"] = name = option.strip("-").replace("-", "_").upper()
            if not option.startswith("-"):
                self.usage = f"{self.usage} {name}"
        words = default if isinstance(default, list | tuple) else [default]
        if choices and list(choices) == list(words):
            words = ["all"]
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
        if (frame := self.checked(read_frame, path, *texts)).empty:
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

"""Rows of results: flat, in CSV files, each with what its figures may depend on."""

from __future__ import annotations

import csv
import math
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    import torch

Row = dict[str, Any]

RESULTS = Path(__file__).parent / "results"
_TEXTS = ("commit", "numpy", "optuna", "optuna_ga", "python", "torch")  # Some look like numbers.


class TooFewRowsError(ValueError):
    """A report needs more rows than there are."""


@contextmanager
def replacing(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a new file that takes the place of another when it is whole, or not at all.

    Args:
        path: The file to replace, in a folder that is made if need be.
        mode: As in `open`, for writing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open(mode, newline=None if "b" in mode else "") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Replace a CSV file by rows, whose columns are those that any of them has."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with replacing(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file as texts, none if there is no file.

    Raises:
        ValueError: If a line has not as many cells as the first, as in a file that was cut off.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = []
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(
                    f"every line of {path.name!r} must have as many cells as its first, but line "
                    f"{reader.line_num} has not"
                )
            rows.append(row)
        return rows


def read_frame(path: Path, *texts: str) -> pd.DataFrame:
    """Return the rows of a file for a report.

    Columns of numbers and of booleans have these types, with NaN for an empty cell.

    Args:
        path: The file.
        *texts: Columns that stay texts, as versions and commits always do.
    """
    frame = pd.DataFrame(read_rows(path))
    for name in frame.columns.difference([*_TEXTS, *texts]):
        frame[name] = _typed(frame[name])
    return frame


def _typed(texts: pd.Series) -> pd.Series:
    if texts.isin(["True", "False"]).all():
        return texts == "True"
    if texts.str.fullmatch(r"-?\d+").all():
        return texts.astype(int)
    try:
        # Python's own numbers: a parser of pandas may be a bit off in the last place.
        return texts.map(lambda text: float(text) if text else math.nan)
    except ValueError:
        return texts


def rows_to_continue(path: Path, settings: Mapping[str, object]) -> list[Row]:
    """Return the rows of a file, none if there is no file, to add rows of the same settings.

    Raises:
        ValueError: If a row has other settings.
    """
    rows = read_rows(path)
    for name, value in settings.items():
        for row in rows:
            if row.get(name, "") != str(value):
                raise ValueError(
                    f"argument --out: the rows of {path.name!r} must have {name} {value}, but one "
                    f"has {row.get(name)!r}"
                )
    return rows


def environment(device: str, *columns: str) -> Row:
    """Return versions, processor, device and commit, which a figure may depend on.

    Args:
        device: Name of the device that computes.
        columns: The names to return; all by default.
    """
    import torch  # Some benchmarks need nothing else of it.

    packages = ("optuna", "optuna-ga", "numpy", "torch")
    found = {
        "device": device,
        "processor": f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "python": platform.python_version(),
        **{package.replace("-", "_"): _version(package) for package in packages},
        "commit": _commit(),
    }
    return {name: found[name] for name in columns or found}


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or "CPU"."""
    if device.type == "cuda":
        import torch

        return f"GPU ({torch.cuda.get_device_name(device)})"
    return device.type.upper()


def _version(package: str) -> str:
    """Return a package's version; "unknown" if it was never installed, as in a bare checkout."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


@cache
def _processor() -> str:
    """Return the number of cores and the processor's model as Linux names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {models[0] if models else platform.machine()}"


@cache
def _commit() -> str:
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            check=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()

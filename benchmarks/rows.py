"""Rows of results: flat, in CSV files, each with what its figures may depend on."""

from __future__ import annotations

import csv
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

Row = dict[str, Any]

RESULTS = Path(__file__).parent / "results"


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV, with the columns that any of them has, into a folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file, none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rows_to_continue(path: Path, settings: Mapping[str, object]) -> list[Row]:
    """Return the rows of a file, none if there is no file, to go on with the same settings.

    Raises:
        ValueError: If they were made with others.
    """
    rows = read_rows(path)
    for name, value in settings.items():
        for row in rows:
            if row.get(name, "") != str(value):
                raise ValueError(
                    f"argument --out: {path.name!r} must have been made with {name} {value}, but "
                    f"has {row.get(name)!r}."
                )
    return rows


def environment(device: str) -> dict[str, str]:
    """Return what a figure may depend on: versions, processor, device and commit."""
    packages = ("optuna", "optuna-ga", "numpy", "torch")
    return {
        "device": device,
        "processor": f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "python": platform.python_version(),
        **{package.replace("-", "_"): version(package) for package in packages},
        "commit": _commit(),
    }


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or "CPU"."""
    if device.type == "cuda":
        return f"GPU ({torch.cuda.get_device_name(device)})"
    return device.type.upper()


@cache
def _processor() -> str:
    """Return the processor's model, as Linux tells it, and the number of cores."""
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

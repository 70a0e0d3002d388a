"""Rows: whole files or none, types of columns, and what a figure depends on."""

from __future__ import annotations

import math
import os
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from benchmarks import rows as rows_module
from benchmarks.rows import environment, read_frame, read_rows, replacing, write_rows


def test_a_failed_write_leaves_the_old_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs no row, and leaves no file behind."""
    path = tmp_path / "rows.csv"
    write_rows(path, [{"loss": 8.123456789}])

    def no_space(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="no space"):
        write_rows(path, [{"loss": 1.0}] * 500)

    assert read_rows(path) == [{"loss": "8.123456789"}]
    assert [file.name for file in tmp_path.iterdir()] == ["rows.csv"]


def test_a_file_is_replaced_only_when_it_is_whole(tmp_path: Path) -> None:
    """Until then a reader finds the old text, or no file."""
    path = tmp_path / "new folder" / "report.md"
    for text in ("first", "second"):
        before = path.read_text() if path.exists() else None
        with replacing(path) as file:
            file.write(text)
            assert (path.read_text() if path.exists() else None) == before
        assert path.read_text() == text


@pytest.mark.parametrize("last", ["2,ga", "2,ga,0.5,7"])
def test_a_damaged_line_is_an_error(last: str, tmp_path: Path) -> None:
    """A file that was cut off, or one with a line too long, makes no report."""
    path = tmp_path / "rows.csv"
    path.write_text(f"seed,sampler,loss\n1,ga,0.5\n{last}\n")

    with pytest.raises(ValueError, match=r"as many cells as its first, but line 3 has not"):
        read_frame(path)


def test_columns_are_numbers_booleans_or_texts(tmp_path: Path) -> None:
    """Numbers are exact to the last bit; versions and commits stay texts."""
    path = tmp_path / "rows.csv"
    numbers = [0.1 + 0.2, math.inf]
    write_rows(
        path,
        [
            {"loss": loss, "best": best, "n": 3, "ok": True, "optuna": "5.0", "commit": "12e4567"}
            for loss, best in zip(numbers, ("", 1.5), strict=True)
        ],
    )
    frame = read_frame(path)

    assert frame["loss"].tolist() == numbers
    assert frame["best"].isna().tolist() == [True, False]
    assert frame["n"].dtype.kind == "i"
    assert frame["ok"].dtype.kind == "b"
    assert frame["optuna"].tolist() == ["5.0"] * 2
    assert frame["commit"].tolist() == ["12e4567"] * 2
    assert read_frame(path, "n")["n"].tolist() == ["3"] * 2


def test_a_package_without_metadata_has_an_unknown_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A checkout that is not installed can be measured, too."""

    def version(package: str) -> str:
        if package == "optuna-ga":
            raise PackageNotFoundError(package)
        return "1.2"

    monkeypatch.setattr(rows_module, "version", version)

    assert environment("CPU", "optuna", "optuna_ga") == {"optuna": "1.2", "optuna_ga": "unknown"}

"""The rooms of the package lie on floors, and imports only lead downwards."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import optuna_ga

PACKAGE = Path(optuna_ga.__file__).parent
FLOORS = ["_optuna_internals", "_records", "_population", "_breeding", "_sampler"]
FREE = {"_checks"}  # Argument checks know nothing of the rest.


def imported_rooms(path: Path) -> Iterator[str]:
    """Yield the rooms of the package that a module imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("optuna_ga."):
            yield str(node.module).split(".")[1]


def modules(room: str) -> list[Path]:
    """Return the modules of a room, which is a folder or a single module."""
    return sorted(PACKAGE.glob(f"{room}.py")) + sorted(PACKAGE.glob(f"{room}/*.py"))


@pytest.mark.parametrize("room", FLOORS)
def test_imports_lead_down(room: str) -> None:
    """A room imports from itself and from the floors below it."""
    below = {*FLOORS[: FLOORS.index(room) + 1], *FREE}

    assert modules(room)
    for path in modules(room):
        assert set(imported_rooms(path)) <= below, path


@pytest.mark.parametrize("room", ["_running"])
def test_a_driver_knows_no_sampler(room: str) -> None:
    """`optimize_generations` works with any sampler."""
    assert modules(room)
    for path in modules(room):
        assert not set(imported_rooms(path)) & {"_sampler", "_breeding"}, path


def test_argument_checks_stand_alone() -> None:
    """They import nothing of the package."""
    assert list(imported_rooms(PACKAGE / "_checks.py")) == []

"""The package has layers, and imports only lead downwards."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import optuna_ga

PACKAGE = Path(optuna_ga.__file__).parent
LAYERS = ["_optuna_internals", "_records", "_population", "_breeding", "_sampler"]
FREE = {"_checks", "_process_setting"}  # They know nothing of the rest.
TORCH_FOLDERS = ["_randomness", "_data", "_networks", "_backends", "_examination"]
TORCH_TOP = ["_trainer", "_objective", "_reporter", "_engine", "_groups", "_dispatcher"]


def imported_parts(path: Path, package: str = "optuna_ga") -> Iterator[str]:
    """Yield the folders and single modules of a package that a module imports from."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(f"{package}."):
            yield str(node.module).removeprefix(f"{package}.").split(".")[0]


def modules(part: str) -> list[Path]:
    """Return the modules of a part of the package, which is a folder or a single module."""
    return sorted(PACKAGE.glob(f"{part}.py")) + sorted(PACKAGE.glob(f"{part}/**/*.py"))


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_lead_down(layer: str) -> None:
    """A layer imports from itself and from the layers below it."""
    below = {*LAYERS[: LAYERS.index(layer) + 1], *FREE}

    assert modules(layer)
    for path in modules(layer):
        assert set(imported_parts(path)) <= below, path


@pytest.mark.parametrize("folder", TORCH_FOLDERS)
def test_imports_of_the_trainer_lead_down(folder: str) -> None:
    """A folder imports from no later one; only modules outside of them know all."""
    above = {*TORCH_FOLDERS[TORCH_FOLDERS.index(folder) + 1 :], *TORCH_TOP}

    assert modules(f"torch/{folder}")
    for path in modules(f"torch/{folder}"):
        assert not set(imported_parts(path, "optuna_ga.torch")) & above, path


@pytest.mark.parametrize("folder", ["_running"])
def test_a_driver_knows_no_sampler(folder: str) -> None:
    """`optimize_generations` works with any sampler."""
    assert modules(folder)
    for path in modules(folder):
        assert not set(imported_parts(path)) & {"_sampler", "_breeding"}, path


@pytest.mark.parametrize("module", sorted(FREE))
def test_what_all_may_import_stands_alone(module: str) -> None:
    """It imports nothing of the package."""
    assert list(imported_parts(PACKAGE / f"{module}.py")) == []

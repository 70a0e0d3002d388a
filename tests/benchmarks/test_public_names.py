"""Benchmarks are clients of the package's public names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# But for an object's own, those of named tuples, and `os._exit`.
PRIVATE = re.compile(r"\b(?!self\b|cls\b|os\b)\w+\._(?!_|asdict|replace|fields)\w+")
PATHS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("path", PATHS)
def test_a_benchmark_uses_public_names_alone(path: str) -> None:
    """Neither a private module of the package nor a private attribute of any object."""
    assert PRIVATE.findall((ROOT / path).read_text()) == []

"""README and examples do what they show."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def test_readme_shows_the_quickstart_to_the_letter() -> None:
    """Its first Python block is examples/quickstart.py, of 15 lines."""
    (block, *_) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    code = (ROOT / "examples" / "quickstart.py").read_text()

    assert block == code
    assert len(code.splitlines()) == 15


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples_are_short(path: Path) -> None:
    """60 lines at most."""
    assert len(path.read_text().splitlines()) <= 60


def test_readme_is_short_and_its_files_exist() -> None:
    """200 lines at most; every relative link leads somewhere."""
    assert len(README.splitlines()) <= 200
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_ci_runs_the_test_command_of_readme() -> None:
    """The line that .ci/run takes from README is there, once."""
    lines = [line for line in README.splitlines() if "&& pytest" in line]

    assert lines == ['pip install -e ".[test]" && pytest']
    assert "grep --max-count=1 '&& pytest' README.md" in (ROOT / ".ci" / "run").read_text()


def test_ci_script_is_executable_and_parses() -> None:
    """Bash finds no syntax error in it."""
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)

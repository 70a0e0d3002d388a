"""README and examples work as shown."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
RESULTS = ROOT / "benchmarks" / "results"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md")),
    *sorted((ROOT / "benchmarks").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def test_readme_shows_the_quickstart_to_the_letter() -> None:
    """Its first Python block is examples/quickstart.py, of 15 lines."""
    (block, *_) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    code = (ROOT / "examples" / "quickstart.py").read_text()

    assert block == code
    assert len(code.splitlines()) == 15


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples_are_short(path: Path) -> None:
    """An example has fewer than 60 lines."""
    assert len(path.read_text().splitlines()) < 60


def test_readme_is_short() -> None:
    """README has at most 200 lines."""
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    """Links lead to files or folders, seen from the document's own folder."""
    for target in re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", path.read_text()):
        assert (path.parent / target).exists(), target


def cells(line: str) -> list[str]:
    """Return the cells of a table's line, without emphasis."""
    return [cell.strip(" *`") for cell in line.strip("|").split("|")]


def after_100_trials(suite: str, n_workers: int) -> dict[str, str]:
    """Return the samplers' mean ranks after 100 trials in a suite's report."""
    report = (RESULTS / f"suite_{suite.replace('-', '_')}.md").read_text()
    _, _, section = report.partition(f"### With {n_workers} worker")
    header, _, *rows = map(cells, section.split("\n\n")[1].splitlines())
    return {row[0]: row[header.index("100 trials")].split()[0] for row in rows}


def test_readmes_ranks_are_those_of_the_committed_runs() -> None:
    """With one and with eight workers; of a sampler that lacks seeds there is none."""
    columns = ["adaptive", "ga", "gp", "tpe", "cmaes", "nsga2"]
    lines = re.findall(r"^\| `([\w-]+)`, \d.*?\|(.*)\|$", README, flags=re.MULTILINE)

    assert len(lines) == 6
    for suite, line in lines:
        shown = [cell.split(" / ") for cell in cells(line)]
        for number, n_workers in enumerate((1, 8)):
            ranks = after_100_trials(suite, n_workers)
            expected = [ranks.get(name, "-") for name in columns]
            assert [cell[number].strip("*") for cell in shown] == expected


def test_ci_runs_the_test_command_of_readme() -> None:
    """README has one line with the command that .ci/run looks for, and names that of the rest."""
    lines = [line for line in README.splitlines() if "&& pytest" in line]
    script = (ROOT / ".ci" / "run").read_text()

    assert lines == ['pip install -e ".[test]" && pytest']
    assert "grep --max-count=1 '&& pytest' README.md" in script
    assert '`pytest -m "slow and not gpu"`' in README
    assert 'pytest -m "slow and not gpu"' in script.splitlines()


def test_ci_script_is_executable_and_parses() -> None:
    """Bash finds no syntax error in it."""
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)

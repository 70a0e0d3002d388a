"""README and examples work as shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
PATHS = {"PYTHONPATH": str(ROOT)}
SUITES = (ROOT / "benchmarks" / "results" / "suites.md").read_text()
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "benchmarks").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def test_readme_shows_the_quickstart_to_the_letter() -> None:
    """Its first Python block is examples/quickstart.py, of ten lines but for empty lines."""
    code = (ROOT / "examples" / "quickstart.py").read_text()

    assert PYTHON[0] == code
    assert len(list(filter(None, code.splitlines()))) == 10


@pytest.mark.slow
def test_readmes_many_workers_run_as_shown(tmp_path: Path) -> None:
    """The second block takes the place of the quickstart's last three lines."""
    quickstart, workers = PYTHON
    path = tmp_path / "search.py"
    path.write_text("".join(quickstart.splitlines(keepends=True)[:-3]) + workers)
    command = [sys.executable, "-W", "error::UserWarning", str(path)]
    subprocess.run(command, cwd=tmp_path, env=os.environ | PATHS, check=True, capture_output=True)
    (study,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path}/study.db")

    assert study.n_trials == 160


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_examples_are_short(path: Path) -> None:
    """An example has fewer than 60 lines."""
    assert len(path.read_text().splitlines()) < 60


def test_readme_is_short() -> None:
    """README has at most 120 lines."""
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    """Links lead to files or folders, seen from the document's own folder."""
    for target in re.findall(r"\]\((?!https?://)([^)#]+)[^)]*\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_readmes_table_is_the_first_of_the_committed_page() -> None:
    """It is copied to the letter, and the sentence below names the suites that others lead."""
    table = SUITES.split("## After 100 trials, with 1 worker\n\n")[1].split("\n\n")[0]
    _, _, below = README.partition(f"\n\n{table}\n\n")
    (but,) = re.findall(r"leads on all suites but ([^;.]*)[;.]", below)
    suites = dict(re.findall(r"^\| `([\w-]+)`, .*? \| (\S+) \|", table, flags=re.MULTILINE))

    assert len(suites) == 20
    assert re.findall(r"`([\w-]+)`", but) == [n for n, rank in suites.items() if "*" not in rank]


def test_the_page_on_benchmarks_counts_the_tasks_of_readme() -> None:
    """They are those of the first table."""
    tasks = re.findall(r"^\| `[\w-]+`, (\d+) tasks?", README, flags=re.MULTILINE)
    page = (ROOT / "benchmarks" / "README.md").read_text()

    assert f" {sum(map(int, tasks))} held-out tasks" in page


@pytest.mark.parametrize("folder", ["paper", "suites", "table"])
def test_figures_with_an_interval_are_those_of_a_report(folder: str) -> None:
    """A figure with its interval, `1.2 (1.0-1.4)`, stands in a report to which the page links."""
    page = ROOT / "benchmarks" / folder / "README.md"
    text = page.read_text()
    reports = [page.parent / link for link in re.findall(r"\]\(([^)#]+\.md)", text)]
    known = "".join(each.read_text() for each in reports if each.parent.name == "results")
    shown = re.findall(r"-?\d[\d.]*\s\(-?\d[\d.]*-\d[\d.]*\)", text)

    assert [each for each in shown if " ".join(each.split()) not in known] == []


def test_the_page_on_installing_has_every_example() -> None:
    """A line of its table says what each needs."""
    page = (ROOT / "docs" / "how-to" / "install.md").read_text()

    assert set(re.findall(r"^\| \[([\w.]+)\]", page, flags=re.MULTILINE)) == {
        path.name for path in EXAMPLES
    }


def test_ci_runs_the_test_command_of_readme() -> None:
    """README has one line with the command that .ci/run looks for; CONTRIBUTING has the rest."""
    lines = [line for line in README.splitlines() if "&& pytest" in line]
    script = (ROOT / ".ci" / "run").read_text()

    assert lines == ['pip install -e ".[test]" && pytest']
    assert "grep --max-count=1 '&& pytest' README.md" in script
    assert '`pytest -m "slow and not gpu"`' in (ROOT / "CONTRIBUTING.md").read_text()
    assert 'pytest -m "slow and not gpu"' in script.splitlines()


def test_ci_script_is_executable_and_parses() -> None:
    """Bash finds no syntax error in it."""
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)

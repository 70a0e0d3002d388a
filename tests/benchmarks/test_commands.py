"""Every command has a help that fits terminals, also without the packages that it needs."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import commands

FOLDER = Path(commands.__file__).parent
MODULES = {
    name: "benchmarks.paper.tune" if name == "benchmarks" else name for name in commands.COMMANDS
}


def module_of(command: str) -> str:
    """Return the module that a command runs."""
    name = MODULES[command]
    return f"{name}.__main__" if (FOLDER.parent / name.replace(".", "/")).is_dir() else name


def test_every_command_is_listed() -> None:
    """Those modules are commands that run when they are the main one."""
    found = {
        ".".join(path.relative_to(FOLDER.parent).with_suffix("").parts).removesuffix(".__main__")
        for path in FOLDER.rglob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    }

    assert found - {"benchmarks.paper.tune"} == set(commands.COMMANDS)


@pytest.mark.parametrize(("columns", "widest"), [(80, 80), (200, 100)])
@pytest.mark.parametrize("command", commands.COMMANDS)
def test_help_fits_the_terminal(
    command: str,
    columns: int,
    widest: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No line is wider than 80 columns, and none than 100 where there is room."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit, match="0"):
        import_module(module_of(command)).main(["--help"])
    text = capsys.readouterr().out

    assert text.startswith(f"usage: python -m {command} [options]")
    assert max(map(len, text.splitlines())) <= widest


def test_the_main_jobs_help_lists_the_other_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what it does."""
    with pytest.raises(SystemExit, match="0"):
        import_module(MODULES["benchmarks"]).main(["--help"])
    text = capsys.readouterr().out

    for name, does in [*commands.COMMANDS.items()][1:]:
        assert f"{name} " in text
        assert does in text


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_help_names_the_extra_where_packages_are_missing(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what the command does, and how to install what it needs."""
    arguments = ["python", "-m", command, "--help"]
    assert commands.help_without_packages(arguments) is None
    assert commands.help_without_packages(["python", "-m", command]) is None
    monkeypatch.setattr(commands, "find_spec", lambda name: None)
    text = commands.help_without_packages(arguments)

    assert text is not None
    assert (import_module(module_of(command)).__doc__ or "").splitlines()[0] in text
    extra = "fashion-mnist" if command == "benchmarks" else "benchmark"
    assert f'pip install -e ".[{extra}]"' in text.replace("\n", " ")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["benchmarks", "benchmarks.suites"])
def test_help_needs_no_extra(command: str, tmp_path: Path) -> None:
    """Where a package cannot be imported, `python -m` shows help nevertheless."""
    code = f"""
import runpy, sys
sys.modules |= dict.fromkeys(("matplotlib", "pandas", "torch", "nevergrad"))
sys.argv = ["-m"]
sys.orig_argv = ["python", "-m", "{command}", "--help"]
runpy.run_module("{command}", run_name="__main__", alter_sys=False)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr
    assert "Options are listed after" in ran.stdout

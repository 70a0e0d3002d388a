"""Write the OptunaHub package of the sampler, ready to be submitted to optunahub-registry.

    python tools/optunahub_package.py DIR

`DIR/package/samplers/genetic_algorithm/` then holds the modules of `optuna_ga` that `GASampler`
needs, found by their imports, in the same folders, so that it works where `optuna_ga` is not
installed. Its other files come from `tools/optunahub/`; the arguments in its README are read from
the sampler's docstrings, and its requirements from the project's metadata.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import shutil
import string
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import optuna
from build.util import project_wheel_metadata
from packaging.requirements import Requirement

from optuna_ga import GASampler

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "optuna_ga"
TEMPLATES = ROOT / "tools" / "optunahub"
FIGURE = ROOT / "benchmarks" / "results" / "convergence.png"
PACKAGE = "package/samplers/genetic_algorithm"
INIT = '''"""A genetic algorithm sampler for Optuna.

The modules are copied from the package `optuna_ga`, which has the other functions and documents
that docstrings mention.
"""

import sys

if sys.version_info < (3, 10):
    raise ImportError(
        "This package needs Python 3.10 or newer, but this is Python "
        f"{sys.version_info[0]}.{sys.version_info[1]}."
    )

from ._sampler import GASampler  # noqa: E402

__all__ = ["GASampler"]
'''
# The registry's settings of the linter.
RUFF = {
    "line-length": "99",
    "lint.isort.force-single-line": "true",
    "lint.isort.force-sort-within-sections": "true",
    "lint.isort.known-third-party": "['optuna']",
    "lint.isort.lines-after-imports": "2",
    "lint.isort.order-by-type": "false",
}


def imports(source: str) -> Iterator[str]:
    """Yield the full name of each module that a source imports anywhere, its own included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module is not None
            yield node.module


def path_of(module: str, folder: Path) -> Path:
    """Return the file of a module or package, named without its top package, below a folder."""
    parts = module.split(".")
    if SOURCE.joinpath(*parts).is_dir():
        parts.append("__init__")
    return folder.joinpath(*parts).with_suffix(".py")


def needed_modules(first: str = "_sampler") -> dict[str, str]:
    """Return the sources of a private module and of all modules that it needs, by name.

    Names are those inside `optuna_ga`, such as `_sampler`, `_breeding` and `_breeding.paper`.

    Raises:
        ValueError: If a module imports `optuna_ga` itself or a public package in it, which cannot
            be moved.
    """
    sources: dict[str, str] = {}
    missing = [first]
    while missing:
        name = missing.pop()
        sources[name] = path_of(name, SOURCE).read_text()
        needed = [name.rpartition(".")[0]]
        for imported in imports(sources[name]):
            top, _, inside = imported.partition(".")
            if top != SOURCE.name:
                continue
            if not inside.startswith("_"):
                raise ValueError(f"{name}.py must import private modules, not `{imported}`.")
            needed.append(inside)
        missing += [module for module in needed if module and module not in sources]
    return sources


def moved(source: str, depth: int = 0) -> str:
    """Return the source as it stands in a package of another name.

    Args:
        source: The source of a module.
        depth: How many folders below the package it lies.
    """
    dots = "." * (depth + 1)
    pattern = rf"(?m)^(\s*)from {SOURCE.name}\.(_[\w.]+) import"
    return re.sub(pattern, rf"\1from {dots}\2 import", source)


def requirements(sources: Iterable[str]) -> list[str]:
    """Return which of the project's requirements the sources import."""
    tops = {name.partition(".")[0] for source in sources for name in imports(source)}
    known = packages_distributions()
    distributions = {name for top in tops for name in known.get(top, [])}
    metadata = project_wheel_metadata(ROOT, isolated=False)
    found = map(Requirement, metadata.get_all("Requires-Dist") or [])
    return sorted({f"{one.name}{one.specifier}" for one in found if one.name in distributions})


def call(name: str, documented: Callable[..., Any]) -> str:
    """Return how it is called, with the defaults and without the types."""
    signature = inspect.signature(documented)
    parameters = [one.replace(annotation=one.empty) for one in signature.parameters.values()]
    return name + str(inspect.Signature(parameters))


def arguments(documented: Callable[..., Any]) -> str:
    """Return the arguments of a docstring as a list in Markdown."""
    block = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", inspect.getdoc(documented) or "", re.M | re.S)
    assert block is not None
    entries = re.split(r"\n(?=\w+: )", textwrap.dedent(block[1]).strip())
    # The registry's formatter wants a bracket that closes an interval like (0, 1] escaped.
    entries = [re.sub(r"(\([\d.]+, [\d.]+)\]", r"\1\]", " ".join(one.split())) for one in entries]
    lines = [entry.partition(": ") for entry in entries]
    return "\n".join(f"- `{name}`: {text}" for name, _, text in lines)


def readme() -> str:
    """Return the registry's README."""
    template = string.Template((TEMPLATES / "README.md").read_text())
    text = template.substitute(
        optuna_version=optuna.__version__,
        call=call("GASampler", GASampler),
        arguments=arguments(GASampler),
        adaptive_call=call("GASampler.adaptive", GASampler.adaptive),
        adaptive_arguments=arguments(GASampler.adaptive),
        example=(TEMPLATES / "example.py").read_text().rstrip(),
    )
    return text


def write_package(folder: Path) -> Path:
    """Write the package below a folder, in place of an earlier one, and return where it is."""
    package = folder / PACKAGE
    shutil.rmtree(package, ignore_errors=True)
    for name in ("images", "tests"):
        (package / name).mkdir(parents=True)
    sources = needed_modules()
    for name, source in sources.items():
        path = path_of(name, package)
        path.parent.mkdir(exist_ok=True)
        path.write_text(moved(source, len(path.relative_to(package).parts) - 1))
    (package / "__init__.py").write_text(INIT)
    (package / "README.md").write_text(readme())
    lines = ["# Python 3.10 or newer", *requirements(sources.values()), ""]
    (package / "requirements.txt").write_text("\n".join(lines))
    shutil.copy(ROOT / "LICENSE", package)
    for example in TEMPLATES.glob("example*.py"):
        shutil.copy(example, package)
    shutil.copy(FIGURE, package / "images")
    shutil.copy(TEMPLATES / "test_genetic_algorithm.py", package / "tests")
    ruff = [sys.executable, "-m", "ruff"]
    options = [f"--config={key}={value}" for key, value in RUFF.items()]
    for command in (["check", "--select=I", "--fix"], ["format"]):
        subprocess.run([*ruff, *command, "--quiet", "--isolated", *options, package], check=True)
    return package


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="such as a checkout of optunahub-registry")
    print(write_package(parser.parse_args().folder))

"""The OptunaHub package is the same sampler, without this package."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import optunahub
import pytest
import yaml
from optuna import Trial

from optuna_ga import GASampler
from tests.studies import run, story
from tools import optunahub_package

NAME = "samplers/genetic_algorithm"
# Nothing of this project can be imported, and the registry is the one that was written.
ALONE = """
import functools, runpy, sys
sys.modules.update(dict.fromkeys(["optuna_ga", "benchmarks", "tests", "tools"]))
import optunahub
optunahub.load_module = functools.partial(
    optunahub.load_local_module, registry_root="package"
)
"""
EXAMPLES = sorted(path.name for path in optunahub_package.TEMPLATES.glob("example*.py"))
RUN_EXAMPLE = f"""{ALONE}
runpy.run_path("package/{NAME}/%s", run_name="__main__")
"""
RUN_TESTS = f"""{ALONE}
import pytest
wanted = "recorded or multi_objectives or conditional_parameter or relative_mixed"
sys.exit(pytest.main(["-q", "-n0", "-p", "no:cacheprovider", "-k", wanted, "package"]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package that the script wrote."""
    folder = tmp_path_factory.mktemp("registry")
    script = Path(optunahub_package.__file__)
    printed = subprocess.run(
        [sys.executable, "-W", "error", str(script), str(folder)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout

    assert printed == f"{folder / 'package' / NAME}\n"
    return folder


@pytest.fixture(scope="module")
def module(folder: Path) -> ModuleType:
    """The package, loaded as a user with a copy of the registry loads it."""
    return optunahub.load_local_module(NAME, registry_root=str(folder / "package"))


@pytest.fixture(scope="module")
def readme(folder: Path) -> str:
    """The package's README."""
    return (folder / "package" / NAME / "README.md").read_text()


def branching(trial: Trial) -> float:
    """Return a loss of two branches, each with a parameter of its own."""
    x = trial.suggest_float("x", 1e-3, 1e3, log=True)
    if trial.suggest_categorical("branch", ["a", "b"]) == "a":
        return x + trial.suggest_int("n", 1, 9)
    return x + trial.suggest_float("step", 0, 1, step=0.25)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("constructor", "options"),
    [
        ("__call__", {"population_size": 8}),
        ("__call__", {"population_size": 8, "elitism": True, "mutation_prob": 0.5}),
        ("__call__", {"population_size": 8, "avoid_duplicates": True}),
        ("adaptive", {}),
        ("adaptive", {"surrogate": False}),
    ],
)
def test_it_makes_the_same_study(
    module: ModuleType, constructor: str, options: dict[str, Any]
) -> None:
    """The same seed gives the same trials and records."""
    one, other = (
        (sampler if constructor == "__call__" else sampler.adaptive)(seed=1, **options)
        for sampler in (module.GASampler, GASampler)
    )

    assert type(one) is not type(other)
    assert story(run(one, 30, branching)) == story(run(other, 30, branching))


@pytest.mark.slow
def test_it_exports_the_sampler_alone(module: ModuleType) -> None:
    """Its one public name is that of its own sampler."""
    assert module.__all__ == ["GASampler"]
    assert module.GASampler.__module__ == "optunahub_registry.package.samplers." + (
        "genetic_algorithm._sampler"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [*(RUN_EXAMPLE % name for name in EXAMPLES), RUN_TESTS],
    ids=[*EXAMPLES, "tests"],
)
def test_it_runs_where_this_package_is_missing(folder: Path, code: str) -> None:
    """Its examples and its tests import nothing of this project."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_sampler_loads_every_module(folder: Path) -> None:
    """After searches of one and of two objectives by the adaptive sampler."""
    code = f"""{ALONE}
import optuna
sampler = optunahub.load_module({NAME!r}).GASampler.adaptive()
for directions in (["minimize"], ["minimize", "maximize"]):
    optuna.create_study(sampler=sampler, directions=directions).ask().suggest_float("x", 0, 1)
print(*sys.modules)"""
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    loaded = {name.partition("genetic_algorithm.")[2] for name in printed.split()}

    package = folder / "package" / NAME
    files = [path.relative_to(package) for path in package.rglob("*.py")]
    modules = {".".join(path.with_suffix("").parts) for path in files if path.parts[0][0] == "_"}
    assert {name.removesuffix(".__init__") for name in modules - {"__init__"}} == loaded - {""}


def test_the_registrys_fields_are_all_filled(readme: str) -> None:
    """There are six fields, and the tags name the category."""
    fields = yaml.safe_load(readme.split("---\n")[1])

    assert set(fields) == {
        "author",
        "title",
        "description",
        "tags",
        "optuna_versions",
        "license",
    }
    assert all(fields.values())
    assert "sampler" in fields["tags"]
    assert fields["optuna_versions"] == [optuna.__version__]
    assert fields["license"] == "MIT License"


def test_the_registrys_sections_are_all_there(readme: str) -> None:
    """The sections are in the registry's order."""
    sections = re.findall(r"^## (.*)", readme, flags=re.MULTILINE)

    assert sections == ["Abstract", "APIs", "Installation", "Example", "Others"]


def test_the_readmes_picture_and_examples_are_there(folder: Path, readme: str) -> None:
    """It shows the figure of convergence, and names every example file."""
    package = folder / "package" / NAME
    (picture,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", readme)

    assert (package / picture).read_bytes() == optunahub_package.FIGURE.read_bytes()
    assert len(EXAMPLES) >= 3
    for name in EXAMPLES:
        assert (package / name).exists()
        assert name == "example.py" or f"`{name}`" in readme


def test_the_readme_has_no_html_and_nothing_left_to_fill_in(readme: str) -> None:
    """The registry refuses tags, and every placeholder is replaced."""
    assert not re.search(r"</?[a-zA-Z!][^>]*>", readme)
    assert "$" not in readme
    assert "optuna-ga" not in readme


@pytest.mark.parametrize("name", ["parent_fraction", "avoid_duplicates", "surrogate"])
def test_the_readme_names_all_arguments(readme: str, name: str) -> None:
    """Each argument has an entry, and stands in a call with its default."""
    assert re.search(rf"^- `{name}`: [A-Z].*\.$", readme, flags=re.MULTILINE)
    assert re.search(rf"^### `GASampler.*\b{name}=", readme, flags=re.MULTILINE)


def test_the_requirements_are_what_the_modules_import(folder: Path) -> None:
    """Each imported distribution has a lowest version."""
    first, *lines = (folder / "package" / NAME / "requirements.txt").read_text().splitlines()

    assert first == "# Python 3.10 or newer"
    assert [re.split(">=", line)[0] for line in lines] == [
        "moocore",
        "numpy",
        "optuna",
        "scipy",
        "threadpoolctl",
    ]
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", line) for line in lines)


def test_an_older_python_is_refused(
    folder: Path, readme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optuna itself runs on Python 3.9, so the package says what it needs before it fails."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 18, "final", 0))
    with pytest.raises(ImportError, match=r"needs Python 3\.10 or newer, but this is Python 3\.9"):
        runpy.run_path(str(folder / "package" / NAME / "__init__.py"))

    assert "It needs Python 3.10 or newer." in readme


@pytest.mark.slow
def test_its_types_are_right_where_nothing_is_installed(folder: Path) -> None:
    """The registry checks types by these options, without Optuna and NumPy."""
    options = ["ignore-missing-imports", "explicit-package-bases", "no-site-packages"]
    strict = ["disallow-untyped-defs", "disallow-untyped-calls", "check-untyped-defs"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "package"]
        + [f"--{option}" for option in [*options, *strict, "strict-equality", "extra-checks"]],
        cwd=folder,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout


def test_a_module_that_cannot_be_moved_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that imports the package by name would need it installed."""
    source = tmp_path / "optuna_ga"
    source.mkdir()
    (source / "_sampler.py").write_text("from optuna_ga import GASampler\n")
    monkeypatch.setattr(optunahub_package, "SOURCE", source)

    with pytest.raises(ValueError, match=r"_sampler\.py must import private.*`optuna_ga`"):
        optunahub_package.needed_modules()

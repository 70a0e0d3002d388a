"""The package is built and installed as a whole."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
import yaml
from hatchling.build import build_wheel
from packaging.requirements import Requirement

import optuna_ga

ROOT = Path(__file__).parents[1]
MINIMUM = ROOT / "tests" / "minimum_versions.txt"
EXTRAS = {"benchmark", "dashboard", "docs", "fashion-mnist", "test", "torch", "visualization"}
LICENSES = {"LICENSE", "optuna_ga/fashion_mnist/LICENSE.fashion-mnist"}


def call(*arguments: str | Path, folder: Path) -> str:
    """Run a command in a folder and return what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, arguments)),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return folder / build_wheel(str(folder))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """The metadata of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """It has types, images and licences, but no tests, benchmarks or examples."""
    names = zipfile.ZipFile(wheel).namelist()
    info = {name for name in names if ".dist-info/" in name}
    package = {
        str(path.relative_to(ROOT))
        for path in ROOT.joinpath("optuna_ga").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert set(names) - info == package
    assert {"optuna_ga/py.typed", "optuna_ga/fashion_mnist/subset.npz"} <= package
    assert {name.partition("/licenses/")[2] for name in info} == LICENSES | {""}


def test_the_metadata_say_what_is_needed(metadata: Message) -> None:
    """They hold the licence as an expression, Python's versions, the extras and README."""
    assert metadata["License-Expression"] == "MIT"
    assert set(metadata.get_all("License-File") or []) == LICENSES
    assert metadata["Requires-Python"] == ">=3.10"
    assert set(metadata.get_all("Provides-Extra") or []) == EXTRAS
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text()


def test_the_version_stands_in_one_place(metadata: Message) -> None:
    """The metadata take it from the package, and the citation has the same."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert metadata["Version"] == citation["version"] == optuna_ga.__version__


def test_the_citation_has_the_date_of_the_changelogs_newest_section() -> None:
    """Its version is that of the section; before the first release there is neither."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    sections = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [title for title in sections if title != "Unreleased"]
    version, date = citation["version"], citation.get("date-released")

    assert released[:1] == ([] if date is None else [f"{version} - {date}"])


def test_the_least_versions_are_those_of_the_metadata(metadata: Message) -> None:
    """The environment in which least versions are tested has exactly these."""
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", MINIMUM.read_text(), flags=re.MULTILINE))
    found = [Requirement(text) for text in metadata.get_all("Requires-Dist") or []]
    tested = {"dashboard", "fashion-mnist", "visualization"}
    needed = {
        one.name: next(iter(one.specifier)).version
        for one in found
        if one.name != "optuna-ga"
        and (one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in tested))
    }

    assert {name: version for name, version in pins.items() if name in needed} == {
        name: f"{version}.0" if version.count(".") == 1 else f"{version}.0.0"
        for name, version in needed.items()
    }


def test_the_classifiers_agree_with_the_rest(metadata: Message) -> None:
    """Types are shipped; the standard forbids a classifier for the licence."""
    classifiers = metadata.get_all("Classifier") or []

    assert {"Typing :: Typed", "Programming Language :: Python :: 3 :: Only"} <= set(classifiers)
    assert not [name for name in classifiers if name.startswith("License ::")]


def test_the_plain_install_needs_little(metadata: Message) -> None:
    """All other requirements belong to extras."""
    required = [one for one in metadata.get_all("Requires-Dist") or [] if "extra ==" not in one]

    assert [re.split(r"[^\w-]", one)[0] for one in required] == [
        "moocore",
        "numpy",
        "optuna",
        "scipy",
        "threadpoolctl",
        "tqdm",
    ]


@pytest.mark.slow
def test_the_source_distribution_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """The two wheels are equal to the byte."""
    command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path)
    call(*command, ROOT, folder=ROOT)  # The source distribution, and the wheel from it.
    (again,) = tmp_path.glob("*.whl")

    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_the_wheel_runs_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """With its requirements alone the quickstart runs in an empty folder."""
    venv.create(tmp_path / "env", symlinks=os.name != "nt")
    scripts = "Scripts" if os.name == "nt" else "bin"
    python, folder = tmp_path / "env" / scripts / "python", tmp_path / "empty"
    folder.mkdir()
    call(sys.executable, "-m", "pip", "--python", python, "install", wheel, folder=folder)
    where = call(python, "-I", "-c", "import optuna_ga; print(optuna_ga.__file__)", folder=folder)
    code = (ROOT / "examples" / "quickstart.py").read_text()
    printed = call(python, "-I", "-W", "error", "-c", code, folder=folder)

    assert Path(where.strip()).is_relative_to(tmp_path / "env")
    assert printed.startswith("{'x': ")
    assert printed == call(sys.executable, "-c", code, folder=folder)

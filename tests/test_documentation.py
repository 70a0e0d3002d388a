"""The documentation is built without a warning, and its reference has every public name."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from sphinx.util.inventory import InventoryFile

import optuna_ga
from optuna_ga import fashion_mnist, visualization
from optuna_ga import torch as torch_package

ROOT = Path(__file__).parents[1]
COMMAND = "python -m sphinx -W -c docs . site"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, whose tutorials were executed; test processes share it, since it takes long."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, unfinished = shared / "site", shared / "site.part"
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            command = [sys.executable, *COMMAND.split()[1:-1], str(unfinished), "-q"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            unfinished.rename(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("package", [optuna_ga, fashion_mnist, torch_package, visualization])
def test_the_reference_has_every_public_name(site: Path, package: ModuleType) -> None:
    """Each name has an entry in the index, which leads to a page."""
    content = (site / "objects.inv").read_bytes()
    entries = InventoryFile.loads(content, uri="").data
    pages = {
        name: item.uri.partition("#")[0]
        for kind in entries
        for name, item in entries[kind].items()
    }

    for name in package.__all__:
        assert (site / pages[f"{package.__name__}.{name}"]).exists()


@pytest.mark.slow
def test_tutorials_show_what_they_print(site: Path) -> None:
    """Each has outputs, and none is a warning."""
    tutorials = sorted((ROOT / "docs" / "tutorials").glob("*.md"))

    assert len(tutorials) >= 4
    for tutorial in tutorials:
        page = (site / "docs" / "tutorials" / tutorial.name).with_suffix(".html").read_text()
        assert page.count('class="cell_output') >= 3, tutorial
        assert "output stderr" not in page, tutorial
    first = (site / "docs" / "tutorials" / "first_search.html").read_text()
    assert first.count("plotly-graph-div") == 2


@pytest.mark.slow
def test_the_root_of_the_site_leads_to_its_first_page(site: Path) -> None:
    """A browser that opens the folder is sent on."""
    (target,) = re.findall(r'url=([^"]+)"', (site / "index.html").read_text())

    assert (site / target).exists()


def test_contributing_tells_how_to_build_the_site() -> None:
    """CONTRIBUTING has the command that these tests run."""
    assert COMMAND in (ROOT / "CONTRIBUTING.md").read_text().splitlines()

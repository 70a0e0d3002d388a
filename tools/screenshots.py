"""Make the pictures of optuna-dashboard that the pages show: `python -m tools.screenshots`.

A search of the paper's problem, whose losses come from a table, runs with a `DashboardReport`, a
real server shows it, and a real browser takes the pictures, in a minute on two CPU cores. The
browser is from Debian's packages `chromium` and `chromium-driver`.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import optuna
from optuna.pruners import NopPruner
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from benchmarks.table.problem import TableProblem
from optuna_ga import DashboardReport, GASampler
from tests.servers import MissingServerError, _free_port, _listens, _program, _running

FIGURES = ("fitness", "genealogy", "improvements", "genes")
HISTORY, GENEALOGY = "dashboard_history.png", "dashboard_genealogy.png"

_RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
_WIDTH, _WHOLE_PAGE = 1400, 2600
_OPTIONS = (
    "headless=new",
    "no-sandbox",
    "disable-dev-shm-usage",
    "enable-unsafe-swiftshader",  # Draws parallel coordinates without a GPU.
    "hide-scrollbars",
    f"window-size={_WIDTH},900",
)
_PATIENCE_S = 60.0
_COLORS = 256
# In pixels: what is left of the figures, a row of ours, and what is below each of them.
_SIDEBAR, _ROW_HEIGHT, _PADDING = 66, 480, 24


@contextmanager
def dashboard(storage: str) -> Iterator[str]:
    """Run optuna-dashboard on a storage; yields the URL of its first page."""
    program = shutil.which("optuna-dashboard", path=sysconfig.get_path("scripts"))
    if program is None:
        raise MissingServerError("`optuna-dashboard` is not installed; pip's name is the same.")
    with _free_port() as port:
        command = [program, storage, "--host", "127.0.0.1", "--port", str(port), "--quiet"]
        with _running(command, lambda: _listens(port)):
            yield f"http://127.0.0.1:{port}/dashboard"


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Run a browser without a screen, which keeps all that its console says."""
    options = webdriver.ChromeOptions()
    options.binary_location = _program("chromium", "chromium")
    for option in _OPTIONS:
        options.add_argument(f"--{option}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(_program("chromedriver", "chromium-driver")))
    try:
        yield driver
    finally:
        driver.quit()


def main() -> None:
    """Search, and take the pictures."""
    os.environ["PYTHONHASHSEED"] = "9"  # The dashboard sorts figures by a hash of their names.
    with tempfile.TemporaryDirectory() as folder:
        storage = f"sqlite:///{folder}/study.db"
        search(storage)
        with dashboard(storage) as url, chromium() as driver:
            take_pictures(driver, f"{url}/studies/1", _RESULTS)


def search(storage: str) -> None:
    """Run ten generations of twenty trials, whose losses are looked up."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="fashion-mnist",
        storage=storage,
        sampler=GASampler.adaptive(20, seed=0),
        pruner=NopPruner(),
    )
    study.optimize(TableProblem(), n_trials=200, callbacks=[DashboardReport(every=10)])


def take_pictures(driver: webdriver.Chrome, page: str, folder: Path) -> None:
    """Save the study's page down to the first row of our figures, and all rows of these.

    Args:
        driver: A browser.
        page: The URL of a study with a report.
        folder: Where to save the pictures.
    """
    driver.set_window_size(_WIDTH, _WHOLE_PAGE)
    driver.get(page)
    for figure in ("plot-history", "graph-hyperparameter-importances", "graph-timeline"):
        _bottom(driver, figure)
    bottoms = [_bottom(driver, f"user-defined-plot:ga-{figure}") for figure in FIGURES]
    picture = Image.open(BytesIO(driver.get_screenshot_as_png()))
    _save(picture, folder / HISTORY, (0, 0, _WIDTH, min(bottoms)))
    ours = (_SIDEBAR, min(bottoms) - _ROW_HEIGHT, _WIDTH, max(bottoms))
    _save(picture, folder / GENEALOGY, ours)


def _bottom(driver: webdriver.Chrome, figure: str) -> int:
    """Wait until a figure is drawn, and return where its card ends on the page, in pixels."""
    selector = f"[id='{figure}']"
    wait = WebDriverWait(driver, _PATIENCE_S)
    wait.until(lambda _: driver.find_elements(By.CSS_SELECTOR, f"{selector} .main-svg"), figure)
    card = driver.find_element(By.CSS_SELECTOR, selector)
    return int(card.rect["y"] + card.rect["height"]) + _PADDING


def _save(picture: Image.Image, path: Path, box: tuple[int, int, int, int]) -> None:
    """Save a part of a picture, in few colours, which makes a small file."""
    part = picture.convert("RGB").crop(box)
    part.quantize(_COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()

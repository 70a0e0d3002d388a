"""The pages of optuna-dashboard in a real browser, with a real search."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna import Study
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from PIL import Image
from selenium.common.exceptions import (
    ElementClickInterceptedException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from optuna_ga import DashboardReport, GASampler, optimize_generations
from optuna_ga.fashion_mnist import FashionMNISTObjective
from tests.conftest import _running
from tools.screenshots import GENEALOGY, HISTORY, chromium, dashboard, take_pictures

pytestmark = pytest.mark.slow

GENERATION = "User Attribute ga_generation"
MEASURED = {"training_loss", "training_s", "validation_accuracy", "validation_loss"}
OURS = [
    "Fitness per Generation",
    "Genealogy",
    "Genes over the Generations",
    "Improvements of the Best",
]

_TEXTS = """
return [...document.querySelectorAll(arguments[0])].map(
    element => element.innerText ?? element.textContent  // SVG has the latter only.
)
"""


class Page:
    """A page of the dashboard, on which each condition is waited for, a minute at most."""

    def __init__(self, driver: Chrome, url: str) -> None:
        self._driver = driver
        self._url = url
        self._wait = WebDriverWait(
            driver,
            60,
            ignored_exceptions=[ElementClickInterceptedException, StaleElementReferenceException],
        )

    def open(self, path: str, *texts: str) -> None:
        """Open a page, and wait until it shows all of the texts."""
        self._driver.get(self._url + path)
        self.shows(*texts)

    def shows(self, *texts: str) -> None:
        """Wait until the page shows all of the texts."""
        self.until(f"shows {texts}", lambda: all(text in self.texts("body")[0] for text in texts))

    def until(self, what: str, condition: Callable[[], object]) -> None:
        """Wait until the page fulfils a condition."""
        self._wait.until(lambda _: condition(), f"{self._driver.current_url} never {what}")

    def find(self, selector: str) -> None:
        """Wait until a CSS selector finds something."""
        self.until(f"has {selector}", lambda: self.all(selector))

    def all(self, selector: str) -> list[WebElement]:
        """Return the elements of a CSS selector."""
        return self._driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        """Return the texts of what a CSS selector finds, with single spaces.

        They are read at once, since the page replaces its elements at any time.
        """
        texts: list[str] = self._driver.execute_script(_TEXTS, selector)
        return [" ".join(text.split()) for text in texts]

    def click(self, path: str) -> None:
        """Click what an XPath finds, once it is there."""

        def clicked() -> bool:
            elements = self._driver.find_elements(By.XPATH, path)
            for element in elements[:1]:
                self._driver.execute_script("arguments[0].scrollIntoView(false)", element)
                element.click()
            return bool(elements)

        self.until(f"has {path}", clicked)

    def choose_from_list(self, option: str) -> None:
        """Choose an option from the page's first list."""
        self.click("//*[@role='combobox']")
        self.click(f"//*[@role='option' and text()='{option}']")

    def errors(self) -> list[str]:
        """Return the console's errors since the last call."""
        log = self._driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of an SQLite database."""
    return f"sqlite:///{tmp_path_factory.mktemp('dashboard')}/study.db"


@pytest.fixture(scope="module")
def study(database: str) -> Iterator[Study]:
    """Three generations of four small trainings, with a report."""
    storage = RDBStorage(database)
    study = optuna.create_study(study_name="paper", storage=storage, sampler=GASampler(4, seed=0))
    objective = FashionMNISTObjective(
        "subset", epochs=1, n_training_images=300, n_validation_images=200
    )
    optimize_generations(study, objective.evaluate_generation, 3, callbacks=[DashboardReport()])
    yield study
    storage.remove_session()
    storage.engine.dispose()


@pytest.fixture(scope="module")
def url(study: Study, database: str) -> Iterator[str]:
    """The URL of a running dashboard that has the study."""
    yield from _running(dashboard(database))


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    """A running browser."""
    yield from _running(chromium())


@pytest.fixture
def page(driver: Chrome, url: str) -> Iterator[Page]:
    """The browser's page, whose console must have no error at the end."""
    page = Page(driver, url)
    yield page
    assert page.errors() == []


def fullest(study: Study) -> FrozenTrial:
    """Return a trial with all attributes that the sampler and the objective record."""
    (trial, *_) = [
        trial
        for trial in study.trials
        if {"ga_generation", "ga_parents", "ga_mutated", *MEASURED} <= set(trial.user_attrs)
    ]
    return trial


def test_the_list_of_studies_has_the_study(page: Page) -> None:
    """A click on the study leads to its page."""
    page.open("", "1. paper", "Direction: MINIMIZE")
    page.click("//a[contains(., 'paper')]")

    page.shows("paper (id=1)", "Hyperparameter Importance")


def test_the_studys_page_has_its_figures_and_ours(page: Page, study: Study) -> None:
    """Every trial with a finite value is a point of the first figure."""
    page.open("/studies/1", "History", "Hyperparameter Importance", "Timeline", *OURS)
    page.shows(f"Best Trial (number={study.best_trial.number})", "ga_population_size 4")

    n_finite = sum(math.isfinite(trial.values[0]) for trial in study.trials)
    points = "[id='user-defined-plot:ga-fitness'] .boxes path.point"
    page.until("draws all trials", lambda: len(page.all(points)) == n_finite)


@pytest.mark.parametrize(
    ("path", "figure"), [("/studies/1", "plot-history"), ("/studies/1/analytics", "plot-slice")]
)
def test_a_figure_can_show_generations(page: Page, path: str, figure: str) -> None:
    """The generation is a number, which can be on the vertical axis, then from 0 to 2.

    Before its data arrives a figure has an axis around 0, so only drawn data counts.
    """
    page.open(path)

    def ticks() -> set[str]:
        return set(page.texts(f"#{figure} .ytick")) if page.all(f"#{figure} path.point") else set()

    page.until("draws the values", lambda: ticks() and "0" not in ticks())
    page.choose_from_list(GENERATION)

    page.until("shows 0 to 2", lambda: {"0", "2"} <= ticks() <= {"0", "0.5", "1", "1.5", "2"})


def test_the_analytics_page_has_all_its_figures(page: Page) -> None:
    """No figure stays empty."""
    page.open("/studies/1/analytics", "Hyperparameter Relationships", "EDF for Objective 0")

    for figure in ("plot-slice", "graph-contour", "graph-rank", "plot-edf-0"):
        page.find(f"#{figure} .main-svg")


def test_the_list_of_trials_shows_all_attributes(page: Page, study: Study) -> None:
    """Attributes of the sampler and of the objective are shown with their values."""
    trial = fullest(study)
    page.open(f"/studies/1/trials?numbers={trial.number}", "12 Trials")

    page.shows(*(f"{name} {json.dumps(value)}" for name, value in trial.user_attrs.items()))


def test_the_table_of_trials_has_all_attributes(page: Page, study: Study) -> None:
    """Each attribute is a column on the page that selects trials."""
    trial = fullest(study)
    page.open("/studies/1/smartSelection", "DOWNLOAD CSV FILE")

    page.find("tbody tr")
    header = page.texts("thead")[0]
    assert all(f"UserAttribute {name}" in header for name in trial.user_attrs)
    [row] = [text for text in page.texts("tbody tr") if text.startswith(f"{trial.number} ")]
    assert all(json.dumps(value) in row for value in trial.user_attrs.values())


def test_parallel_coordinates_can_show_generations(page: Page) -> None:
    """The generation can be one of the axes."""
    page.open("/studies/1/smartSelection", "Parallel Coordinate", GENERATION)
    axes = "#plot-parallel-coordinate .axis-title"
    page.until("has its axes", lambda: len(page.texts(axes)) > 1)
    assert GENERATION not in page.texts(axes)
    page.click(f"//label[contains(., '{GENERATION}')]")

    page.until("has the axis", lambda: GENERATION in page.texts(axes))


def test_the_note_shows_the_search_and_leads_to_the_best_trial(page: Page, study: Study) -> None:
    """The note is shown as tables and links."""
    best = study.best_trial
    sampler = repr(GASampler(4, seed=0))
    page.open("/studies/1/note", "Report of optuna_ga", sampler, "Generations")
    assert [text.split()[:3] for text in page.texts("table:last-of-type tbody tr")] == [
        ["2", "4", "4"],
        ["1", "4", "4"],
        ["0", "4", "4"],
    ]
    page.click(f"//p/a[text()='{best.number}']")

    page.shows(f"Trial {best.number} (trial_id=", json.dumps(best.params["learning_rate"]))


def test_pictures_can_be_taken(driver: Chrome, url: str, tmp_path: Path) -> None:
    """Both pictures have many colours and the width of the page."""
    take_pictures(driver, f"{url}/studies/1", tmp_path)

    for name, least in ((HISTORY, 1400), (GENEALOGY, 1300)):
        with Image.open(tmp_path / name) as picture:
            assert picture.width >= least
            assert len(picture.getcolors() or []) > 50

"""Facts about every figure, and about the table that figures are drawn from."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from optuna import Study
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from optuna_ga import GASampler, generations_dataframe
from optuna_ga.visualization import (
    plot_fitness,
    plot_genealogy,
    plot_genes,
    plot_improvements,
)
from tests.studies import added, failed, of_four, pruned, run, sphere, study_with
from tests.visualization.figures import (
    FIGURES,
    Plot,
    numbers,
    odd_study,
    places,
    three_generations,
)

READERS: list[Plot] = [generations_dataframe, *FIGURES]
each_figure = pytest.mark.parametrize("plot", FIGURES, ids=lambda plot: str(plot.__name__))
each_reader = pytest.mark.parametrize("read", READERS, ids=lambda read: str(read.__name__))


def leaves(node: Any) -> Iterator[Any]:
    """Yield all values of nested dicts and sequences."""
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, (list, tuple, np.ndarray)):
        for part in node:
            yield from leaves(part)
    else:
        yield node


@each_figure
@pytest.mark.parametrize(
    "study",
    [
        odd_study,
        lambda: odd_study("maximize"),
        lambda: study_with(*[failed()] * 5),
        lambda: study_with(*[pruned()] * 5),
        lambda: study_with(*[added(math.inf)] * 5),
        lambda: study_with(*[added(1, constraints={"c": 1})] * 5),
        lambda: study_with(added(1)),
        lambda: run(of_four(record=False), 12),
        lambda: run(GASampler.adaptive(4, seed=0, surrogate=False), 20),
        lambda: run(GASampler(20, seed=0), 500),
    ],
    ids=[
        *("odd", "odd-maximized", "failed", "pruned", "infinite", "infeasible", "single"),
        *("unrecorded", "adaptive", "large"),
    ],
)
def test_every_figure_of_every_study_is_plain_json(plot: Plot, study: Callable[[], Study]) -> None:
    """There is no NaN, no infinity and no binary array, which older readers do not know."""
    figure = plot(study())

    numbers = [leaf for leaf in leaves(figure.to_dict()) if isinstance(leaf, (float, np.number))]
    assert all(map(math.isfinite, numbers))
    assert "bdata" not in figure.to_json()
    assert len(json.loads(figure.to_json())["data"]) == len(figure.data) > 0


@pytest.mark.parametrize("plot", [plot_genealogy, plot_genes])
def test_every_finished_trial_of_an_odd_study_is_a_point(plot: Plot) -> None:
    """Neither its state, its value nor its origin hides a trial."""
    study = odd_study()
    figure = plot(study) if plot is plot_genealogy else plot(study, ["x"])

    finished = [t.number for t in study.trials if t.state.is_finished() and "x" in t.params]
    found = [t for t in figure.data if t.mode == "markers" and t.text is not None]
    points = [t for t in found if not t.name.startswith("Fittest")]
    assert sorted(number for found in points for number in numbers(found)) == finished


@each_figure
def test_the_objective_has_the_name_that_is_given(plot: Plot) -> None:
    """The name stands on the axis or where the mouse hovers over a trial."""
    study = three_generations()

    assert "Loss" in plot(study, target_name="Loss").to_json()
    assert "Objective Value" in plot(study).to_json()


@each_figure
def test_no_name_and_no_choice_is_read_as_html(plot: Plot) -> None:
    """Not in a title, on an axis or in a hover text; quotation marks stay as they are."""
    name, choice, target = "<i>name</i>", '<b>"choice"</b>', '<u>"target"</u>'
    study = run(of_four(), 8, lambda trial: len(trial.suggest_categorical(name, [choice, "c"])))
    text = plot(study, target_name=target).to_json()

    assert not [tag for tag in ("<i>", "\\u003ci", "<u>", "\\u003cu") if tag in text]
    assert not [leaf for leaf in leaves(plot(study).to_dict()) if choice in str(leaf)]
    assert "&quot;" not in text


@pytest.mark.parametrize("plot", [plot_genes, plot_fitness, plot_improvements])
def test_only_the_figures_title_has_letters_of_its_size_made_smaller(plot: Plot) -> None:
    """Elsewhere they would be smaller than 11 pixels."""
    study = run(
        GASampler.adaptive(4, seed=0),
        8,
        lambda t: [t.suggest_float("x", 0, 1)] * 2,
        directions=["minimize", "maximize"],
    )
    layout = plot(study).layout.to_plotly_json()
    del layout["title"]

    assert not [leaf for leaf in leaves(layout) if "<sub>" in str(leaf)]


@each_figure
def test_a_study_without_a_finished_trial_has_no_figure(plot: Plot) -> None:
    """A running trial is not enough."""
    study = study_with()
    study.ask()

    with pytest.raises(ValueError, match="no finished trial"):
        plot(study)


@each_reader
def test_an_unknown_population_size_must_be_given(read: Plot) -> None:
    """The error names the argument and the sampler that does not know."""
    study = run(RandomSampler(seed=0), 8)

    with pytest.raises(ValueError, match=r"`population_size` must be given.*RandomSampler"):
        read(study)
    read(study, population_size=4)


@each_reader
@pytest.mark.parametrize(("size", "error"), [(1, ValueError), (4.0, TypeError), (True, TypeError)])
def test_a_population_size_that_is_none_is_refused(
    read: Plot, size: Any, error: type[Exception]
) -> None:
    """The error names the argument and the value."""
    with pytest.raises(error, match=f"`population_size` must be .* but {size!r} was given"):
        read(three_generations(), population_size=size)


def test_the_population_size_is_given_or_the_samplers_or_the_recorded_one() -> None:
    """The argument precedes the sampler, and the sampler the record."""
    study = run(of_four(), 12)

    assert list(generations_dataframe(study, 6)["generation"]) == [0] * 6 + [1] * 6
    study.sampler = GASampler(5)
    assert generations_dataframe(study)["generation"].max() == 11 // 5
    study.sampler = TPESampler()
    assert generations_dataframe(study)["generation"].max() == 11 // 4


@pytest.mark.parametrize("plot", [plot_genealogy, plot_genes])
def test_trials_of_one_generation_stand_in_the_order_of_their_numbers(plot: Plot) -> None:
    """Also after a change of the population size, when a generation has more trials than it."""
    study = run(of_four(), 12)
    study.sampler = GASampler(5, seed=0)
    study.optimize(sphere, n_trials=12)
    figure = plot(study) if plot is plot_genealogy else plot(study, ["x"])
    at = sorted((number, x) for (x, _), number in places(figure).items())

    generations = {
        generation: [x for _, x in at if round(x) == generation] for generation in range(5)
    }
    assert [len(own) for own in generations.values()] == [4, 4, 7, 5, 4]
    assert all(own == sorted(set(own)) for own in generations.values())


def python(code: str) -> str:
    """Return the output of a new process."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=120
    ).stdout


def test_a_search_that_nobody_looks_at_imports_nothing_to_show_it() -> None:
    """Neither the sampler nor a new report imports Plotly, pandas or optuna-dashboard."""
    code = """
import sys
import optuna
from optuna_ga import DashboardReport, GASampler
DashboardReport()
study = optuna.create_study(sampler=GASampler(4))
study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=8)
print({"plotly", "pandas", "optuna_dashboard"} & set(sys.modules))
"""

    assert python(code) == "set()\n"


def test_without_plotly_the_error_says_how_to_get_it() -> None:
    """Importing the figures raises it."""
    code = """
import sys
sys.modules["plotly"] = None
try:
    import optuna_ga.visualization
except ImportError as error:
    print(error)
"""

    assert 'Run `pip install -e ".[visualization]"`.' in python(code)


@pytest.mark.parametrize("plot", [plot_fitness, plot_genealogy, plot_genes])
@pytest.mark.parametrize(
    ("first", "n_generations", "step"), [(0, 1, 1), (0, 10, 1), (0, 11, 2), (2, 25, 3)]
)
def test_the_axis_of_generations_has_few_and_whole_ticks(
    plot: Plot, first: int, n_generations: int, step: int
) -> None:
    """It begins with the first generation that has a finished trial, and ends with the last."""
    study = study_with()
    for _ in range(4 * first):
        study.ask()
    study.add_trials([added(1.0)] * 4 * n_generations)
    axis = plot(study).layout.xaxis

    assert axis.range == (first - 0.5, first + n_generations - 0.5)
    assert (axis.tick0, axis.dtick) == (first, step)


@pytest.mark.parametrize("plot", [plot_genealogy, plot_genes])
@pytest.mark.parametrize(
    ("trial", "shown"),
    [
        (added(1 / 3), "0.333333"),
        (added(-math.inf), "-inf"),
        (added(2.0, constraints={"c": 1.0}), "2 (infeasible)"),
        (pruned(intermediate_values={0: 1.0, 3: 4.0}), "4 (pruned)"),
        (pruned(), "none (pruned)"),
        (failed(), "none (fail)"),
    ],
)
def test_hovering_shows_the_value_and_what_keeps_it_from_being_the_best(
    plot: Plot, trial: FrozenTrial, shown: str
) -> None:
    """An added pruned trial has its last report instead of a value."""
    figure = plot(study_with(trial))
    (text, *_) = [found.text[0] for found in figure.data if found.text]

    assert f"Objective Value: {shown}" in text.split("<br>")

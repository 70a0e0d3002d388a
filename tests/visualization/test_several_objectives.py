"""The figures of studies with several objectives."""

from __future__ import annotations

import numpy as np
import pytest
from optuna import Study

from optuna_ga import GASampler, generations_dataframe
from optuna_ga.visualization import plot_fitness, plot_genealogy, plot_genes, plot_improvements
from tests.several import dominates, study_of_two, two_parabolas, with_values
from tests.studies import added, of_four, run, study_with
from tests.visualization.figures import FIGURES, Plot


@pytest.fixture
def study() -> Study:
    """Return a study of five generations."""
    directions = ["minimize", "maximize"]
    return run(GASampler(6, seed=0, elitism=True), 30, two_parabolas, directions=directions)


def test_the_fitness_is_the_hypervolume(study: Study) -> None:
    """The line is the table's, at the end of each generation, and the last is all trials'."""
    own, so_far = plot_fitness(study).data
    table = generations_dataframe(study)

    assert list(so_far.y) == pytest.approx(table["hypervolume"][5::6].tolist())
    assert all(0.0 <= one <= all_of_them for one, all_of_them in zip(own.y, so_far.y, strict=True))
    assert own.y[0] == so_far.y[0]


def test_improvements_are_the_trials_that_entered_the_front(study: Study) -> None:
    """The markers stand on the line, one for each."""
    figure = plot_improvements(study)
    table = generations_dataframe(study)
    traces = [trace for trace in figure.data if trace.type == "scatter" and trace.text]
    points = {point for trace in traces for point in zip(trace.x, trace.y, strict=True)}

    improved = table[table["improved"]]
    assert points == set(zip(improved["number"], improved["hypervolume"], strict=True))


def test_the_genealogy_marks_the_front_and_its_ancestors(study: Study) -> None:
    """A star for each of the best trials."""
    stars = plot_genealogy(study).data[-1]
    numbers = {text.split("</b>")[0].removeprefix("<b>Trial ") for text in stars.text}

    assert stars.name == f"Front: {len(study.best_trials)} trials"
    assert numbers == {str(trial.number) for trial in study.best_trials}


def test_genes_are_drawn_with_all_values_of_their_trials(study: Study) -> None:
    """Hover texts show both."""
    first, second = study.trials[0].values

    assert f"{first:.6g}, {second:.6g}" in plot_genes(study).to_json()


@pytest.mark.parametrize("plot", FIGURES)
def test_every_figure_bears_constraints_and_infinite_values(plot: Plot) -> None:
    """No candidate is left, and one objective is constant."""
    infeasible = with_values(1, float("inf"), constraints={"c": 1.0})
    history = [infeasible] * 4
    text = plot(study_of_two(of_four(), history=history)).to_json()
    assert "NaN" not in text and "Infinity" not in text

    history.append(with_values(float("-inf"), 3))
    text = plot(study_of_two(of_four(), history=history)).to_json()
    assert "NaN" not in text and "Infinity" not in text


@pytest.mark.parametrize("n_objectives", [3, 5])
def test_the_hypervolume_of_infinite_values_is_the_tables(n_objectives: int) -> None:
    """A value may be infinitely good or bad in any objective."""
    rng = np.random.default_rng(n_objectives)
    values = rng.normal(size=(80, n_objectives))
    values[rng.random(values.shape) < 0.05] = -np.inf
    values[rng.random(values.shape) < 0.05] = np.inf
    history = [with_values(*each.tolist()) for each in values]
    study = study_of_two(of_four(), ["minimize"] * n_objectives, history)
    _, so_far = plot_fitness(study).data
    table = generations_dataframe(study, population_size=4)

    assert list(so_far.y) == pytest.approx(table["hypervolume"][3::4].tolist())


def test_the_hypervolume_so_far_never_shrinks_from_left_to_right() -> None:
    """The generations that trials show need not be in the order of their numbers."""
    shown = [(0, 4, 4), (1, 2, 2), (2, 1, 3), (0, 3, 4), (1, 4, 3), (3, 4, 0)]
    history = [with_values(a, b, user_attrs={"ga_generation": g}) for g, a, b in shown]
    own, so_far = plot_fitness(study_of_two(of_four(), history=history)).data

    # Of the box from (1, 0) to (4, 4), in twelfths.
    assert own.y == pytest.approx([0, 4 / 12, 3 / 12, 0])
    assert so_far.y == pytest.approx([0, 4 / 12, 5 / 12, 5 / 12])


@pytest.mark.parametrize("plot", [plot_fitness, plot_improvements])
@pytest.mark.parametrize(("n_objectives", "is_said"), [(6, False), (7, True)])
def test_figures_say_that_a_hypervolume_is_not_computed(
    plot: Plot, n_objectives: int, is_said: bool
) -> None:
    """It would take minutes."""
    history = [with_values(*range(n_objectives))] * 4
    figure = plot(study_of_two(of_four(), ["minimize"] * n_objectives, history))

    assert ("more than six objectives" in figure.to_json()) == is_said


__all__ = ["study"]


def test_hovering_counts_the_trials_that_entered_the_front(study: Study) -> None:
    """In each generation: those that no trial before dominates or equals."""
    losses = [(trial.values[0], -trial.values[1]) for trial in study.trials]
    entered = [
        not any(dominates(earlier, own) or earlier == own for earlier in losses[:number])
        for number, own in enumerate(losses)
    ]

    assert plot_fitness(study).data[0].text == tuple(
        f"{sum(entered[first : first + 6])} entered the front" for first in range(0, 30, 6)
    )


def test_no_end_of_a_range_is_named_best() -> None:
    """With several objectives no trial is the fittest."""
    history = [with_values(1, 2, x=0.0), with_values(2, 1, x=1.0)]
    figure = plot_genes(study_of_two(of_four(), history=history))

    assert [title.text for title in figure.layout.annotations] == ["x"]


def test_the_axis_of_improvements_is_the_hypervolume(study: Study) -> None:
    """As that of the fitness; with one objective it has the objective's name."""
    several = plot_improvements(study, target_name="Loss").layout.yaxis2.title.text
    one = plot_improvements(study_with(added(1.0)), target_name="Loss").layout.yaxis2.title.text

    assert several == plot_fitness(study).layout.yaxis.title.text
    assert several.startswith("Hypervolume")
    assert one == "Loss"

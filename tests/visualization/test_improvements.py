"""The figure of improvements by origin."""

from __future__ import annotations

import math

import pytest
from optuna import Study

from optuna_ga import GASampler
from optuna_ga.visualization import plot_genealogy, plot_improvements
from tests.studies import added, constant, run, study_with
from tests.visualization.figures import numbers, three_generations, trace


@pytest.mark.parametrize("sign", [1, -1])
def test_improvements_are_counted_by_origin(sign: int) -> None:
    """Trials and improvements of each origin are shown as shares."""
    figure = plot_improvements(three_generations(sign))
    trials, improved = trace(figure, "Trials (12"), trace(figure, "Improvements (7")

    assert trials.x == improved.x == ("Start", "Crossover", "Mutation")
    assert (trials.text, trials.y) == (("4", "6", "2"), (4 / 12, 6 / 12, 2 / 12))
    assert (improved.text, improved.y) == (("4", "2", "1"), (4 / 7, 2 / 7, 1 / 7))


def test_later_trials_without_parents_have_bars_and_markers_of_their_own() -> None:
    """Drawn at random while all trials were equal, and then made by another sampler."""
    study = run(GASampler.adaptive(4, seed=0), 6, constant)
    study.add_trial(added(-1.0))
    figure = plot_improvements(study)

    assert trace(figure, "Trials (7").x == ("Start", "Crossover", "Mutation", "Random", "Other")
    assert trace(figure, "Trials (7").text == ("4", "0", "0", "2", "1")
    assert trace(figure, "Other").x == (6,)
    markers = [trace(plot_genealogy(study), name) for name in ("Start", "Random", "Other")]
    assert list(map(numbers, markers)) == [[0, 1, 2, 3], [4, 5], [6]]
    assert len({marker.marker.color for marker in markers}) == 3


@pytest.mark.parametrize("history", [three_generations(), study_with(added(1))])
def test_the_number_above_the_highest_bar_has_room(history: Study) -> None:
    """The axis extends beyond the highest bar."""
    figure = plot_improvements(history)
    shares = [*trace(figure, "Trials (").y, *trace(figure, "Improvements (").y]

    assert figure.layout.yaxis.range == (0, pytest.approx(1.12 * max(shares)))


@pytest.mark.parametrize(("sign", "shown"), [(1, "-inf"), (-1, "inf")])
def test_an_infinite_best_is_named(sign: int, shown: str) -> None:
    """The line ends where the best cannot be drawn; a worst infinity is no such value."""
    direction = "minimize" if sign == 1 else "maximize"
    values = [sign * math.inf, sign * 2.0, -sign * math.inf, sign * 1.0]
    study = study_with(*map(added, values), direction=direction)

    assert f"Not drawn: the best is {shown} from trial 2 on" in (
        plot_improvements(study).layout.title.text
    )
    plain = plot_improvements(study_with(*map(added, values[:2]), direction=direction))
    assert "Not drawn" not in plain.layout.title.text


@pytest.mark.parametrize("sign", [1, -1])
def test_improvements_are_marked_on_the_best_so_far(sign: int) -> None:
    """Each improvement has the marker of its origin."""
    figure = plot_improvements(three_generations(sign))
    line = trace(figure, "Best so far")
    marked = {name: trace(figure, name).x for name in ("Start", "Crossover", "Mutation")}

    best = [4, 3, 2, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.125, 0.125, 0.125]
    assert (line.x, line.y) == (tuple(range(12)), tuple(sign * value for value in best))
    assert marked == {"Start": (0, 1, 2, 3), "Crossover": (5, 8), "Mutation": (9,)}
    assert trace(figure, "Crossover").y == (sign * 0.5, sign * 0.25)


def test_an_infinite_improvement_is_counted_but_not_drawn() -> None:
    """An axis cannot show infinity."""
    figure = plot_improvements(study_with(added(1), added(-math.inf), added(0)))

    assert trace(figure, "Improvements (2").text == ("2", "0", "0")
    assert trace(figure, "Start").x == (0,)
    assert trace(figure, "Best so far").y == (1, None, None)

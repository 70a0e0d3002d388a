"""The figure of fitness by generation."""

from __future__ import annotations

import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution

from optuna_ga.visualization import plot_fitness
from tests.studies import added, failed, pruned, study_with
from tests.visualization.figures import numbers, three_generations, trace


def test_boxes_hold_the_feasible_finite_values() -> None:
    """Infeasible and pruned trials stand beside the boxes; the title counts the other trials."""
    figure = plot_fitness(
        study_with(
            added(1),
            added(math.inf),
            added(0, constraints={"c": 1}),
            failed(),
            pruned(value=7, intermediate_values={1: 7}),
            pruned(),
            added(-math.inf),
            added(2),
            added(math.inf),
        )
    )

    boxes = trace(figure, "Trials")
    assert list(zip(boxes.x, boxes.y, numbers(boxes), strict=True)) == [(0, 1, 0), (1, 2, 7)]
    assert trace(figure, "Best of").y == trace(figure, "Median").y == (1, 2, None)
    assert numbers(trace(figure, "Infeasible")) == [2]
    assert numbers(trace(figure, "Pruned")) == [4]
    assert figure.layout.title.text.endswith(
        ": 3 infinite, 1 failed, 1 pruned; the best is -inf from trial 6 on</sub>"
    )
    assert trace(figure, "Best of").text[1] == "2 pruned, 1 infinite, 1 complete"


@pytest.mark.parametrize("sign", [1, -1])
def test_the_lines_are_best_median_and_best_so_far(sign: int) -> None:
    """The values of each generation are known, in both directions."""
    figure = plot_fitness(three_generations(sign))

    for name, values in {
        "Median": [2.5, 1.5, 0.25],
        "Best of": [1, 0.5, 0.125],
        "Best so far": [1, 0.5, 0.125],
    }.items():
        assert list(trace(figure, name).x) == [0, 1, 2]
        assert list(trace(figure, name).y) == [sign * value for value in values]


def test_lines_have_gaps_where_nothing_can_be_drawn() -> None:
    """A failed generation has no best value, and an infinite one has no place."""
    last = [added(2), added(-math.inf), added(4), added(6)]
    figure = plot_fitness(study_with(added(3), *[failed()] * 7, *last))

    assert trace(figure, "Best of").y == (3, None, 2)
    assert trace(figure, "Median").y == (3, None, 4)
    assert trace(figure, "Best so far").y == (3, 3, None)


def test_hovering_shows_number_value_parameters_and_family() -> None:
    """Each has a line, in which names and choices are escaped for HTML."""
    attrs = {"ga_parents": [0], "ga_mutated": ["<x>"]}
    trial = optuna.create_trial(
        value=1 / 3,
        params={"<x>": "a<b"},
        distributions={"<x>": CategoricalDistribution(["a<b", "c"])},
        user_attrs=attrs,
    )
    text = trace(plot_fitness(study_with(added(9), trial), target_name="<l>"), "Trials").text[1]

    assert text.split("<br>") == [
        "<b>Trial 1</b>, generation 0",
        "&lt;l&gt;: 0.333333",
        "&lt;x&gt;: a&lt;b",
        "parents: 0",
        "mutated: &lt;x&gt;",
    ]


def test_medians_of_the_largest_values_are_finite() -> None:
    """Their sum is not."""
    figure = plot_fitness(study_with(*[added(1.7e308)] * 4))

    assert trace(figure, "Median").y == (1.7e308,)


@pytest.mark.parametrize("sign", [1, -1])
def test_outliers_do_not_flatten_the_others(sign: int) -> None:
    """The axis leaves out the worst tenth if it is far away, and the title counts it."""
    near = [added(sign * (1 + n / 20)) for n in range(19)]
    direction = "minimize" if sign == 1 else "maximize"
    far = plot_fitness(study_with(*near, added(sign * 50), direction=direction))
    none = plot_fitness(study_with(*near, added(sign * 3), direction=direction))

    low, high = sorted(sign * end for end in far.layout.yaxis.range)
    assert (low, high) == pytest.approx((0.955, 1.945), abs=0.1)
    assert far.layout.title.text.endswith(
        "<sub>Trials beyond the axis: 2, which a double click shows</sub>"
    )
    assert none.layout.yaxis.range is None
    assert "beyond" not in none.layout.title.text


def test_trials_beyond_the_axis_are_told_from_those_without_a_finite_value() -> None:
    """Their values are finite."""
    near = [added(1 + n / 20) for n in range(19)]
    title = plot_fitness(study_with(*near, added(50), added(math.inf))).layout.title.text

    _, subtitle = title.split("<br>")
    assert subtitle == (
        "<sub>Trials without a finite value: 1 infinite; "
        "beyond the axis: 2, which a double click shows</sub>"
    )


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("least", [0, 9.5])
def test_the_axis_shows_the_feasible_trials_however_few_they_are(sign: int, least: float) -> None:
    """Infeasible values may be better than all feasible ones, and are not the best then."""
    infeasible = [added(sign * (least + n / 95), constraints={"c": 1}) for n in range(95)]
    history = [added(sign * value) for value in (10, 20, 30, 40, 50)] + infeasible
    direction = "minimize" if sign == 1 else "maximize"
    figure = plot_fitness(study_with(*history, direction=direction))

    assert figure.layout.yaxis.range is None
    assert "beyond the axis" not in figure.layout.title.text


def test_infeasible_trials_near_the_feasible_ones_are_shown() -> None:
    """Also those that would be better; a pruned trial far away is not."""
    history = [added(1 + n / 10) for n in range(10)] + [added(0.5, constraints={"c": 1})]
    low, high = plot_fitness(study_with(*history, pruned(value=99))).layout.yaxis.range

    assert (low, high) == pytest.approx((0.5, 1.9), abs=0.1)


def test_the_axis_always_shows_the_best_so_far() -> None:
    """Even if a whole generation was far away."""
    first, later = [added(50)] * 4, [added(1 + n / 60) for n in range(60)]
    figure = plot_fitness(study_with(*first, *later, added(90)))
    low, high = figure.layout.yaxis.range

    assert trace(figure, "Best so far").y[:2] == (50, 1)
    assert low < 1 < 50 < high < 90
    assert "beyond the axis: 1," in figure.layout.title.text


@pytest.mark.parametrize("sign", [1, -1])
def test_the_best_so_far_never_gets_worse_from_left_to_right(sign: int) -> None:
    """The generations that trials show need not be in the order of their numbers."""
    shown = [(0, 5), (1, 2), (2, 1), (0, 4), (1, 3), (3, math.inf), (4, 3)]
    history = [
        added(sign * value, user_attrs={"ga_generation": generation})
        for generation, value in shown
    ]
    direction = "minimize" if sign == 1 else "maximize"
    line = trace(plot_fitness(study_with(*history, direction=direction)), "Best so far")

    assert line.x == (0, 1, 2, 3, 4)
    assert line.y == tuple(sign * best for best in (4, 2, 1, 1, 1))


def test_an_added_pruned_trial_is_drawn_at_its_last_report() -> None:
    """It has no value, but a fitness."""
    history = [added(3.0), added(1.0), pruned(intermediate_values={0: 1.0, 1: 2.0}), added(2.5)]
    traces = {trace.name: trace for trace in plot_fitness(study_with(*history)).data}

    assert list(traces["Pruned"].y) == [2.0]

"""The table of individuals and the figures: what they show is what happened."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna import Study, Trial, TrialPruned
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import GASampler, generations_dataframe
from optuna_ga.visualization import plot_fitness, plot_genealogy, plot_genes, plot_improvements
from tests.studies import added, failed, of_four, pruned, run, study_with

Plot = Callable[..., Any]
FIGURES: list[Plot] = [plot_fitness, plot_genealogy, plot_genes, plot_improvements]
READERS: list[Plot] = [generations_dataframe, *FIGURES]
each_figure = pytest.mark.parametrize("plot", FIGURES, ids=lambda plot: str(plot.__name__))
each_reader = pytest.mark.parametrize("read", READERS, ids=lambda read: str(read.__name__))


def child(value: float | None, parents: list[int], *mutated: str, **options: Any) -> FrozenTrial:
    """Return a bred trial to add to a study."""
    attrs: dict[str, Any] = {"ga_parents": parents}
    if mutated:
        attrs["ga_mutated"] = list(mutated)
    return added(value, user_attrs=attrs, **options)


def three_generations(sign: int = 1) -> Study:
    """Return a family of twelve whose fittest is trial 9, maximized if the sign is negative."""
    return study_with(
        added(sign * 4.0, x=0.4),
        added(sign * 3.0, x=0.3),
        added(sign * 2.0, x=0.2),
        added(sign * 1.0, x=0.1),
        child(sign * 1.5, [3, 2], x=0.1),
        child(sign * 0.5, [3, 1], x=0.3),
        child(sign * 2.5, [2, 3], "x", x=0.9),
        child(None, [3, 2], x=0.2, state=TrialState.FAIL),
        child(sign * 0.25, [5, 4], x=0.3),
        child(sign * 0.125, [5, 6], "x", x=0.8),
        child(sign * 3.5, [4, 6], x=0.9),
        child(sign * 0.25, [4, 5], x=0.1),
        direction="minimize" if sign == 1 else "maximize",
    )


def odd_study(direction: Any = "minimize") -> Study:
    """Return a study with all that can go wrong, in which other samplers took part, too."""

    def objective(trial: Trial) -> float:
        value = trial.suggest_float("x", -1.0, 1.0) ** 2
        if trial.suggest_categorical("kind", ["a", None, 1]) == "a":
            trial.suggest_float("rate", 1e-5, 1.0, log=True)
        fate = trial.number % 9
        if fate == 2:
            raise ZeroDivisionError
        if fate == 3:
            trial.report(value, 1)
        if fate in (3, 4):
            raise TrialPruned
        if fate == 5:
            trial.set_constraint("c", 1.0)
        return {6: math.inf, 7: -math.inf}.get(fate, value)

    study = optuna.create_study(sampler=of_four(), direction=direction)
    study.enqueue_trial({"x": 0.25})
    study.optimize(objective, n_trials=30, catch=ZeroDivisionError)
    study.sampler = RandomSampler(seed=0)
    study.optimize(objective, n_trials=9, catch=ZeroDivisionError)
    study.sampler = of_four()
    study.add_trials(study.get_trials(states=[TrialState.COMPLETE])[:3])
    study.optimize(objective, n_trials=20, catch=ZeroDivisionError)
    study.ask()
    return study


def trace(figure: Any, name: str) -> Any:
    """Return the only trace of a figure that has this name, or whose name starts with it."""
    (found,) = [found for found in figure.data if found.name.startswith(name)]
    return found


def names(figure: Any) -> set[str]:
    """Return the names of a figure's traces."""
    return {found.name for found in figure.data}


def numbers(found: Any) -> list[int]:
    """Return the trials that the points of a trace are."""
    return [int(re.findall(r"Trial (\d+)", text)[0]) for text in found.text]


def places(figure: Any) -> dict[tuple[float, float], int]:
    """Return which trial stands at each point of a figure."""
    return {
        (x, y): number
        for found in figure.data
        if found.mode == "markers"
        for x, y, number in zip(found.x, found.y, numbers(found), strict=True)
    }


def edges(figure: Any, name: str) -> set[tuple[int, int]]:
    """Return the pairs of trials that a trace joins by lines."""
    found, at = trace(figure, name), places(figure)
    ends = list(zip(found.x, found.y, strict=True))
    assert ends[2::3] == [(None, None)] * (len(ends) // 3)
    return {(at[start], at[end]) for start, end in zip(ends[::3], ends[1::3], strict=True)}


def leaves(node: Any) -> Iterator[Any]:
    """Yield all values of nested dicts and sequences."""
    if isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, (list, tuple, np.ndarray)):
        for part in node:
            yield from leaves(part)
    else:
        yield node


def test_the_table_tells_of_a_family() -> None:
    """One row for each finished trial, with what is known of the family by hand."""
    table = generations_dataframe(three_generations())

    assert list(table["number"]) == list(range(12))
    assert list(table["generation"]) == [0] * 4 + [1] * 4 + [2] * 4
    assert list(table["state"]) == ["COMPLETE"] * 7 + ["FAIL"] + ["COMPLETE"] * 4
    assert list(table["parents"]) == [
        *[[]] * 4,
        *([3, 2], [3, 1], [2, 3], [3, 2]),
        *([5, 4], [5, 6], [4, 6], [4, 5]),
    ]
    assert [(i, row) for i, row in enumerate(table["mutated"]) if row] == [(6, ["x"]), (9, ["x"])]
    assert list(table["origin"]) == [
        *["start"] * 4,
        *("crossover", "crossover", "mutation", "crossover"),
        *("crossover", "mutation", "crossover", "crossover"),
    ]
    assert list(table["best_so_far"]) == [4, 3, 2, 1, 1, 0.5, 0.5, 0.5, 0.25, *[0.125] * 3]
    assert list(table.index[table["improved"]]) == [0, 1, 2, 3, 5, 8, 9]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_table_agrees_with_optunas(direction: Any) -> None:
    """States, values and parameters are in the columns that `trials_dataframe` has them in."""
    study = odd_study(direction)
    optunas = study.trials_dataframe(attrs=("number", "state", "value", "params"))
    optunas = optunas[optunas["state"] != "RUNNING"]

    ours = generations_dataframe(study)[list(optunas.columns)]
    pd.testing.assert_frame_equal(ours, optunas, check_dtype=False)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_best_so_far_is_optunas_best_value_at_that_time(direction: Any) -> None:
    """Whatever fails, is pruned, or is infeasible."""
    best: list[float] = []

    def objective(trial: Trial) -> float:
        if trial.number % 5 == 1:
            raise TrialPruned
        trial.set_constraint("c", float(trial.number % 3 == 0))
        return trial.suggest_float("x", 0.5, 1.0) * (-1.1) ** trial.number

    def note(study: Study, trial: FrozenTrial) -> None:
        feasible = any(t.state == TrialState.COMPLETE and t.number % 3 for t in study.trials)
        best.append(study.best_value if feasible else math.nan)

    study = optuna.create_study(sampler=of_four(), direction=direction)
    study.optimize(objective, n_trials=40, callbacks=[note])

    assert math.isnan(best[0])
    assert len(set(best)) > 4
    np.testing.assert_array_equal(generations_dataframe(study)["best_so_far"], best)


@pytest.mark.parametrize(
    ("history", "improved", "best"),
    [
        ([added(1), added(1)], [True, False], [1, 1]),
        ([added(math.inf), added(1)], [False, True], [math.inf, 1]),
        ([added(1), added(-math.inf)], [True, True], [1, -math.inf]),
        ([failed(), added(1)], [False, True], [math.nan, 1]),
        ([pruned(value=0, intermediate_values={1: 0}), added(1)], [False, True], [math.nan, 1]),
        ([added(0, constraints={"c": 1}), added(1)], [False, True], [math.nan, 1]),
        ([added(0, constraints={"c": 0}), added(1)], [True, False], [0, 0]),
    ],
)
def test_only_a_better_feasible_value_improves_the_best(
    history: list[FrozenTrial], improved: list[bool], best: list[float]
) -> None:
    """The first one does, too, unless it is infinitely bad; ties do not."""
    table = generations_dataframe(study_with(*history))

    assert list(table["improved"]) == improved
    np.testing.assert_array_equal(table["best_so_far"], best)


def test_maximizing_is_minimizing_mirrored() -> None:
    """Only the signs of the values differ."""
    table = generations_dataframe(three_generations())
    mirrored = generations_dataframe(three_generations(-1))

    for column in ("value", "best_so_far"):
        mirrored[column] *= -1
    pd.testing.assert_frame_equal(mirrored, table)


def test_the_table_says_what_the_sampler_recorded() -> None:
    """Parents and mutated genes are the trials' attributes."""
    study = run(of_four(), 12)
    table = generations_dataframe(study)
    attrs = [trial.user_attrs for trial in study.trials]

    assert list(table["generation"]) == [found["ga_generation"] for found in attrs]
    assert list(table["parents"]) == [found.get("ga_parents", []) for found in attrs]
    assert list(table["mutated"]) == [found.get("ga_mutated", []) for found in attrs]


def test_running_and_waiting_trials_are_left_out() -> None:
    """A row is a finished trial, and its number is not its position."""
    study = study_with(added(1))
    study.ask()
    study.add_trial(added(2))
    study.enqueue_trial({"x": 0.5})

    assert list(generations_dataframe(study)["number"]) == [0, 2]


def test_the_table_of_a_new_study_has_columns_of_the_same_types() -> None:
    """No row does not mean no table."""
    empty, full = map(generations_dataframe, (study_with(), study_with(added(1))))

    assert len(empty) == 0
    assert dict(empty.dtypes) == dict(full.drop(columns="params_x").dtypes)


def test_the_table_is_the_callers_own() -> None:
    """Changing its lists does not change the study."""
    study = three_generations()
    table = generations_dataframe(study)
    for column in ("parents", "mutated"):
        list(table[column])[9].append(0)

    assert study.trials[9].user_attrs == {"ga_parents": [5, 6], "ga_mutated": ["x"]}


def test_parents_of_another_study_are_none() -> None:
    """A trial that was copied keeps its attributes, but not what they refer to."""
    study = study_with(child(1, [40, 41], "x"), child(2, [0, 1]), child(3, [0]))
    table = generations_dataframe(study)

    assert list(table["parents"]) == [[], [], [0]]
    assert list(table["mutated"]) == [[], [], []]
    assert list(table["origin"]) == ["start", "start", "crossover"]


def test_boxes_hold_the_feasible_finite_values() -> None:
    """Infeasible and pruned trials stand beside them, and the title counts the others."""
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
    assert figure.layout.title.text.endswith(": 3 infinite, 1 failed, 1 pruned</sub>")
    assert trace(figure, "Best of").text[1] == "2 pruned, 1 infinite, 1 complete"


@pytest.mark.parametrize("sign", [1, -1])
def test_the_lines_are_best_median_and_best_so_far(sign: int) -> None:
    """Of each generation by hand, in both directions."""
    figure = plot_fitness(three_generations(sign))

    for name, values in {
        "Median": [2.5, 1.5, 0.25],
        "Best of": [1, 0.5, 0.125],
        "Best so far": [1, 0.5, 0.125],
    }.items():
        assert list(trace(figure, name).x) == [0, 1, 2]
        assert list(trace(figure, name).y) == [sign * value for value in values]


def test_lines_have_gaps_where_nothing_can_be_drawn() -> None:
    """A generation that failed has no best, and an infinite best is off the axis."""
    last = [added(2), added(-math.inf), added(4), added(6)]
    figure = plot_fitness(study_with(added(3), *[failed()] * 7, *last))

    assert trace(figure, "Best of").y == (3, None, 2)
    assert trace(figure, "Median").y == (3, None, 4)
    assert trace(figure, "Best so far").y == (3, 3, None)


def test_hovering_shows_number_value_parameters_and_family() -> None:
    """One line each, and no name or choice is taken for HTML."""
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


@pytest.mark.parametrize("sign", [1, -1])
def test_genealogy_joins_parents_and_children(sign: int) -> None:
    """All of them, the ancestors of the fittest, and the line of its fitter parents."""
    figure = plot_genealogy(three_generations(sign))

    assert edges(figure, "Parent to child") == {
        *{(3, 4), (2, 4), (3, 5), (1, 5), (2, 6), (3, 6), (3, 7), (2, 7)},
        *{(5, 8), (4, 8), (5, 9), (6, 9), (4, 10), (6, 10), (4, 11), (5, 11)},
    }
    assert edges(figure, "Ancestors of trial 9") == {
        (5, 9),
        (6, 9),
        (3, 5),
        (1, 5),
        (2, 6),
        (3, 6),
    }
    assert edges(figure, "Lineage of fitter") == {(3, 5), (5, 9)}
    assert numbers(trace(figure, "Fittest: trial 9")) == [9]


def test_genealogy_places_trials_by_generation_and_rank() -> None:
    """The fitter the higher; equal ones by number, and failed ones last."""
    at = {number: place for place, number in places(plot_genealogy(three_generations())).items()}

    assert [round(at[number][0]) for number in range(12)] == [0] * 4 + [1] * 4 + [2] * 4
    assert [at[number][1] for number in range(12)] == [4, 3, 2, 1, 2, 1, 3, 4, 2, 1, 4, 3]


def test_genealogy_marks_origins() -> None:
    """Mutated trials have a marker of their own, and failed ones, too."""
    figure = plot_genealogy(three_generations())
    origins = [trace(figure, name) for name in ("Start", "Crossover", "Mutation", "Failed")]

    assert list(map(numbers, origins)) == [[0, 1, 2, 3], [4, 5, 8, 10, 11], [6, 9], [7]]
    assert trace(figure, "Mutation").marker.symbol not in {
        trace(figure, name).marker.symbol for name in ("Start", "Crossover", "Failed")
    }


def test_ancestors_may_be_of_any_earlier_generation() -> None:
    """With elitism parents live on; the sampler that adapts breeds within a generation, too."""
    study = study_with(*[added(9)] * 7, child(5, [0]), child(1, [7, 2]), child(0, [8, 0, 7]))
    figure = plot_genealogy(study)

    assert edges(figure, "Ancestors") == {(0, 7), (7, 8), (2, 8), (8, 9), (0, 9), (7, 9)}
    assert edges(figure, "Line") == {(0, 7), (7, 8), (8, 9)}


def test_a_fittest_trial_without_parents_has_no_line() -> None:
    """It stands alone."""
    figure = plot_genealogy(study_with(*[added(1)] * 4, child(2, [0, 1])))

    assert numbers(trace(figure, "Fittest")) == [0]
    assert edges(figure, "Ancestors") == edges(figure, "Line") == set()


def test_a_parent_that_has_not_finished_is_not_drawn() -> None:
    """Such a record comes from elsewhere, and a trial without a place has no lines."""
    study = study_with(added(3))
    study.ask()
    study.add_trial(child(2, [0, 1]))

    assert edges(plot_genealogy(study), "Parent to child") == {(0, 2)}


def gene_study(
    genes: Sequence[tuple[Any, list[int]]], distribution: BaseDistribution, name: str = "g"
) -> Study:
    """Return a study whose trials have these genes and parents; the later, the fitter."""
    return study_with(
        *[
            optuna.create_trial(
                value=-position,
                params={} if gene is ... else {name: gene},
                distributions={} if gene is ... else {name: distribution},
                user_attrs={"ga_parents": parents} if parents else {},
            )
            for position, (gene, parents) in enumerate(genes)
        ]
    )


RATES: list[tuple[float, list[int]]] = [(1e-4, []), (1e-2, []), (1e-3, []), (1e-1, [])]
RATES_OF_CHILDREN = [(1e-4, [0, 1]), (1e-4, [1, 2]), (1e-2, [2, 0]), (1.0, [1, 0])]


@pytest.mark.parametrize(
    ("log", "medians"), [(True, [10**-2.5, 1e-3]), (False, [0.0055, 0.00505])]
)
def test_medians_and_parents_ranges_are_in_the_parameters_own_scale(
    log: bool, medians: list[float]
) -> None:
    """On a logarithmic axis the median of an even number is the geometric one."""
    distribution = FloatDistribution(1e-5, 1.0, log=log)
    figure = plot_genes(gene_study(RATES + RATES_OF_CHILDREN, distribution))

    assert figure.layout.yaxis.type == ("log" if log else "linear")
    assert trace(figure, "Median").y == pytest.approx(medians)
    box = trace(figure, "Parents")
    assert (min(box.x[:5]), max(box.x[:5])) == (0.6, 1.4)
    assert (set(box.y[:5]), box.y[5:]) == ({1e-4, 1e-2}, (None,))


@pytest.mark.parametrize(
    ("smallest", "dtick"), [(0.5, None), (1e-2, 1), (1e-5, 1), (1e-9, 2), (1e-30, 4)]
)
def test_ticks_of_a_logarithmic_axis_are_few(smallest: float, dtick: int | None) -> None:
    """Whole powers of ten, nine at most, and Plotly's own where the genes span less than two."""
    genes: list[tuple[float, list[int]]] = [(smallest, []), (1.0, [])]
    figure = plot_genes(gene_study(genes, FloatDistribution(smallest, 1.0, log=True)))

    assert figure.layout.yaxis.dtick == dtick


def test_points_are_the_genes_coloured_by_fitness() -> None:
    """A colour is the number of less fit trials; failed ones have a cross instead."""
    figure = plot_genes(three_generations())
    points, cross = trace(figure, "Trials"), trace(figure, "Failed")

    assert numbers(points) == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    assert points.y == (0.4, 0.3, 0.2, 0.1, 0.1, 0.3, 0.9, 0.3, 0.8, 0.9, 0.1)
    assert points.marker.color == (0, 2, 4, 6, 5, 7, 3, 9, 10, 1, 8)
    assert (numbers(cross), cross.y) == ([7], (0.2,))
    assert "(mutated)" in points.text[6]
    assert "(mutated)" not in points.text[7]


def test_points_stand_in_their_generation_in_turn() -> None:
    """Points of one generation do not hide each other, nor reach into the next one."""
    x = trace(plot_genes(run(of_four(), 12), ["x"]), "Trials").x

    assert list(x) == sorted(set(x))
    assert [round(position) for position in x] == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize(
    ("choices", "labels"),
    [
        (["relu", "tanh", None], ("relu", "tanh", "None")),
        ([1, "1", None], ("1", "'1'", "None")),
        ([0.5, "0.5", False], ("0.5", "'0.5'", "False")),
    ],
)
def test_choices_are_ticks_in_their_order(choices: list[Any], labels: tuple[str, ...]) -> None:
    """Each has a tick, with quotes where two would read the same."""
    distribution = CategoricalDistribution(choices)
    genes = [choices[position] for position in (2, 0, 1, 2)]
    figure = plot_genes(gene_study([(gene, []) for gene in genes], distribution))

    assert figure.layout.yaxis.tickvals == (0, 1, 2)
    assert figure.layout.yaxis.ticktext == labels
    assert names(figure) == {"Trials"}
    shown = [labels[position].strip("'") for position in trace(figure, "Trials").y]
    assert shown == [str(gene) for gene in genes]


def test_a_conditional_parameter_is_drawn_where_it_is() -> None:
    """Trials without it have no point, and generations without it no median."""
    genes: list[tuple[Any, list[int]]] = [(3, []), (..., []), (5, []), (..., [])]
    genes += [(..., [0, 1])] * 4 + [(9, [1, 3]), (..., [2, 1]), (7, [0, 2]), (8, [0, 1])]
    figure = plot_genes(gene_study(genes, IntDistribution(1, 9)))

    assert numbers(trace(figure, "Trials")) == [0, 2, 8, 10, 11]
    assert (trace(figure, "Median").x, trace(figure, "Median").y) == ((0, 2), (4, 8))
    assert set(trace(figure, "Parents").y) == {3, 5, None}


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        (None, ["x", "y", "z"]),
        (["z", "x"], ["z", "x"]),
        (("y", "y"), ["y"]),
    ],
)
def test_params_are_plotted_in_the_order_given(params: Any, shown: list[str]) -> None:
    """None means all by name."""
    figure = plot_genes(run(of_four(), 8), params)

    assert [title.text for title in figure.layout.annotations] == shown


def test_a_parameter_that_was_of_another_kind_is_drawn_as_the_last_one() -> None:
    """Storage in memory takes both; the others are left out."""
    study = run(of_four(), 4, lambda trial: trial.suggest_float("p", 0.0, 1.0))
    study.add_trial(
        optuna.create_trial(
            value=0.0,
            params={"p": "a"},
            distributions={"p": optuna.distributions.CategoricalDistribution(["a", "b"])},
        )
    )
    figure = plot_genes(study)

    assert figure.layout.yaxis.ticktext == ("a", "b")
    assert sum(len(found.x) for found in figure.data if found.name == "Trials") == 1


def test_the_legend_shows_each_kind_of_trace_once() -> None:
    """And switches it in all plots."""
    figure = plot_genes(run(of_four(), 8))
    shown = [found.name for found in figure.data if found.showlegend]

    assert sorted(shown) == ["Median", "Parents' range", "Trials"]
    assert all(found.legendgroup == found.name for found in figure.data)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (["x", "w"], ValueError, r"`params` must name .*\['x', 'y', 'z'\], but 'w' was given"),
        ([1], ValueError, r"`params` must name .* but 1 was given"),
        ([], ValueError, r"`params` must name at least one parameter, but \[\] was given"),
        ("x", TypeError, "`params` must be a sequence of names, but 'x' was given"),
    ],
)
def test_params_that_are_no_names_of_parameters_are_refused(
    params: Any, error: type[Exception], message: str
) -> None:
    """The error names the argument, the rule and the value."""
    with pytest.raises(error, match=message):
        plot_genes(run(of_four(), 4), params)


def test_a_study_without_parameters_has_no_genes() -> None:
    """The other figures need none."""
    study = run(of_four(), 8, lambda trial: 1.0)

    with pytest.raises(ValueError, match="No finished trial of the study has a parameter"):
        plot_genes(study)
    assert trace(plot_fitness(study), "Best so far").y == (1.0, 1.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_improvements_are_counted_by_origin(sign: int) -> None:
    """Beside the number of trials of that origin, both as shares."""
    figure = plot_improvements(three_generations(sign))
    trials, improved = trace(figure, "Trials (12"), trace(figure, "Improvements (7")

    assert trials.x == improved.x == ("Start", "Crossover", "Mutation")
    assert (trials.text, trials.y) == (("4", "6", "2"), (4 / 12, 6 / 12, 2 / 12))
    assert (improved.text, improved.y) == (("4", "2", "1"), (4 / 7, 2 / 7, 1 / 7))


@pytest.mark.parametrize("history", [three_generations(), study_with(added(1))])
def test_the_number_above_the_highest_bar_has_room(history: Study) -> None:
    """The axis goes on beyond it."""
    figure = plot_improvements(history)
    shares = [*trace(figure, "Trials (").y, *trace(figure, "Improvements (").y]

    assert figure.layout.yaxis.range == (0, pytest.approx(1.12 * max(shares)))


@pytest.mark.parametrize("sign", [1, -1])
def test_improvements_are_marked_on_the_best_so_far(sign: int) -> None:
    """Each with the marker of its origin."""
    figure = plot_improvements(three_generations(sign))
    line = trace(figure, "Best so far")
    marked = {name: trace(figure, name).x for name in ("Start", "Crossover", "Mutation")}

    best = [4, 3, 2, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.125, 0.125, 0.125]
    assert (line.x, line.y) == (tuple(range(12)), tuple(sign * value for value in best))
    assert marked == {"Start": (0, 1, 2, 3), "Crossover": (5, 8), "Mutation": (9,)}
    assert trace(figure, "Crossover").y == (sign * 0.5, sign * 0.25)


def test_an_infinite_improvement_is_counted_but_not_drawn() -> None:
    """The axis could not show it."""
    figure = plot_improvements(study_with(added(1), added(-math.inf), added(0)))

    assert trace(figure, "Improvements (2").text == ("2", "0", "0")
    assert trace(figure, "Start").x == (0,)
    assert trace(figure, "Best so far").y == (1, None, None)


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
        lambda: run(GASampler.adaptive(4, seed=0, screen=False), 20),
        lambda: run(GASampler(20, seed=0), 500),
    ],
    ids=[
        *("odd", "odd-maximized", "failed", "pruned", "infinite", "infeasible", "single"),
        *("unrecorded", "adaptive", "large"),
    ],
)
def test_every_figure_of_every_study_is_plain_json(plot: Plot, study: Callable[[], Study]) -> None:
    """Without NaN and infinity, and without arrays that only Plotly's newest readers know."""
    figure = plot(study())

    numbers = [leaf for leaf in leaves(figure.to_dict()) if isinstance(leaf, (float, np.number))]
    assert all(map(math.isfinite, numbers))
    assert "bdata" not in figure.to_json()
    assert len(json.loads(figure.to_json())["data"]) == len(figure.data) > 0


@pytest.mark.parametrize("plot", [plot_genealogy, plot_genes])
def test_every_finished_trial_of_an_odd_study_is_a_point(plot: Plot) -> None:
    """Failed, pruned, infinite, infeasible, enqueued, added, and of another sampler."""
    study = odd_study()
    figure = plot(study) if plot is plot_genealogy else plot(study, ["x"])

    finished = [t.number for t in study.trials if t.state.is_finished() and "x" in t.params]
    points = [t for t in figure.data if t.mode == "markers" and not t.name.startswith("Fittest")]
    assert sorted(number for found in points for number in numbers(found)) == finished


def test_the_genealogy_of_a_large_study_is_a_few_traces() -> None:
    """A thousand lines are one trace."""
    study = run(GASampler(20, seed=0), 500)
    figure = plot_genealogy(study)

    assert len(figure.data) < 10
    assert edges(figure, "Parent to child") == {
        (parent, trial.number)
        for trial in study.trials
        for parent in trial.user_attrs.get("ga_parents", [])
    }


@each_figure
def test_the_objective_has_the_name_that_is_given(plot: Plot) -> None:
    """On the axis or where a trial is hovered over."""
    study = three_generations()

    assert "Loss" in plot(study, target_name="Loss").to_json()
    assert "Objective Value" in plot(study).to_json()


@each_figure
def test_a_study_without_a_finished_trial_has_no_figure(plot: Plot) -> None:
    """A running one is not enough."""
    study = study_with()
    study.ask()

    with pytest.raises(ValueError, match="no finished trial"):
        plot(study)


@each_reader
def test_a_study_with_several_objectives_is_refused(read: Plot) -> None:
    """Before anything else."""
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=of_four())

    with pytest.raises(ValueError, match="one objective, but the study has 2"):
        read(study)


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
    """In this order."""
    study = run(of_four(), 12)

    assert list(generations_dataframe(study, 6)["generation"]) == [0] * 6 + [1] * 6
    study.sampler = GASampler(5)
    assert generations_dataframe(study)["generation"].max() == 11 // 5
    study.sampler = TPESampler()
    assert generations_dataframe(study)["generation"].max() == 11 // 4


def python(code: str) -> str:
    """Return what a new process prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=120
    ).stdout


def test_a_search_that_nobody_looks_at_imports_nothing_to_show_it() -> None:
    """Only what needs Plotly, pandas or optuna-dashboard imports them, a new report neither."""
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
    """As soon as the figures are imported."""
    code = """
import sys
sys.modules["plotly"] = None
try:
    import optuna_ga.visualization
except ImportError as error:
    print(error)
"""

    assert 'Run `pip install "optuna-ga[visualization]"`.' in python(code)


def test_without_pandas_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the figures need none."""
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ImportError, match=r'pip install "optuna-ga\[visualization\]"'):
        generations_dataframe(three_generations())
    assert all(plot(three_generations()).data for plot in FIGURES)

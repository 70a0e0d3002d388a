"""The figure of the genes by generation."""

from __future__ import annotations

import cProfile
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import optuna
import pytest
from optuna import Study
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_ga.visualization import plot_fitness, plot_genes
from tests.studies import added, of_four, run, study_with
from tests.visualization.figures import names, numbers, three_generations, trace, without_tags


def gene_study(
    genes: Sequence[tuple[Any, list[int]]], distribution: BaseDistribution, name: str = "g"
) -> Study:
    """Return a study of these genes and parents; later trials are fitter."""
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
    """On a logarithmic axis the median of two values is their geometric mean."""
    distribution = FloatDistribution(1e-5, 1.0, log=log)
    figure = plot_genes(gene_study(RATES + RATES_OF_CHILDREN, distribution))

    assert figure.layout.yaxis.type == ("log" if log else "linear")
    assert trace(figure, "Median").y == pytest.approx(medians)
    box = trace(figure, "Parents")
    assert (min(box.x[:5]), max(box.x[:5])) == (0.6, 1.4)
    assert (set(box.y[:5]), box.y[5:]) == ({1e-4, 1e-2}, (None,))


@pytest.mark.parametrize(
    ("smallest", "labels"),
    [
        (0.9, ["0.9", "1"]),
        (0.5, ["0.5", "0.7", "1"]),
        (0.02, ["0.03", "0.1", "0.3", "1"]),
        (1e-2, ["0.01", "0.1", "1"]),
        (1e-9, ["1e-09", "1e-07", "1e-05", "0.001", "0.1"]),
    ],
)
def test_ticks_of_a_logarithmic_axis_have_whole_labels(smallest: float, labels: list[str]) -> None:
    """They are few: powers of ten, where these are too few also parts of them, or the ends."""
    genes: list[tuple[float, list[int]]] = [(smallest, []), (1.0, [])]
    figure = plot_genes(gene_study(genes, FloatDistribution(smallest, 1.0, log=True)))

    assert list(figure.layout.yaxis.ticktext) == labels


@pytest.mark.parametrize(
    ("distribution", "labels"),
    [
        (IntDistribution(10_000, 10_010, log=True), ["10000", "10010"]),
        (IntDistribution(12_345, 12_999, log=True), ["12345", "12999"]),
        (FloatDistribution(0.10001, 0.10002, log=True), ["0.10001", "0.10002"]),
    ],
)
def test_ticks_that_differ_have_labels_that_differ(distribution: Any, labels: list[str]) -> None:
    """With as many digits as that takes; integers are exact."""
    genes: list[tuple[float, list[int]]] = [(distribution.low, []), (distribution.high, [])]
    figure = plot_genes(gene_study(genes, distribution))

    assert list(figure.layout.yaxis.ticktext) == labels


@pytest.mark.parametrize("log", [True, False])
def test_infinite_genes_are_counted_but_not_drawn(log: bool) -> None:
    """Optuna evaluates what is enqueued, also beyond the range."""
    study = run(of_four(), 0)
    for gene in (math.inf, 1.0, math.inf, 0.1):
        study.enqueue_trial({"x": gene})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(lambda trial: -trial.suggest_float("x", 0.1, 1.0, log=log), n_trials=4)
    figure = plot_genes(study)

    assert trace(figure, "Trials").y == (1.0, 0.1)
    (title,) = figure.layout.annotations
    assert without_tags(title.text) == "x not drawn: 2 infinite"
    assert "Infinity" not in figure.to_json()


def test_a_study_whose_genes_are_all_infinite_has_an_empty_plot() -> None:
    """Its title says why."""
    study = run(of_four(), 0)
    study.enqueue_trial({"x": math.inf})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(lambda trial: -trial.suggest_float("x", 0.1, 1.0, log=True), n_trials=1)
    figure = plot_genes(study)

    assert trace(figure, "Trials").y == ()
    assert "not drawn: 1 infinite" in figure.to_json()


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_best_gene_at_an_end_of_its_range_is_pointed_out(direction: Any) -> None:
    """The range may be too narrow."""
    space: dict[str, BaseDistribution] = {
        "x": FloatDistribution(0.0, 1.0),
        "y": FloatDistribution(1e-6, 1.0, log=True),
    }
    study = optuna.create_study(direction=direction)
    for value, x, y in ((1.0, 0.0, 0.5), (2.0, 0.5, 1.0)):
        study.add_trial(
            optuna.create_trial(value=value, params={"x": x, "y": y}, distributions=space)
        )
    figure = plot_genes(study, population_size=2)
    titles = [without_tags(one.text) for one in figure.layout.annotations]

    lower, upper = "x best at lower end", "y best at upper end"
    assert titles == ([lower, "y"] if direction == "minimize" else ["x", upper])


def test_points_are_the_genes_coloured_by_fitness() -> None:
    """The colour is the number of less fit trials; failed trials are crosses."""
    figure = plot_genes(three_generations())
    points, cross = trace(figure, "Trials"), trace(figure, "Failed")

    assert numbers(points) == [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    assert points.y == (0.4, 0.3, 0.2, 0.1, 0.1, 0.3, 0.9, 0.3, 0.8, 0.9, 0.1)
    assert points.marker.color == (0, 2, 4, 6, 5, 7, 3, 9, 10, 1, 8)
    assert (numbers(cross), cross.y) == ([7], (0.2,))
    assert "(mutated)" in points.text[6]
    assert "(mutated)" not in points.text[7]


def test_a_single_trial_is_the_fittest() -> None:
    """It is dark, as the colour bar says."""
    figure = plot_genes(study_with(added(1, x=0.5)))
    axis = figure.layout.coloraxis

    assert figure.data[1].marker.color == (axis.cmax,) == axis.colorbar.tickvals
    assert axis.cmin < axis.cmax
    assert axis.colorbar.ticktext == ("fittest",)


def test_long_names_and_choices_have_room() -> None:
    """Both are cut in their middle; hovering shows all."""
    names = [f"optimizer.param_groups.{n}.learning_rate" for n in range(4)]
    choices = [f"torch.optim.lr_scheduler.{name}" for name in ("StepLR", "CosineAnnealingLR")]
    study = optuna.create_study(sampler=of_four())

    def objective(trial: optuna.Trial) -> float:
        return trial.suggest_float(names[0], 0, 1) + len(trial.suggest_categorical("c", choices))

    study.optimize(objective, n_trials=8)
    figure = plot_genes(study)
    titles = [each.text for each in figure.layout.annotations]

    assert titles[0] == "c"
    assert titles[1].startswith("optimiz…groups.0.learning_rate")
    assert all(len(label) <= 16 for label in figure.layout.yaxis.ticktext)
    assert figure.layout.yaxis.ticktext[0].endswith("er.StepLR")
    assert choices[0] in "".join(figure.data[0].text)
    assert names[0] in figure.data[2].text[0]


@pytest.mark.parametrize("longest", ["tanh", "momentum", "lr_scheduler.StepLR"])
def test_the_space_between_plots_has_room_for_the_longest_label(longest: str) -> None:
    """On a page of 790 pixels, on which plots take 500 and a character about seven."""
    study = study_with()
    kind = CategoricalDistribution([longest, "sgd"])
    space: dict[str, BaseDistribution] = dict.fromkeys("abcdef", kind)
    for choice in (longest, "sgd"):
        study.add_trial(
            optuna.create_trial(value=1, params=dict.fromkeys(space, choice), distributions=space)
        )
    layout = plot_genes(study).layout
    ends = sorted({layout[f"xaxis{n}"].domain for n in ("", *range(2, 7))})

    width = 7 * max(map(len, layout.yaxis.ticktext))
    gaps = [500 * (right[0] - left[1]) for left, right in pairwise(ends)]
    assert len(gaps) in (1, 2)
    assert all(gap > width for gap in gaps)


@pytest.mark.parametrize(("name", "n_columns"), [("x", 3), ("optimizer.group.learning_rate", 2)])
def test_titles_of_neighbours_have_room(name: str, n_columns: int) -> None:
    """Long titles stand above wider plots."""
    study = run(of_four(), 4, lambda t: sum(t.suggest_float(f"{name}{i}", 0, 1) for i in range(6)))
    layout = plot_genes(study).layout

    assert len({layout[f"xaxis{n}"].domain for n in ("", *range(2, 7))}) == n_columns


def test_names_in_short_differ() -> None:
    """The layers of a network have names that differ in their middle alone."""
    names = [f"encoder.layers.{n}.attention.dropout_probability" for n in range(3)]
    study = run(of_four(), 1, lambda trial: sum(trial.suggest_float(n, 0, 1) for n in names))
    titles = [each.text for each in plot_genes(study).layout.annotations]

    assert len({*titles}) == 3


def test_points_stand_in_their_generation_in_turn() -> None:
    """Points of a generation neither hide each other nor reach into the next one."""
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
    """Each choice has a tick, with quotes where two choices would read the same."""
    distribution = CategoricalDistribution(choices)
    genes = [choices[position] for position in (2, 0, 1, 2)]
    figure = plot_genes(gene_study([(gene, []) for gene in genes], distribution))

    assert figure.layout.yaxis.tickvals == (0, 1, 2)
    assert figure.layout.yaxis.ticktext == labels
    assert names(figure) == {"Trials"}
    shown = [labels[position].strip("'") for position in trace(figure, "Trials").y]
    assert shown == [str(gene) for gene in genes]


@pytest.mark.parametrize(
    ("n_choices", "first"), [(16, (0, 1, 2)), (17, (0, 2, 4)), (40, (0, 3, 6))]
)
def test_many_choices_are_named_in_part(n_choices: int, first: tuple[int, ...]) -> None:
    """So that no name is printed over another; each choice has its own place."""
    distribution = CategoricalDistribution(range(n_choices))
    figure = plot_genes(gene_study([(gene, []) for gene in range(n_choices)], distribution))
    axis = figure.layout.yaxis

    assert axis.tickvals[:3] == first
    assert axis.ticktext[:3] == tuple(map(str, first))
    assert trace(figure, "Trials").y == tuple(range(n_choices))


def test_a_conditional_parameter_is_drawn_where_it_is() -> None:
    """Trials without the parameter have no point, and such generations no median."""
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
    """None plots all parameters by name."""
    figure = plot_genes(run(of_four(), 8), params)

    assert [title.text for title in figure.layout.annotations] == shown


def test_a_parameter_that_was_of_another_kind_is_drawn_as_the_last_one() -> None:
    """In-memory storage accepts both kinds; points of the earlier kind are left out."""
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


def test_a_parent_that_had_the_parameter_as_another_kind_is_left_out() -> None:
    """Its children's points and ranges are drawn."""
    study = run(of_four(), 4, lambda trial: trial.suggest_float("p", 0.0, 1.0))
    for _ in range(4):
        study.add_trial(
            optuna.create_trial(
                value=0.0,
                params={"p": "a"},
                distributions={"p": optuna.distributions.CategoricalDistribution(["a", "b"])},
                user_attrs={"ga_parents": [0, 1]},
            )
        )
    figure = plot_genes(study)

    assert sum(len(found.x) for found in figure.data if found.name == "Trials") == 4


def test_the_legend_shows_each_kind_of_trace_once() -> None:
    """A click on the legend switches a kind in all plots."""
    figure = plot_genes(run(of_four(), 8))
    shown = [found.name for found in figure.data if found.showlegend]

    assert sorted(shown) == ["Median", "Parents' range", "Trials"]
    assert all(found.legendgroup == found.name for found in figure.data)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (["x", "w"], ValueError, r"`params` must name .*\['x', 'y', 'z'\], but 'w' was given"),
        ([1], ValueError, r"`params` must name .* but 1 was given"),
        ([["x"]], ValueError, r"`params` must name .* but \['x'\] was given"),
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
    """The other figures need no parameters."""
    study = run(of_four(), 8, lambda trial: 1.0)

    with pytest.raises(ValueError, match="No finished trial of the study has a parameter"):
        plot_genes(study)
    assert trace(plot_fitness(study), "Best so far").y == (1.0, 1.0)


def n_calls_to_plot(n_genes: int) -> int:
    """Return how many functions are called to plot so many genes."""
    distributions: dict[str, BaseDistribution] = {
        str(gene): FloatDistribution(0.0, 1.0) for gene in range(n_genes)
    }
    params = dict.fromkeys(distributions, 0.5)
    study = study_with(optuna.create_trial(value=1.0, params=params, distributions=distributions))
    with cProfile.Profile() as profile:
        plot_genes(study)
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.slow
def test_the_work_grows_with_the_parameters_and_not_with_their_square() -> None:
    """Four times as many parameters take about four times as many calls."""
    plot_genes(three_generations())  # Plotly is imported lazily.

    assert n_calls_to_plot(60) < 4.5 * n_calls_to_plot(15)


MOST = 1.7e308  # Almost the largest float.


@pytest.mark.parametrize(
    ("distribution", "n_ticks"),
    [
        (FloatDistribution(-MOST, MOST), None),
        (FloatDistribution(0.0, MOST), None),
        (FloatDistribution(5e-324, MOST, log=True), 7),  # 632 decades.
        (IntDistribution(1, 2**62, log=True), 7),
    ],
    ids=["both-signs", "linear", "logarithmic", "integers"],
)
def test_ranges_of_all_floats_are_drawn(distribution: Any, n_ticks: int | None) -> None:
    """Medians and ticks are finite."""
    genes = [distribution.low, distribution.high, distribution.high, distribution.high]
    figure = plot_genes(gene_study([(gene, []) for gene in genes], distribution))

    assert trace(figure, "Median").y == (distribution.high,)
    assert "Infinity" not in figure.to_json()
    assert n_ticks == (figure.layout.yaxis.tickvals and len(figure.layout.yaxis.tickvals))

"""The table of individuals."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna import Study, Trial, TrialPruned
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import GASampler, generations_dataframe
from optuna_ga._results.history import edges_of
from optuna_ga.visualization import plot_genealogy
from tests.studies import added, constant, failed, of_four, pruned, run, sphere, study_with
from tests.visualization.figures import FIGURES, child, odd_study, three_generations


def test_the_table_shows_a_family() -> None:
    """Each finished trial has one row, which agrees with what is known of the family."""
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
    """States, values and parameters stand in the columns that `trials_dataframe` puts them in."""
    study = odd_study(direction)
    optunas = study.trials_dataframe(attrs=("number", "state", "value", "params"))
    optunas = optunas[optunas["state"] != "RUNNING"]

    ours = generations_dataframe(study)[list(optunas.columns)]
    pd.testing.assert_frame_equal(ours, optunas, check_dtype=False)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_best_so_far_is_optunas_best_value_at_that_time(direction: Any) -> None:
    """Failed, pruned and infeasible trials do not change it."""
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
    """The first feasible value improves too, unless it is infinitely bad; ties do not."""
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
    """Each row is a finished trial, whose number is not its position."""
    study = study_with(added(1))
    study.ask()
    study.add_trial(added(2))
    study.enqueue_trial({"x": 0.5})

    assert list(generations_dataframe(study)["number"]) == [0, 2]


def test_the_table_of_a_new_study_has_columns_of_the_same_types() -> None:
    """A table without rows has its columns."""
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
    """A copied trial keeps its attributes, but its parents do not exist in this study."""
    study = study_with(child(1, [40, 41], "x"), child(2, [0, 1]), child(3, [0]))
    table = generations_dataframe(study)

    assert list(table["parents"]) == [[], [], [0]]
    assert list(table["mutated"]) == [[], [], []]
    assert list(table["origin"]) == ["start", "start", "crossover"]


def test_later_trials_without_parents_are_no_start() -> None:
    """Those that the sampler drew are random; enqueued ones and another sampler's are not."""
    study = run(GASampler.adaptive(4, seed=0), 6, constant)
    study.enqueue_trial(dict.fromkeys("xyz", 0.5))
    study.enqueue_trial({"x": 0.5})
    study.optimize(constant, n_trials=2)
    study.sampler = RandomSampler(seed=0)
    study.optimize(sphere, n_trials=1)
    study.add_trial(child(2, [40, 41]))
    origins = list(generations_dataframe(study, 4)["origin"])

    assert origins == [*["start"] * 4, *["random"] * 2, "other", "random", "other", "other"]


def test_without_pandas_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures do without pandas."""
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ImportError, match=r'pip install -e "\.\[visualization\]"'):
        generations_dataframe(three_generations())
    assert all(plot(three_generations()).data for plot in FIGURES)


def test_the_table_shows_the_generations_that_were_true_when_trials_ran() -> None:
    """A changed population size changes no row; a size that is given regroups all."""
    study = run(of_four(), 18)
    study.sampler = GASampler(6, seed=0)
    study.optimize(sphere, n_trials=30)
    study.add_trial(added(0.0))

    table = generations_dataframe(study)
    shown = [trial.user_attrs["ga_generation"] for trial in study.trials[:48]]
    assert list(table["generation"]) == [*shown, 48 // 6]
    assert shown == [n // 4 for n in range(18)] + [n // 6 for n in range(18, 48)]
    assert list(generations_dataframe(study, 6)["generation"]) == [n // 6 for n in range(49)]


def test_figures_show_all_generations_of_a_changed_population_size() -> None:
    """The axis reaches from the first to the last generation, whichever ran last."""
    study = run(of_four(), 18)
    study.sampler = GASampler(10, seed=0)
    study.optimize(sphere, n_trials=6)

    for plot in FIGURES:
        plot(study)
    assert plot_genealogy(study).layout.xaxis.range == (-0.5, 4.5)


def test_a_choice_of_none_is_no_missing_value() -> None:
    """Numbers beside it stay integers; a trial without the parameter has NaN."""
    choices = optuna.distributions.CategoricalDistribution([None, 1])
    history = [
        optuna.create_trial(value=0.0, params={"c": choice}, distributions={"c": choices})
        for choice in (None, 1)
    ]
    found = generations_dataframe(study_with(*history, added(1.0, x=0.5)))["params_c"].tolist()

    assert found[:2] == [None, 1] and type(found[1]) is int
    assert math.isnan(found[2])


def test_an_added_pruned_trial_has_its_last_report() -> None:
    """Optuna gives a pruned trial that value only if it runs itself."""
    history = [added(3.0), pruned(intermediate_values={0: 1.0, 1: 2.0}), pruned()]
    values = generations_dataframe(study_with(*history))["value"].tolist()

    assert values[:2] == [3.0, 2.0] and math.isnan(values[2])


@pytest.mark.parametrize(
    ("distribution", "value", "edges"),
    [
        (optuna.distributions.IntDistribution(4_000_000_000, 4_000_000_005), 4_000_000_002, {}),
        (optuna.distributions.IntDistribution(1, 5), 5, {"x": "upper"}),
        (optuna.distributions.FloatDistribution(1e9, 1e9 + 1), 1e9 + 0.5, {}),
        (optuna.distributions.FloatDistribution(1e9, 1e9 + 1), 1e9 + 1, {"x": "upper"}),
        (optuna.distributions.FloatDistribution(-1e308, 1e308), -1e308, {"x": "lower"}),
        (optuna.distributions.FloatDistribution(1e-12, 1.0, log=True), 1e-10, {}),
        (optuna.distributions.FloatDistribution(1e-12, 1.0, log=True), 1e-12, {"x": "lower"}),
    ],
)
def test_an_end_of_a_range_is_near_by_the_range(
    distribution: BaseDistribution, value: float, edges: dict[str, str]
) -> None:
    """However large the numbers are."""
    trial = optuna.create_trial(value=0.0, params={"x": value}, distributions={"x": distribution})

    assert edges_of(trial) == edges


def of_many_kinds(trial: Trial) -> float:
    """Suggest parameters of every kind, some of them in some trials only."""
    if trial.number % 2:
        trial.suggest_int("rare", 0, 5)
        trial.suggest_categorical("branch", ("a", "b"))
    for name in "zyxwvu":
        trial.suggest_float(name, 0.0, 1.0)
    trial.suggest_int("layers", 1, 3)
    trial.suggest_categorical("width", (16, 32))
    trial.suggest_categorical("bias", (True, False))
    return 0.0


def test_parameters_have_the_types_that_optuna_gives_them() -> None:
    """Numbers are numbers also as choices; the columns are sorted by name."""
    study = run(RandomSampler(seed=0), 6, of_many_kinds)
    optunas = study.trials_dataframe(attrs=("params",))
    table = generations_dataframe(study, 2)
    names = [name for name in table.columns if name.startswith("params_")]

    assert names == sorted(optunas.columns)
    assert dict(table[names].dtypes) == dict(optunas[names].dtypes)


@pytest.mark.parametrize(
    ("distribution", "value", "edges"),
    [
        (FloatDistribution(0.0, 1.0), 1.0 - 1e-12, {"x": "upper"}),
        (FloatDistribution(0.0, 1.0), 1e-12, {"x": "lower"}),
        (FloatDistribution(0.0, 1.0), 1.0 - 1e-6, {}),
        (FloatDistribution(1e-5, 0.1, log=True), 0.1 * (1.0 - 1e-12), {"x": "upper"}),
        (IntDistribution(1, 10**10), 10**10 - 1, {}),
    ],
)
def test_rounding_alone_keeps_a_value_at_its_end(
    distribution: BaseDistribution, value: float, edges: dict[str, str]
) -> None:
    """Integers are not rounded."""
    trial = optuna.create_trial(value=0.0, params={"x": value}, distributions={"x": distribution})

    assert edges_of(trial) == edges

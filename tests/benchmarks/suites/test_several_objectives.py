"""Suites of several objectives: their scores, their functions, and the samplers on them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
import pytest
from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FixedTrial, TrialState
from sklearn.linear_model import SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from benchmarks.rivals.pymoo import ALGORITHMS, PymooSampler
from benchmarks.samplers import SEVERAL_SAMPLERS, Search
from benchmarks.suites import front, load_suite, trade_offs
from benchmarks.suites.bbob_biobj import BiobjObjective
from benchmarks.suites.front import FrontObjective, corners
from benchmarks.suites.hypervolume import missing_hypervolume
from benchmarks.suites.resampled import wine
from benchmarks.suites.study import run_study
from benchmarks.suites.task import Task
from optuna_ga._population.fronts import fronts
from tests import several

SUITES = ("bbob-biobj", "front", "trade-offs", "table-trade-offs")


@pytest.mark.parametrize(
    ("points", "score"),
    [
        ([[0, 0]], 0.0),
        ([[2, 10]], 1 - 0.5 * 0.75),
        ([[2, 10], [2, 10], [0, 20]], 1 - 0.5 * 0.75 - 0.25),
        ([[-9, 10]], 0.25),
        ([[4, 0]], 1.0),
        ([[7, 80]], 1 + math.hypot(0.75, 1.0)),
        ([[7, 80], [0, 50]], 1.25),
        ([], math.inf),
    ],
)
def test_the_score_is_what_is_missing_to_the_hypervolume(
    points: Sequence[Sequence[float]], score: float
) -> None:
    """In the box from (0, 0) to (4, 40); outside of it the distance counts."""
    found = missing_hypervolume(
        np.array(points, float).reshape(-1, 2), np.zeros(2), np.array([4.0, 40.0])
    )

    assert found == pytest.approx(score)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_hypervolume_is_that_of_counted_cells(n: int, seed: int) -> None:
    """On grids of random points."""
    side = {2: 10, 3: 6, 5: 3}[n]
    points = np.random.default_rng(seed).integers(0, side, size=(6, n))
    share = several.volume(points.tolist(), [side] * n) / side**n

    found = missing_hypervolume(points.astype(float), np.zeros(n), np.full(n, float(side)))
    assert found == pytest.approx(1 - share)


@pytest.mark.parametrize("suite", SUITES)
def test_half_of_the_tasks_are_held_out(suite: str) -> None:
    """Names are unique, and neither half has more than three fifths."""
    tasks = load_suite(suite).tasks
    n_held_out = sum(task.held_out for task in tasks)

    assert len({task.name for task in tasks}) == len(tasks)
    assert 0.4 < n_held_out / len(tasks) < 0.6


@pytest.mark.parametrize(("name", "n"), [("zdt1", 2), ("zdt2", 2), ("zdt3", 2), ("zdt6", 2)])
def test_the_corners_are_those_of_pymoos_front(name: str, n: int) -> None:
    """As far as pymoo draws the front."""
    from pymoo.problems import get_problem

    drawn = get_problem(name).pareto_front()
    ideal, nadir = corners(name, n)

    assert drawn.min(axis=0) == pytest.approx(ideal, abs=2e-3)
    assert drawn.max(axis=0) == pytest.approx(nadir, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
def test_the_corners_of_dtlz7_are_those_of_its_front(n: int) -> None:
    """Of a fine grid of points whose other variables are at their best."""
    from pymoo.problems import get_problem

    axis = np.linspace(0.0, 1.0, {2: 2001, 3: 101}[n])
    grid = np.stack(np.meshgrid(*[axis] * (n - 1)), axis=-1).reshape(-1, n - 1)
    best = np.hstack([grid, np.zeros((len(grid), 4))])
    values = get_problem("dtlz7", n_var=n + 3, n_obj=n).evaluate(best)
    drawn = values[fronts(values) == 0]
    ideal, nadir = corners("dtlz7", n)

    assert drawn.min(axis=0) == pytest.approx(ideal, abs=0.02)
    assert drawn.max(axis=0) == pytest.approx(nadir, abs=0.02)


@pytest.mark.parametrize("task", front.FRONT.tasks, ids=lambda task: str(task.name))
def test_no_random_point_is_beyond_the_ideal_point(task: Task) -> None:
    """The ideal point is a lower bound, and the function has as many values as it says."""
    objective = task.objective(0)
    assert isinstance(objective, FrontObjective)
    rng = np.random.default_rng(0)
    bounds = [
        (d.low, d.high) for d in objective.space.values() if isinstance(d, FloatDistribution)
    ]
    name, _, n = task.name.partition("-m")
    for _ in range(20):
        params = dict(zip(objective.space, (rng.uniform(*b) for b in bounds), strict=True))
        values = objective(FixedTrial(params))  # type: ignore[arg-type]
        assert len(values) == objective.n_objectives == int(n)
        assert (np.array(values) >= corners(name, int(n)).ideal - 1e-9).all()


@pytest.mark.parametrize("pair", [1, 12, 55])
def test_the_corners_of_a_pair_are_cocos(pair: int) -> None:
    """The nadir point is worse than the ideal point, which no point is beyond."""
    objective = BiobjObjective(pair, 5, 1)
    rng = np.random.default_rng(0)
    values = []
    for _ in range(200):
        params = {name: float(rng.uniform(-5, 5)) for name in objective.space}
        values.append(objective(FixedTrial(params)))  # type: ignore[arg-type]

    assert (objective._ideal < objective._nadir).all()
    assert (np.array(values) > objective._ideal).all()
    assert objective.score(objective._ideal[None]) == 0.0
    assert objective.score(objective._nadir[None]) == 1.0


def test_sizes_of_models() -> None:
    """They are the numbers that a fitted model holds."""
    features, targets = wine()
    neighbours = trade_offs.Thinned(KNeighborsClassifier(3), 0.1, 3).fit(features, targets)
    linear = SGDClassifier(penalty="l1", alpha=10.0, tol=None, random_state=0).fit(
        features, targets
    )
    kernel = SVC().fit(features, targets)

    assert trade_offs.size_of(neighbours) == 18 * (13 + 1)
    assert trade_offs.size_of(linear) == np.count_nonzero(linear.coef_) + 3 < 42
    assert trade_offs.size_of(kernel) == kernel.n_support_.sum() * (13 + 2)


@pytest.mark.parametrize("name", list(trade_offs.PROBLEMS))
def test_every_model_has_a_loss_and_a_size(name: str) -> None:
    """Whatever its parameters are; the same seed gives the same values."""
    objective = trade_offs.TradeOff(trade_offs.PROBLEMS[name], 0)
    study = optuna.create_study(
        directions=["minimize"] * 2, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(objective, n_trials=12)
    again = trade_offs.TradeOff(trade_offs.PROBLEMS[name], 0)(FixedTrial(study.trials[-1].params))  # type: ignore[arg-type]

    values = np.array([trial.values for trial in study.trials])
    assert again == study.trials[-1].values
    assert (values[:, 0] >= 0).all() and (values[:, 0] <= objective._reference[0]).all()
    assert (values[:, 1] >= 1).all() and len(set(values[:, 1])) > 3
    assert 0.0 < objective.score(values) < 1.0


class Mixed:
    """Two objectives of every kind of parameter, one of which is conditional; some trials fail."""

    n_objectives = 2
    space: Mapping[str, BaseDistribution] = {
        "rate": FloatDistribution(1e-5, 1e-1, log=True),
        "grid": FloatDistribution(0.0, 1.0, step=0.25),
        "units": IntDistribution(8, 64, step=8),
        "kind": CategoricalDistribution(("a", None, 3)),
        "deep": IntDistribution(1, 3),
    }

    def __call__(self, trial: Trial) -> list[float]:
        """Return two values that depend on all of them."""
        x = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
        x += trial.suggest_float("grid", 0.0, 1.0, step=0.25)
        x += trial.suggest_int("units", 8, 64, step=8)
        if trial.suggest_categorical("kind", ("a", None, 3)) == "a":
            x += trial.suggest_int("deep", 1, 3)
        return [x, math.nan if trial.number % 7 == 3 else -x]

    def score(self, values: np.ndarray) -> float:
        """Return the number of values, to be checked."""
        return float(len(values))


@pytest.mark.parametrize("name", [name for name in SEVERAL_SAMPLERS if name != "gp"])  # Slow.
@pytest.mark.parametrize("n_workers", [1, 4])
def test_each_sampler_runs_on_every_kind_of_parameter(name: str, n_workers: int) -> None:
    """Trials that fail have no values, and the sampler goes on."""
    search = Search(1, n_trials=60, space=Mixed.space, n_objectives=2)
    best = run_study(Mixed(), SEVERAL_SAMPLERS[name](search), 60, n_workers).best

    assert best[60] == 60 - 9


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
def test_pymoos_algorithms_learn(algorithm: str) -> None:
    """They depend on their seed alone, and beat random search on a function of two objectives."""
    objective = FrontObjective("dtlz2", 2, 0)

    def left(sampler: optuna.samplers.BaseSampler) -> float:
        return run_study(objective, sampler, 200, 1).best[200]

    found = [left(PymooSampler(algorithm, objective.space, 2, seed=s)) for s in (0, 0, 1)]
    chance = [left(optuna.samplers.RandomSampler(seed=s)) for s in range(3)]

    assert found[0] == found[1] != found[2]
    assert max(found) < min(chance)


def test_a_generation_is_told_whole() -> None:
    """With more workers than a generation has trials, another is asked for."""
    objective = FrontObjective("zdt1", 2, 0)
    sampler = PymooSampler("NSGA2", objective.space, 2, seed=0)
    study = optuna.create_study(directions=["minimize"] * 2, sampler=sampler)
    trials = [study.ask() for _ in range(50)]
    for trial in trials:
        study.tell(trial, objective(trial))
    study.optimize(objective, n_trials=40)

    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)

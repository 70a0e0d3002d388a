"""Samplers that repeat no trial, however trials overlap."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import optuna
import pytest
from optuna import Trial, TrialPruned
from optuna.distributions import IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_ga import GASampler, optimize_generations
from optuna_ga._breeding.known import trial_matrix
from optuna_ga._breeding.known.known_trials import KnownTrials
from optuna_ga._breeding.known.learnt_space import LearntSpace
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.surrogate import Surrogate
from tests.breeding.samplers import (
    KINDS,
    Make,
    ask_together,
    cheap,
    of_every_kind,
    points,
    stepped,
    tuned,
)
from tests.studies import Objective, run, sphere


def logarithmic(trial: Trial) -> float:
    """Return a value of a space of 12 points."""
    return trial.suggest_int("n", 1, 4, log=True) + trial.suggest_int("m", 2, 4, log=True)


def branching(trial: Trial) -> float:
    """Return a value of a space of 13 points, of which 9 are in one branch and 4 in another."""
    if trial.suggest_categorical("c", ("a", "b")) == "a":
        x = trial.suggest_float("x", 0.0, 1.0, step=0.5)
        return x + trial.suggest_int("n", 1, 3, log=True)
    return float(trial.suggest_int("m", 0, 3))


def frozen(trial: Trial) -> float:
    """Return a value of a space of 24 points, with floats that have a single value."""
    trial.suggest_float("rate", 0.1, 0.1, log=True)
    trial.suggest_float("decay", -2.0, -2.0)
    return trial.suggest_int("n", 1, 6) + trial.suggest_int("m", 0, 3)


def branches(trial: Trial) -> float:
    """Return a value of a space of 192 points, whose parameters have 786,432 combinations."""
    branch = trial.suggest_categorical("branch", ("a", "b", "c"))
    return float(sum(trial.suggest_int(f"{branch}{i}", 0, 3) for i in range(3)))


@of_every_kind
@pytest.mark.parametrize("n_objectives", [1, 2])
def test_a_float_with_a_single_value_makes_no_point_a_new_one(
    make: Make, n_objectives: int
) -> None:
    """All points are found, as without it."""
    directions = [StudyDirection.MINIMIZE] * n_objectives
    study = optuna.create_study(sampler=make(4, seed=0), directions=directions)
    study.optimize(lambda trial: (frozen(trial), 1.0)[:n_objectives], n_trials=24)

    assert len({(trial.params["n"], trial.params["m"]) for trial in study.trials}) == 24


@of_every_kind
def test_a_bound_is_tried_once_beside_parameters_with_a_single_value(make: Make) -> None:
    """Many children are clipped to a bound where the best point lies beyond it."""

    def beyond(trial: Trial) -> float:
        trial.suggest_categorical("kind", ["only"])
        trial.suggest_float("fixed", 2.0, 2.0)
        return -trial.suggest_float("x", 0.0, 1.0)

    study = run(make(5, seed=0), 60, beyond)

    assert len({trial.params["x"] for trial in study.trials}) == 60


@cheap
def test_integers_whose_logarithms_are_equal_can_be_searched(make: Make) -> None:
    """So are their positions on the unit scale."""
    low, high = 10**16, 10**16 + 1
    study = run(make(4, seed=0), 12, lambda trial: trial.suggest_int("n", low, high, log=True))

    assert all(trial.params["n"] in (low, high) for trial in study.trials)


@of_every_kind
def test_the_last_points_of_branches_are_found(make: Make) -> None:
    """Though there are too many combinations of all branches' parameters to look at each."""
    study = run(make(10, seed=3), 192, branches)

    assert len(set(map(str, (trial.params for trial in study.trials)))) == 192


def equal_choices(trial: Trial) -> float:
    """Return a value of a space of 12 points: of equal choices Optuna keeps the first."""
    c = trial.suggest_categorical("c", ("sqrt", 1, 1.0, True, "sqrt"))
    unhashable: Any = ([0], 2, 2.0)
    lists = trial.suggest_categorical("l", unhashable)
    return float(len(str(c)) + len(str(lists)) + trial.suggest_int("n", 0, 2))


GRID: dict[Objective, set[tuple[object, ...]]] = {
    stepped: set(product((0.0, 0.5, 1.0), (0, 1), ("a", "bb"))),
    logarithmic: set(product((1, 2, 3, 4), (2, 3, 4))),
    branching: {*product("a", (0.0, 0.5, 1.0), (1, 2, 3)), *product("b", (0, 1, 2, 3))},
}


def trains(trial: Trial) -> float:
    """Return a value of a space of 180 points; one branch lacks a parameter of the other."""
    optimizer = trial.suggest_categorical("optimizer", ("sgd", "adam"))
    batch = trial.suggest_categorical("batch", (16, 32, 64, 128, 256))
    layers = trial.suggest_int("layers", 1, 6)
    momentum = trial.suggest_int("momentum", 0, 4) if optimizer == "adam" else 0
    if optimizer == "sgd" and batch >= 64:
        raise TrialPruned if batch == 64 else MemoryError
    return (layers - 3) ** 2 + abs(batch - 200) / 50 + momentum + 3 * (optimizer == "adam")


@of_every_kind
def test_no_trial_repeats_one_that_failed_with_all_parameters_of_its_branch(make: Make) -> None:
    """It is not taken for one that failed before it had all, though other branches have more."""
    study = optuna.create_study(sampler=make(10, seed=0))
    study.optimize(trains, n_trials=100, catch=MemoryError)

    assert len(set(map(str, (trial.params for trial in study.trials)))) == 100


def fails_at_first(trial: Trial) -> float:
    """Return a value of a space of 12 points; the first trial of a branch fails half-way."""
    c = trial.suggest_categorical("c", ("a", "b"))
    if not any(other.params.get("c") == c for other in trial.study.trials[: trial.number]):
        raise MemoryError
    return trial.suggest_int("x", 1, 6) * (1.0 if c == "a" else 2.0)


@of_every_kind
def test_a_trial_that_failed_half_way_blocks_nothing(make: Make) -> None:
    """Its branch is tried again once trials of the other branch are complete."""
    study = optuna.create_study(sampler=make(4, seed=0))
    study.optimize(fails_at_first, n_trials=14, catch=MemoryError)
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]

    assert len(set(map(str, (trial.params for trial in complete)))) == len(complete) == 12


@of_every_kind
@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution:UserWarning")
def test_choices_that_python_holds_equal_are_one(make: Make) -> None:
    """Optuna stores the first of them, so that the others are never tried by themselves."""
    study = run(make(4, seed=0), 12, equal_choices)

    assert len(set(map(str, (trial.params for trial in study.trials)))) == 12


@of_every_kind
@pytest.mark.parametrize("objective", GRID)
def test_no_trial_repeats_another_until_all_has_been_tried(
    make: Make, objective: Objective
) -> None:
    """The first trials of a small space are all of its points; then the search goes on."""
    grid = GRID[objective]
    tried = points(run(make(4, seed=0), len(grid) + 4, objective))

    assert set(tried[: len(grid)]) == grid
    assert set(tried[len(grid) :]) <= grid


@pytest.mark.parametrize("objective", GRID)
def test_the_papers_algorithm_repeats_trials(objective: Objective) -> None:
    """`avoid_duplicates` is off by default."""
    grid = GRID[objective]

    assert len(set(points(run(GASampler(4, seed=0), len(grid), objective)))) < len(grid)


@of_every_kind
@pytest.mark.parametrize("objective", GRID)
def test_trials_that_run_together_do_not_repeat_each_other(
    make: Make, objective: Objective
) -> None:
    """Eight trials suggest before the first of them has a result."""
    study = run(make(4, seed=0), len(GRID[objective]) - 8, objective)
    for trial, value in ask_together(study, 8, objective):
        study.tell(trial, value)

    assert set(points(study)) == GRID[objective]


@cheap
def test_trials_of_dead_workers_are_not_repeated(make: Make) -> None:
    """A trial that never finishes counts as tried, and stops no other."""
    study = run(make(4, seed=0), 3, stepped)
    ask_together(study, 3, stepped)
    study.optimize(stepped, n_trials=8)

    assert len(set(points(study)[:12])) == 12
    assert [t.number for t in study.trials if t.state == TrialState.RUNNING] == [3, 4, 5]


@of_every_kind
def test_trials_of_four_threads_do_not_repeat_each_other(make: Make) -> None:
    """Each thread avoids the points of the other threads' running trials."""
    study = run(make(4, seed=0), 1, stepped)
    study.optimize(stepped, n_trials=11, n_jobs=4)

    assert set(points(study)) == GRID[stepped]


def layers(trial: Trial) -> float:
    """Return a value of a space of 39 points, of up to three layers of up to three units."""
    n_layers = trial.suggest_int("n_layers", 1, 3)
    return float(sum(trial.suggest_int(f"units {k}", 1, 3) for k in range(n_layers)))


@cheap
def test_no_trial_repeats_another_where_branches_are_barely_known(make: Make) -> None:
    """A child with more or fewer parameters than predicted is no repeat either."""
    searches = [points(run(make(5, seed=seed), 15, layers)) for seed in range(6, 10)]

    assert [len(set(search)) for search in searches] == [15] * 4


def test_trials_that_are_asked_together_differ_in_a_continuous_space() -> None:
    """The model does not send eight workers to the same place."""
    study = run(KINDS["screened"](seed=0), 15)
    genes = np.array([list(t.params.values()) for t, _ in ask_together(study, 8, sphere)])
    distances = np.abs(genes[:, None] - genes).max(axis=2)[~np.eye(8, dtype=bool)]

    assert distances.min() > 1e-6
    assert distances.max() > 0.1


@pytest.mark.parametrize("value", [0, 1, "yes", None, np.True_])
def test_avoid_duplicates_is_a_bool(value: Any) -> None:
    """`avoid_duplicates` must be True or False."""
    with pytest.raises(TypeError, match=r"^`avoid_duplicates` must be True") as raised:
        GASampler(avoid_duplicates=value)

    assert f"but {value!r} was given." in str(raised.value)


def distance(trial: Trial) -> float:
    """Return the distance from the best of 64 points."""
    return float(abs(trial.suggest_int("x", 0, 7) - 5) + abs(trial.suggest_int("y", 0, 7) - 2))


def fails_once(trial: Trial) -> float:
    """Return the distance; the first trial of the best point fails."""
    value = distance(trial)
    if value == 0.0 and not any(other.params == trial.params for other in earlier(trial)):
        raise MemoryError
    return value


def fails_always(trial: Trial) -> float:
    """Return the distance; every trial of the best point fails."""
    value = distance(trial)
    if value == 0.0:
        raise MemoryError
    return value


def fails_in_a_region(trial: Trial) -> float:
    """Return the distance; every trial beyond the best point fails."""
    value = distance(trial)
    if trial.params["x"] > 5:
        raise MemoryError
    return value


def earlier(trial: Trial) -> list[FrozenTrial]:
    """Return the trials before this one."""
    return trial.study.get_trials(deepcopy=False)[: trial.number]


@pytest.mark.parametrize(
    ("objective", "n_best"), [(fails_once, 2), (fails_always, 2), (fails_in_a_region, 1)]
)
@pytest.mark.parametrize("seed", range(4))
def test_the_values_of_an_unexpected_failure_are_tried_once_more(
    objective: Objective, n_best: int, seed: int
) -> None:
    """Those of a failure that the other trials explain are not."""
    study = optuna.create_study(sampler=GASampler.adaptive(seed=seed))
    study.optimize(objective, n_trials=50, catch=MemoryError)
    tried = points(study)

    assert tried.count((5, 2)) == n_best
    assert len({*tried}) >= 48


def test_no_failure_is_forgiven_before_a_model_chooses() -> None:
    """Which needs as many trials as a setting says, for each parameter."""
    sampler = tuned(GASampler.adaptive(seed=0), trials_per_parameter=1000.0)
    study = optuna.create_study(sampler=sampler)
    study.optimize(fails_once, n_trials=60, catch=MemoryError)

    assert points(study).count((5, 2)) == 1


def test_values_are_tried_once_more_however_a_generation_is_evaluated() -> None:
    """Where a third of the trials fails by chance, the study is that of one worker."""

    def by_chance(trial: Trial) -> float:
        value = distance(trial)
        return math.nan if trial.number * 7 % 3 == 0 else value

    def evaluate(trials: list[Trial], forwards: bool) -> list[float]:
        found = [by_chance(trial) for trial in trials[:: 1 if forwards else -1]]
        return found[:: 1 if forwards else -1]

    studies = []
    for forwards in (True, False):
        study = optuna.create_study(sampler=GASampler.adaptive(8, seed=0))
        optimize_generations(study, partial(evaluate, forwards=forwards), 7)
        studies.append(study)
    first, second = studies

    assert points(first) == points(second)
    assert len({*points(first)}) < 55


N = IntDistribution(0, 999)


def test_where_most_candidates_repeat_a_trial_a_model_also_sees_random_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the neighbours that steps reach only 499 is new, so that it has little choice there."""
    rated: list[float] = []

    def rating(
        _: Surrogate, matrix: TrialMatrix, running: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        def rate(candidates: np.ndarray) -> np.ndarray:
            rated.extend(candidates[:, 0].tolist())
            return np.zeros(len(candidates))

        return rate

    monkeypatch.setattr(Surrogate, "rating", rating)
    steps = {"step_prob": 1.0, "log_steps": (-9.0, -9.0), "fresh_prob": 0.0}
    sampler = tuned(GASampler.adaptive(4, seed=0), unscreened_prob=0.0, **steps)
    study = optuna.create_study(sampler=sampler)
    tried = [n for n in range(480, 521) if n != 499]
    study.add_trials(
        create_trial(value=abs(n - 500.0), params={"n": n}, distributions={"n": N}) for n in tried
    )
    study.ask({"n": N})
    values = {round(unit * 1000 - 0.5) for unit in rated}

    assert 499 in values
    assert not values & {*tried}
    assert min(values) < 480 and max(values) > 520


@pytest.mark.parametrize("at", [1, 30, 60])
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    ("owner", "name"),
    [(trial_matrix, "rank"), (LearntSpace, "follow"), (KnownTrials, "predict")],
    ids=["matrix", "space", "running"],
)
def test_an_interrupted_update_changes_no_search(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, make: Make, at: int
) -> None:
    """Ctrl-C while trials are taken in, by a sampler that goes on, as in a notebook."""
    trials = run(optuna.samplers.RandomSampler(seed=0), 60, of_three_kinds).trials
    found = []
    for n_calls in (0, 1 if name == "predict" else at):
        study = optuna.create_study(sampler=make(seed=0))
        study.add_trials(trials)
        trial = study.ask()
        if n_calls:
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, interrupted(getattr(owner, name), n_calls))
                with pytest.raises(KeyboardInterrupt):
                    of_three_kinds(trial)
        study.tell(trial, of_three_kinds(trial))
        study.optimize(of_three_kinds, n_trials=3)
        found.append([trial.params for trial in study.trials[60:]])

    assert found[0] == found[1]


def interrupted(function: Callable[..., Any], at: int) -> Callable[..., Any]:
    """Return a function whose call of some number is interrupted as it ends."""
    calls = iter(range(1, 10_000))

    def call(*arguments: Any) -> Any:
        result = function(*arguments)
        if next(calls) == at:
            raise KeyboardInterrupt
        return result

    return call


def of_three_kinds(trial: Trial) -> float:
    """Return a value of a float, an integer and a choice."""
    x, n = trial.suggest_float("x", -5, 5), trial.suggest_int("n", 1, 30)
    return x**2 + abs(n - 7) + (trial.suggest_categorical("c", "abd") == "a")

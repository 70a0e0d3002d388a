"""The adaptive sampler and the one that avoids duplicates, as users see them."""

from __future__ import annotations

import copy
import math
import pickle
import string
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from statistics import median
from typing import Any

import numpy as np
import optuna
import pytest
from optuna import Study, Trial, TrialPruned
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import PartialFixedSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_ga import GASampler, InParallel, optimize_generations
from optuna_ga._population.generations import Generations
from tests.conftest import Objective, bred, constant, parents, run, sphere, story

Make = Callable[..., GASampler]

KINDS: dict[str, Make] = {
    "model-free": partial(GASampler.adaptive, screen=False),
    "screened": partial(GASampler.adaptive, screen=True),
    "distinct": partial(GASampler, avoid_duplicates=True),
}
ADAPTIVE = ["model-free", "screened"]
CHEAP = ["model-free", "distinct"]  # Where a model makes no difference.
of_every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=list(KINDS))
adaptive = pytest.mark.parametrize("make", [KINDS[name] for name in ADAPTIVE], ids=ADAPTIVE)
cheap = pytest.mark.parametrize("make", [KINDS[name] for name in CHEAP], ids=CHEAP)
model_free = KINDS["model-free"]


def mixed(trial: Trial) -> float:
    """Return the distance from an optimum within parameters of every kind."""
    rate = math.log10(trial.suggest_float("rate", 1e-5, 1.0, log=True)) + 3.0
    width = trial.suggest_int("width", 1, 64, log=True) - 16
    depth = trial.suggest_int("depth", 1, 9) - 4
    penalty = {"a": 0.2, "b": 0.0, "c": 0.4}[trial.suggest_categorical("kind", "abc")]
    return sphere(trial) + rate**2 / 9 + (width / 64) ** 2 + (depth / 9) ** 2 + penalty


# Generation 0.


@adaptive
@pytest.mark.parametrize(
    ("gene", "share"),
    [
        (FloatDistribution(-3.0, 7.0), lambda value: value + 3.0),
        (FloatDistribution(1e-6, 1e4, log=True), lambda value: math.log10(value) + 6.0),
        (FloatDistribution(0.0, 0.9, step=0.1), lambda value: value * 10 + 0.5),
        (IntDistribution(-2, 7), lambda value: value + 2),
        (IntDistribution(0, 38, step=2), lambda value: value / 4),
        (IntDistribution(1, 2**40 - 1, log=True), lambda value: math.log2(value) / 4),
    ],
)
def test_generation_0_is_a_latin_hypercube(
    make: Make, gene: BaseDistribution, share: Callable[[float], float]
) -> None:
    """Each tenth of a range, on its own scale, has one of ten trials."""
    study = optuna.create_study(sampler=make(10, seed=0))
    trials = [study.ask({"gene": gene, "other": FloatDistribution(0.0, 1.0)}) for _ in range(10)]

    assert sorted(math.floor(share(t.params["gene"])) for t in trials) == list(range(10))


@adaptive
@pytest.mark.parametrize(("choices", "counts"), [("ab", {5}), ("abcde", {2}), ("abc", {3, 4})])
def test_generation_0_has_every_choice_as_often(
    make: Make, choices: str, counts: set[int]
) -> None:
    """Choices are balanced, but for what does not divide."""
    study = run(make(10, seed=0), 10, lambda trial: sphere(trial) + 0.0 * choice(trial, choices))
    found = Counter(trial.params["choice"] for trial in study.trials)

    assert set(found.values()) == counts


def choice(trial: Trial, choices: str, name: str = "choice") -> int:
    """Return the position of a choice."""
    return choices.index(trial.suggest_categorical(name, list(choices)))


def test_parameters_of_generation_0_are_independent() -> None:
    """No two are in the same order, as they would be if they shared their strata."""
    study = run(model_free(30, seed=0), 30)
    columns = np.array([list(trial.params.values()) for trial in study.trials]).T

    assert np.abs(np.corrcoef(columns) - np.eye(3)).max() < 0.5


# No repeats.


def stepped(trial: Trial) -> float:
    """Return a value of a space of 12 points."""
    x = trial.suggest_float("x", 0.0, 1.0, step=0.5) + trial.suggest_int("n", 0, 1)
    return x + len(trial.suggest_categorical("c", ("a", "bb")))


def logarithmic(trial: Trial) -> float:
    """Return a value of a space of 12 points."""
    return trial.suggest_int("n", 1, 4, log=True) + trial.suggest_int("m", 2, 4, log=True)


def branching(trial: Trial) -> float:
    """Return a value of a space of 13 points, of which 9 are in one branch and 4 in another."""
    if trial.suggest_categorical("c", ("a", "b")) == "a":
        x = trial.suggest_float("x", 0.0, 1.0, step=0.5)
        return x + trial.suggest_int("n", 1, 3, log=True)
    return float(trial.suggest_int("m", 0, 3))


GRID: dict[Objective, set[tuple[object, ...]]] = {
    stepped: set(product((0.0, 0.5, 1.0), (0, 1), ("a", "bb"))),
    logarithmic: set(product((1, 2, 3, 4), (2, 3, 4))),
    branching: {*product("a", (0.0, 0.5, 1.0), (1, 2, 3)), *product("b", (0, 1, 2, 3))},
}


def points(study: Study) -> list[tuple[object, ...]]:
    """Return the parameters of all trials."""
    return [tuple(trial.params.values()) for trial in study.trials]


@of_every_kind
@pytest.mark.parametrize("objective", GRID)
def test_no_trial_repeats_another_until_all_has_been_tried(
    make: Make, objective: Objective
) -> None:
    """The first trials of a small space are all of its points, and then it goes on."""
    grid = GRID[objective]
    tried = points(run(make(4, seed=0), len(grid) + 4, objective))

    assert set(tried[: len(grid)]) == grid
    assert set(tried[len(grid) :]) <= grid


@pytest.mark.parametrize("objective", GRID)
def test_the_papers_algorithm_repeats_trials(objective: Objective) -> None:
    """Unless it is asked to avoid that."""
    grid = GRID[objective]

    assert len(set(points(run(GASampler(4, seed=0), len(grid), objective)))) < len(grid)


def ask_together(study: Study, n: int, objective: Objective) -> list[tuple[Trial, float]]:
    """Return trials that are all asked before any suggests, and their values."""
    trials = [study.ask() for _ in range(n)]
    return [(trial, objective(trial)) for trial in trials]


@of_every_kind
@pytest.mark.parametrize("objective", GRID)
def test_trials_that_run_together_do_not_repeat_each_other(
    make: Make, objective: Objective
) -> None:
    """Eight are asked and suggested before any of them is told."""
    study = run(make(4, seed=0), len(GRID[objective]) - 8, objective)
    for trial, value in ask_together(study, 8, objective):
        study.tell(trial, value)

    assert set(points(study)) == GRID[objective]


@cheap
def test_trials_of_dead_workers_are_not_repeated(make: Make) -> None:
    """What never finishes counts as tried, and stops nothing."""
    study = run(make(4, seed=0), 3, stepped)
    ask_together(study, 3, stepped)
    study.optimize(stepped, n_trials=8)

    assert len(set(points(study)[:12])) == 12
    assert [t.number for t in study.trials if t.state == TrialState.RUNNING] == [3, 4, 5]


@of_every_kind
def test_trials_of_four_threads_do_not_repeat_each_other(make: Make) -> None:
    """Whichever thread is first, another one's trial is foreseen."""
    study = run(make(4, seed=0), 1, stepped)
    study.optimize(stepped, n_trials=11, n_jobs=4)

    assert set(points(study)) == GRID[stepped]


def layers(trial: Trial) -> float:
    """Return a value of a space of 39 points, of up to three layers of up to three units."""
    n_layers = trial.suggest_int("n_layers", 1, 3)
    return float(sum(trial.suggest_int(f"units {k}", 1, 3) for k in range(n_layers)))


@cheap
def test_no_trial_repeats_another_where_branches_are_barely_known(make: Make) -> None:
    """A child that is asked for more or less than foreseen is no repeat either."""
    searches = [points(run(make(5, seed=seed), 15, layers)) for seed in range(6, 10)]

    assert [len(set(search)) for search in searches] == [15] * 4


def test_trials_that_are_asked_together_differ_in_a_continuous_space() -> None:
    """The model does not send eight workers to the same place."""
    study = run(KINDS["screened"](seed=0), 15)
    genes = np.array([list(t.params.values()) for t, _ in ask_together(study, 8, sphere)])
    distances = np.abs(genes[:, None] - genes).max(axis=2)[~np.eye(8, dtype=bool)]

    assert distances.min() > 1e-6
    assert distances.max() > 0.1


# The same search, however it is carried out.


def plainly(trials: Sequence[Trial]) -> list[float]:
    """Evaluate a generation, one trial after another."""
    return [mixed(trial) for trial in trials]


def backwards(trials: Sequence[Trial]) -> list[float]:
    """Evaluate a generation, beginning with its last trial."""
    return plainly(trials[::-1])[::-1]


def in_threads(trials: list[Trial]) -> Sequence[Any]:
    """Evaluate a generation, four trials at once."""
    with ThreadPoolExecutor(4) as executor:
        return InParallel(mixed, executor)(trials)


def in_generations(
    sampler: GASampler, evaluate: Callable[[list[Trial]], Sequence[Any]] = plainly
) -> Study:
    """Return a study of three generations."""
    study = optuna.create_study(sampler=sampler)
    optimize_generations(study, evaluate, 3)
    return study


@of_every_kind
@pytest.mark.parametrize("evaluate", [backwards, in_threads])
def test_a_generation_is_the_same_however_it_is_evaluated(
    make: Make, evaluate: Callable[[list[Trial]], Sequence[Any]]
) -> None:
    """Order and threads change neither genes nor records."""
    expected = in_generations(make(5, seed=0))

    assert story(expected) == story(in_generations(make(5, seed=0), evaluate))


@cheap
def test_a_search_is_the_same_without_records(make: Make) -> None:
    """Recording changes nothing but the records."""
    recorded, unrecorded = (in_generations(make(5, seed=0, record=r)) for r in (True, False))

    assert points(recorded) == points(unrecorded)
    assert unrecorded.user_attrs == {}
    assert all(trial.user_attrs == {} for trial in unrecorded.trials)


@cheap
def test_another_seed_makes_another_search(make: Make) -> None:
    """No two trials of searches with different seeds are the same."""
    first, second = (set(points(run(make(4, seed=seed), 8))) for seed in (0, 1))

    assert not first & second


def unpickled(sampler: GASampler, make: Make) -> GASampler:
    """Return what arrives where a pickled sampler is sent."""
    sent: GASampler = pickle.loads(pickle.dumps(sampler))
    return sent


def copied(sampler: GASampler, make: Make) -> GASampler:
    """Return a deep copy."""
    return copy.deepcopy(sampler)


def anew(sampler: GASampler, make: Make) -> GASampler:
    """Return a new sampler with the same seed."""
    return make(4, seed=0)


@pytest.mark.parametrize(
    ("make", "replace"),
    [(model_free, unpickled), (model_free, copied), *((make, anew) for make in KINDS.values())],
)
def test_a_search_goes_on_with_another_sampler_object(
    make: Make, replace: Callable[[GASampler, Make], GASampler]
) -> None:
    """A sampler replaced before every trial makes the search of one that stays."""
    study = optuna.create_study(sampler=make(4, seed=0))
    for _ in range(16):
        study.optimize(mixed, n_trials=1)
        assert isinstance(study.sampler, GASampler)
        study.sampler = replace(study.sampler, make)

    assert story(run(make(4, seed=0), 16, mixed)) == story(study)


@cheap
def test_one_sampler_serves_two_studies_at_once(make: Make) -> None:
    """What a sampler remembers of one study never reaches another."""
    sampler = make(4, seed=0)
    directions = [StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE]
    studies = [optuna.create_study(sampler=sampler, direction=d) for d in directions]
    for study in studies * 10:
        study.optimize(sphere, n_trials=1)

    for study, direction in zip(studies, directions, strict=True):
        assert story(run(make(4, seed=0), 10, direction=direction)) == story(study)


def completed_late(make: Make, *, lost: bool, between: bool) -> dict[str, Any]:
    """Return the genes of a trial that suggests one, and later the rest.

    Args:
        make: Makes the sampler.
        lost: Whether the sampler is lost after the first gene.
        between: Whether a trial that started later is sampled before the rest.
    """
    study = run(make(4, seed=0), 13)
    study.ask()
    trial = study.ask()
    trial.suggest_float("x", -1.0, 1.0)
    if lost:
        study.sampler = make(4, seed=0)
        trial = Trial(study, trial._trial_id)
    if between:
        sphere(study.ask())
    sphere(trial)
    return trial.params


@of_every_kind
@pytest.mark.parametrize("between", [False, True])
def test_a_half_suggested_trial_goes_on_with_another_sampler(make: Make, between: bool) -> None:
    """Its other genes are what they would have been, as long as nothing has ended since."""
    kept, lost = (completed_late(make, lost=lost, between=between) for lost in (False, True))

    assert kept == lost


def narrow(trial: Trial) -> float:
    """Return a value of ranges of which one is narrow, and another one soon changes."""
    x = trial.suggest_float("narrow", 1.7e9, 1.7e9 + 1.0) - 1.7e9
    y = trial.suggest_float("changing", 0.0, 1.0 if trial.number < 9 else 3.0)
    return (x - 0.3) ** 2 + (y - 0.9) ** 2 + sphere(trial)


@of_every_kind
def test_a_search_in_odd_ranges_goes_on_with_another_sampler_object(make: Make) -> None:
    """Before every trial, and between the genes of one."""
    study = optuna.create_study(sampler=make(4, seed=0))
    for _ in range(18):
        study.sampler = make(4, seed=0)
        trial = study.ask()
        trial.suggest_float("narrow", 1.7e9, 1.7e9 + 1.0)
        study.sampler = make(4, seed=0)
        study.tell(trial, narrow(Trial(study, trial._trial_id)))

    assert points(study) == points(run(make(4, seed=0), 18, narrow))


def overlapping(make: Make, *, lost: bool) -> Study:
    """Return a study of which two trials run at a time, and every other one outlives the next."""
    study = optuna.create_study(sampler=make(4, seed=0))
    (older,) = ask_together(study, 1, sphere)
    for number in range(16):
        if lost:
            study.sampler = make(4, seed=0)
        (newer,) = ask_together(study, 1, sphere)
        first, older = (newer, older) if number % 2 else (older, newer)
        study.tell(*first)
    return study


@cheap
def test_results_may_arrive_in_any_order(make: Make) -> None:
    """A sampler that saw them arrive goes on as one that finds them all."""
    kept, lost = (overlapping(make, lost=lost) for lost in (False, True))

    assert story(kept) == story(lost)


# Parents.


@adaptive
def test_parents_are_finished_trials_from_the_fittest_on(make: Make) -> None:
    """They are recorded as plain numbers, from generation 1 on, and none appears twice."""
    study = run(make(5, seed=0), 20)
    for trial in bred(study):
        values = [study.trials[number].value for number in parents(trial)]
        assert values == sorted(values, key=lambda value: value or 0.0)
        assert all(type(number) is int and number < trial.number for number in parents(trial))
        assert len(set(parents(trial))) == len(values) > 0

    assert [t.number for t in bred(study)][:1] == [5]
    assert len(bred(study)) > 8


def test_a_running_trial_is_no_parent() -> None:
    """A trial is bred from those that have finished."""
    study = run(model_free(4, seed=0), 6)
    running = [trial.number for trial, _ in ask_together(study, 3, sphere)]
    study.optimize(sphere, n_trials=12)

    assert not {number for trial in bred(study) for number in parents(trial)} & set(running)


def test_a_late_better_result_becomes_a_parent() -> None:
    """It counts from the next trial on, whatever generation it belongs to."""
    study = run(model_free(4, seed=0), 6)
    ((late, _),) = ask_together(study, 1, sphere)
    study.optimize(sphere, n_trials=6)
    study.tell(late, -1.0)
    study.optimize(sphere, n_trials=12)

    assert not any(late.number in parents(trial) for trial in study.trials[:13])
    assert any(late.number in parents(trial) for trial in study.trials[13:])


def test_results_count_at_once() -> None:
    """A trial may have parents of its own generation."""
    study = run(model_free(10, seed=0), 40)

    assert any(
        trial.number // 10 == number // 10 for trial in bred(study) for number in parents(trial)
    )


def chosen(trial: Trial) -> float:
    """Return a value that depends on nothing but choices, of which there are many."""
    return float(sum(choice(trial, string.ascii_letters, name) for name in "xyz"))


@of_every_kind
def test_choices_that_no_parent_has_are_recorded_as_mutated(make: Make) -> None:
    """What is drawn afresh is named, in the order of the alphabet."""
    trials = run(make(5, seed=0), 40, chosen).trials
    n_strange = n_recorded = 0
    for trial in filter(parents, trials):
        given = [trials[number].params for number in parents(trial)]
        strange = {n for n in "xyz" if trial.params[n] not in [params[n] for params in given]}
        recorded = trial.user_attrs.get("ga_mutated", [])
        assert strange <= set(recorded) and recorded == sorted(recorded)
        n_strange, n_recorded = n_strange + len(strange), n_recorded + len(recorded)

    assert n_strange > 0.7 * n_recorded > 5


# Odd histories.


def odd(trial: Trial) -> float:
    """End in one of the ways in which trials end."""
    value = mixed(trial)
    end = trial.number % 7
    if end == 1:
        raise RuntimeError
    if end == 2:
        trial.report(math.nan if trial.number % 2 else value, 1)
        raise TrialPruned
    if end == 3:
        trial.set_constraint("c", value)
    return {4: math.inf, 5: -math.inf, 6: math.nan}.get(end, value)


def prunes(trial: Trial) -> float:
    """Give up before the first report."""
    mixed(trial)
    raise TrialPruned


def violates(trial: Trial) -> float:
    """Return an infeasible value."""
    trial.set_constraint("c", 1.0)
    return mixed(trial)


@pytest.mark.parametrize(
    ("kind", "direction"),
    [*product(CHEAP, ("minimize", "maximize")), ("screened", "maximize")],
)
def test_trials_may_end_in_any_way(kind: str, direction: Any) -> None:
    """Failed, pruned, infinite and infeasible trials are survived without a warning."""
    study = optuna.create_study(sampler=KINDS[kind](4, seed=0), direction=direction)
    study.optimize(odd, n_trials=28, catch=RuntimeError)

    assert Counter(trial.state.name for trial in study.trials) == {
        "COMPLETE": 16,
        "FAIL": 8,
        "PRUNED": 4,
    }
    assert len(set(points(study))) == 28
    assert len(bred(study)) > 12


@of_every_kind
@pytest.mark.parametrize(
    "objective",
    [
        constant,
        prunes,
        violates,
        lambda trial: mixed(trial) + math.inf,
        lambda trial: mixed(trial) - math.inf,
        lambda trial: mixed(trial) + math.nan,
        lambda trial: 0.0,
    ],
)
def test_all_trials_may_end_alike(make: Make, objective: Objective) -> None:
    """Where no trial is better than another the search goes on."""
    study = run(make(4, seed=0), 9, objective)

    assert len(study.trials) == 9


@of_every_kind
def test_values_may_be_huge(make: Make) -> None:
    """Their differences are beyond what a float can hold."""
    study = run(make(4, seed=0), 12, lambda trial: 1.7e308 * trial.suggest_float("x", -1, 1))

    assert len(study.trials) == 12


@of_every_kind
def test_maximizing_mirrors_minimizing(make: Make) -> None:
    """The same search has the opposite values."""
    minimized = run(make(4, seed=0), 12, mixed)
    maximized = run(make(4, seed=0), 12, lambda trial: -mixed(trial), direction="maximize")

    assert points(minimized) == points(maximized)


@of_every_kind
def test_a_study_of_several_objectives_is_refused(make: Make) -> None:
    """The error names a sampler that serves it, and no trial is left running."""
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=make())
    with pytest.raises(ValueError, match=r"one objective, but the study has 2.*NSGAIISampler"):
        study.optimize(lambda trial: (sphere(trial), 0.0), n_trials=1)

    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


@cheap
def test_the_refusal_can_be_caught(make: Make) -> None:
    """It is the objective's own error, where it asks for a parameter."""
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=make())
    study.optimize(lambda trial: (sphere(trial), 0.0), n_trials=3, catch=ValueError)

    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 3


@cheap
def test_several_objectives_without_parameters_are_none_of_its_business(make: Make) -> None:
    """Hooks around a trial do not raise."""
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=make())
    study.optimize(lambda trial: (0.0, 0.0), n_trials=3)

    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3


@cheap
def test_enqueued_and_added_trials_are_bred_from(make: Make) -> None:
    """They count by their number like any other, and what they fix is taken over."""
    study = optuna.create_study(sampler=make(4, seed=0))
    source = run(RandomSampler(seed=1), 4)
    study.add_trials(source.trials)
    study.enqueue_trial({"x": 0.125, "y": 0.25, "z": -0.5})
    study.enqueue_trial({"y": 0.75})
    study.optimize(sphere, n_trials=12)

    assert study.trials[4].params == {"x": 0.125, "y": 0.25, "z": -0.5}
    assert study.trials[5].params["y"] == 0.75
    assert set(parents(study.trials[5])) <= {0, 1, 2, 3, 4}
    assert {number for trial in bred(study) for number in parents(trial)} & {0, 1, 2, 3}


def corner(trial: Trial) -> float:
    """Return a value of a space of 3 by 4 points."""
    return float(trial.suggest_int("n", 0, 2) + trial.suggest_int("m", 0, 3))


@of_every_kind
@pytest.mark.parametrize("fix", ["enqueued", "partially fixed"])
def test_what_a_trial_gets_from_elsewhere_counts_as_its_own(make: Make, fix: str) -> None:
    """Where a gene is given, the others are chosen so that the trial is new."""
    study = run(make(4, seed=0), 1, corner)
    if fix == "enqueued":
        for _ in range(4):
            study.enqueue_trial({"n": 1})
    else:
        study.sampler = PartialFixedSampler({"n": 1}, study.sampler)
    study.optimize(corner, n_trials=4)

    assert {t.params["m"] for t in study.trials if t.params["n"] == 1} == {0, 1, 2, 3}


@of_every_kind
def test_enqueued_genes_of_running_trials_are_foreseen(make: Make) -> None:
    """A trial differs from an older one that has not been asked for its genes yet."""
    study = run(make(4, seed=0), 4, corner)
    left = sorted(set(product(range(3), range(4))) - set(points(study)))
    for n, m in left[1:]:
        study.enqueue_trial({"n": n, "m": m})
    for _ in left[1:]:
        study.ask()
    study.optimize(corner, n_trials=1)

    assert points(study)[-1] == left[0]


@cheap
@pytest.mark.parametrize("value", [None, "a", math.nan, math.inf, -7, 9.5, [1]])
def test_nonsense_that_is_enqueued_is_not_bred_with(make: Make, value: Any) -> None:
    """What becomes of it is Optuna's business, as it is with any sampler."""
    ends = []
    for sampler in (make(4, seed=0), RandomSampler(seed=0)):
        study = run(sampler, 5, corner)
        study.add_trial(create_trial(state=TrialState.WAITING, system_attrs=fixing(value)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                study.optimize(corner, n_trials=1)
            except Exception as error:
                ends.append(type(error).__name__)
        ends.append(study.trials[-1].state.name)

    assert ends[: len(ends) // 2] == ends[len(ends) // 2 :]


def fixing(value: Any) -> dict[str, Any]:
    """Return how Optuna notes what is enqueued."""
    return {"fixed_params": {"n": value}}


@cheap
def test_an_enqueued_value_outside_the_range_stays_without_heirs(make: Make) -> None:
    """Optuna lets an enqueued trial leave the range; its children stay inside."""
    study = optuna.create_study(sampler=make(4, seed=0))
    for _ in range(4):
        study.enqueue_trial({"x": 9.0, "y": -9.0, "z": 0.5})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(sphere, n_trials=4)
    study.optimize(sphere, n_trials=8)

    assert all(-1.0 <= gene <= 1.0 for trial in study.trials[4:] for gene in trial.params.values())


@cheap
@pytest.mark.parametrize("bound", [-1.0, 1.0])
def test_a_gene_on_a_bound_is_inherited(make: Make, bound: float) -> None:
    """Where that is best, some children stay there bit by bit."""
    study = optuna.create_study(sampler=make(4, seed=0))
    for number in range(4):
        study.enqueue_trial({"x": bound, "y": number / 4, "z": -number / 4})
    study.optimize(lambda trial: sphere(trial) - 9.0 * bound * trial.params["x"], n_trials=16)

    assert bound in {trial.params["x"] for trial in study.trials[4:]}


@cheap
def test_what_is_fixed_is_left_to_others(make: Make) -> None:
    """`PartialFixedSampler` leaves the other genes to the sampler."""
    study = run(PartialFixedSampler({"x": 0.25}, make(4, seed=0)), 16)

    assert {trial.params["x"] for trial in study.trials} == {0.25}
    assert len({trial.params["y"] for trial in study.trials}) > 8


def failing_first(trial: Trial) -> float:
    """Fail once, before the rest of the parameters of one branch are asked for."""
    left = trial.suggest_categorical("left", [True, False])
    if left and trial.number == trial.study.user_attrs["failing"]:
        raise RuntimeError
    return trial.suggest_float("l" if left else "r", 0.0, 1.0) + (0.0 if left else 5.0)


@of_every_kind
@pytest.mark.parametrize("failing", range(3))
def test_a_failure_in_the_middle_of_a_branch_does_not_ban_it(make: Make, failing: int) -> None:
    """The trial says nothing of the parameters that it was not asked for."""
    study = optuna.create_study(sampler=make(4, seed=1))
    study.set_user_attr("failing", failing)
    for _ in range(3):
        study.enqueue_trial({"left": True})
    study.optimize(failing_first, n_trials=30, catch=RuntimeError)

    assert study.trials[failing].state == TrialState.FAIL
    assert sum(trial.params["left"] for trial in study.trials[4:]) > 5


def test_a_result_may_arrive_while_parents_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may even bring a parameter that nobody knew."""
    study = run(KINDS["distinct"](4, seed=0), 3)
    straggler = study.ask()
    value = sphere(straggler) + straggler.suggest_float("new", 0.0, 1.0) - 9.0
    parents_of = Generations.parents_of

    def told(generations: Generations, generation: int, study: Study) -> list[FrozenTrial]:
        if study.trials[3].state == TrialState.RUNNING:
            study.tell(straggler, value)
        return parents_of(generations, generation, study)

    monkeypatch.setattr(Generations, "parents_of", told)
    study.optimize(sphere, n_trials=4)

    assert all(3 in parents(trial) or len(parents(trial)) == 2 for trial in study.trials[4:])
    assert any(3 in parents(trial) for trial in study.trials[4:])


# Search spaces that change.


def with_gene(name: str, distribution: BaseDistribution, value: Any) -> FrozenTrial:
    """Return a finished trial that has this gene."""
    return create_trial(value=0.0, params={name: value}, distributions={name: distribution})


RANGES: list[tuple[BaseDistribution, BaseDistribution]] = [
    (FloatDistribution(0.0, 1.0), FloatDistribution(0.5, 3.0)),
    (FloatDistribution(0.0, 1.0), FloatDistribution(-3.0, -2.0)),
    (FloatDistribution(0.0, 1.0), FloatDistribution(0.0, 4.0, step=0.25)),
    (FloatDistribution(0.1, 1.0, log=True), FloatDistribution(0.001, 0.2, log=True)),
    (IntDistribution(0, 9), IntDistribution(5, 40, step=5)),
    (IntDistribution(1, 9, log=True), IntDistribution(7, 70, log=True)),
    (IntDistribution(1, 9), IntDistribution(3, 3)),
]


def ask_for(study: Study, space: dict[str, BaseDistribution], n_trials: int) -> None:
    """Ask for trials, each of which must be one that Optuna takes."""
    for _ in range(n_trials):
        trial = study.ask(space)
        study.tell(trial, float(trial.number % 5))
        assert create_trial(params=trial.params, distributions=space, value=0.0)


@of_every_kind
def test_ranges_may_change(make: Make) -> None:
    """What is suggested lies in the range that is asked for, and on its grid."""
    study = optuna.create_study(sampler=make(4, seed=0))
    old, new = ({f"{i}": pair[which] for i, pair in enumerate(RANGES)} for which in (0, 1))
    ask_for(study, old, 8)
    ask_for(study, new, 8)
    ask_for(study, {**old, "1": new["1"]}, 4)

    assert len(bred(study)) > 12


@cheap
@pytest.mark.parametrize("new", range(5))
def test_a_parameter_may_have_been_of_another_kind(make: Make, new: int) -> None:
    """Storage in memory takes trials with other choices or another class under the same name."""
    kinds: list[tuple[BaseDistribution, Any]] = [
        (CategoricalDistribution(["a", "b"]), "b"),
        (CategoricalDistribution(["a", "z"]), "z"),
        (IntDistribution(0, 3), 2),
        (FloatDistribution(-1.0, 1.0), 0.5),
        (FloatDistribution(1.0, 2.0, log=True), 1.5),
    ]
    study = optuna.create_study(sampler=make(4, seed=0))
    study.add_trials([with_gene("p", *old) for old in kinds])
    ask_for(study, {"p": kinds[new][0], "x": FloatDistribution(0.0, 1.0)}, 6)


def with_another(trial: Trial, worth: float) -> float:
    """Return a value to which a late parameter adds, by so much for either end of its range."""
    return sphere(trial) + worth * (trial.suggest_float("late", 0.0, 8.0) - 6.0) ** 2 / 36


@pytest.mark.parametrize(
    ("kind", "worth"),
    [
        ("model-free", -1.0),
        ("model-free", 1.0),
        ("screened", 1.0),
    ],
)
def test_a_parameter_that_appears_later_is_searched(kind: str, worth: float) -> None:
    """Whether trials that have it are better or worse than those before."""
    study = run(KINDS[kind](4, seed=0), 15)
    study.optimize(lambda trial: with_another(trial, worth), n_trials=15)

    assert len({round(trial.params["late"], 6) for trial in study.trials[15:]}) > 5


@cheap
def test_a_parameter_may_vanish(make: Make) -> None:
    """An objective that no longer asks for it goes on, though all that is left was tried."""
    study = run(make(4, seed=0), 4, lambda t: stepped(t) + t.suggest_float("extra", 0, 1))
    study.optimize(stepped, n_trials=36)

    assert len(set(points(study)[4:])) == 12


@cheap
def test_not_every_trial_needs_parameters(make: Make) -> None:
    """An objective may ask in every third trial only."""
    study = run(make(4, seed=0), 12, lambda t: 0.0 if t.number % 3 else t.suggest_float("x", 0, 1))

    assert len({trial.params["x"] for trial in study.trials[::3]}) == 4


@of_every_kind
def test_parameters_may_appear_after_a_generation_without_any(make: Make) -> None:
    """Then nothing is known of the search space, though there are parents."""
    study = run(make(4, seed=0), 9, lambda trial: float(trial.number))
    study.optimize(sphere, n_trials=3)

    assert all(len(trial.params) == 3 for trial in study.trials[9:])


SINGLE: dict[str, BaseDistribution] = {
    "a": CategoricalDistribution([1]),
    "b": IntDistribution(1, 1),
    "c": IntDistribution(1, 1, log=True),
    "d": FloatDistribution(1.0, 1.0),
    "e": FloatDistribution(1.0, 1.0, log=True),
    "f": FloatDistribution(1.0, 1.0, step=1.0),
}


@of_every_kind
@pytest.mark.parametrize("others", [constant, lambda trial: 0.0])
def test_parameters_of_one_value_have_it(make: Make, others: Objective) -> None:
    """They are no search, alone or among others."""
    study = optuna.create_study(sampler=make(4, seed=0))
    for _ in range(12):
        trial = study.ask(SINGLE)
        study.tell(trial, others(trial))

    assert {trial.params[name] for trial in study.trials for name in SINGLE} == {1}


# How good it is.


def best(sampler: optuna.samplers.BaseSampler, n_trials: int) -> float:
    """Return the best value of a quadratic of a float, a logarithmic float and an integer."""

    def quadratic(trial: Trial) -> float:
        x = trial.suggest_float("x", -1.0, 1.0) - 0.3
        rate = math.log10(trial.suggest_float("rate", 1e-5, 1.0, log=True)) + 3.0
        return x**2 + rate**2 / 25 + ((trial.suggest_int("n", 1, 20) - 7) / 20) ** 2

    return run(sampler, n_trials, quadratic).best_value


@pytest.fixture(scope="module")
def random_bests() -> list[float]:
    """What random search finds in sixty trials."""
    return [best(RandomSampler(seed=seed), 60) for seed in range(5)]


def test_breeding_beats_random_search(random_bests: list[float]) -> None:
    """In sixty trials most runs are better than all random ones."""
    assert median(best(model_free(seed=seed), 60) for seed in range(5)) < min(random_bests)


def test_the_model_beats_random_search_sooner(random_bests: list[float]) -> None:
    """In forty trials every run is better than all random ones in sixty."""
    assert max(best(KINDS["screened"](seed=seed), 40) for seed in range(5)) < min(random_bests)


# Arguments, and what is not installed.


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        *(("population_size", value, TypeError) for value in (2.0, "10", None, True)),
        *(("population_size", value, ValueError) for value in (1, 0, -5)),
        *(("seed", value, TypeError) for value in (0.0, "0", True)),
        ("seed", -1, ValueError),
        *(("record", value, TypeError) for value in (0, "no", None)),
        *(("screen", value, TypeError) for value in (0, 1, "yes", np.True_)),
    ],
)
def test_a_bad_argument_is_named(name: str, value: Any, error: type[Exception]) -> None:
    """The error shows what was given; a bool is no number."""
    with pytest.raises(error, match=f"^`{name}` must be ") as raised:
        GASampler.adaptive(**{"screen": False, name: value})

    assert f"but {value!r} was given." in str(raised.value)


@pytest.mark.parametrize("value", [0, 1, "yes", None, np.True_])
def test_duplicates_are_avoided_or_not(value: Any) -> None:
    """There is nothing between True and False."""
    with pytest.raises(TypeError, match=r"^`avoid_duplicates` must be True") as raised:
        GASampler(avoid_duplicates=value)

    assert f"but {value!r} was given." in str(raised.value)


def test_options_are_given_by_name() -> None:
    """Only the population size has a place."""
    with pytest.raises(TypeError, match="positional"):
        GASampler.adaptive(10, False)  # type: ignore[call-arg]


def test_the_population_size_is_the_length_of_generation_0() -> None:
    """Two trials are enough, and more may be wanted."""
    for size in (2, 7):
        study = run(model_free(size, seed=0), 10)
        assert study.user_attrs == {"ga_population_size": size}
        assert [t.user_attrs["ga_generation"] for t in study.trials] == [
            number // size for number in range(10)
        ]
        assert bred(study)[0].number == size


@pytest.fixture
def _without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make scikit-learn look as if it were not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)


@pytest.mark.usefixtures("_without_scikit_learn")
def test_without_scikit_learn_it_warns_and_does_without() -> None:
    """The search is the one that was asked for by `screen=False`, and the caller is named."""
    with pytest.warns(UserWarning, match=r"scikit-learn.*optuna-ga\[screen\]") as warned:
        sampler = GASampler.adaptive(4, seed=0)

    assert [warning.filename for warning in warned] == [__file__]
    assert story(run(sampler, 12, mixed)) == story(run(model_free(4, seed=0), 12, mixed))


@pytest.mark.usefixtures("_without_scikit_learn")
def test_the_refusal_says_what_to_install() -> None:
    """The error names the extra."""
    with pytest.raises(ImportError, match=r"optuna-ga\[screen\]"):
        GASampler.adaptive(screen=True)


def test_the_model_is_used_where_it_is_installed() -> None:
    """Nothing else has to be said."""
    default, screened = (
        run(make(4, seed=0), 8) for make in (GASampler.adaptive, KINDS["screened"])
    )

    assert story(default) == story(screened)


MODEL_FREE = """
import sys, optuna
from optuna_ga import GASampler

for sampler in (GASampler.adaptive(2, screen=False), GASampler(2, parent_fraction=1.0)):
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=6)
print({"scipy", "sklearn"} & set(sys.modules))
"""


def test_without_a_model_neither_scipy_nor_scikit_learn_is_imported() -> None:
    """They are not even looked at, and need not be installed."""
    output = subprocess.run(
        [sys.executable, "-c", MODEL_FREE], capture_output=True, check=True, text=True, timeout=120
    ).stdout

    assert output == "set()\n"

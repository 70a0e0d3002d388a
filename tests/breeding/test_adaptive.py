"""The adaptive sampler: its first generation, its parents, how good it is, its arguments."""

from __future__ import annotations

import math
import string
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import optuna
import pytest
from optuna import Trial
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler

from optuna_ga import GASampler
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.surrogate import Surrogate
from tests.breeding.samplers import (
    KINDS,
    Make,
    adaptive,
    ask_together,
    choice,
    model_free,
    of_every_kind,
    tuned,
)
from tests.studies import bred, parents, run, sphere, story


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
    """Each tenth of a range, on the range's own scale, holds one of ten trials."""
    study = optuna.create_study(sampler=make(10, seed=0))
    trials = [study.ask({"gene": gene, "other": FloatDistribution(0.0, 1.0)}) for _ in range(10)]

    assert sorted(math.floor(share(t.params["gene"])) for t in trials) == list(range(10))


@adaptive
@pytest.mark.parametrize(("choices", "counts"), [("ab", {5}), ("abcde", {2}), ("abc", {3, 4})])
def test_generation_0_has_every_choice_as_often(
    make: Make, choices: str, counts: set[int]
) -> None:
    """Each choice has the same number of trials, or one more where the division leaves a rest."""
    study = run(make(10, seed=0), 10, lambda trial: sphere(trial) + 0.0 * choice(trial, choices))
    found = Counter(trial.params["choice"] for trial in study.trials)

    assert set(found.values()) == counts


def test_parameters_of_generation_0_are_independent() -> None:
    """No two parameters order the trials alike, as they would if they shared their strata."""
    study = run(model_free(30, seed=0), 30)
    columns = np.array([list(trial.params.values()) for trial in study.trials]).T

    assert np.abs(np.corrcoef(columns) - np.eye(3)).max() < 0.5


@adaptive
def test_parents_are_finished_trials_from_the_fittest_on(make: Make) -> None:
    """Parents are recorded from generation 1 on as ints, the fittest first, and none twice."""
    study = run(make(5, seed=0), 20)
    for trial in bred(study):
        values = [study.trials[number].value for number in parents(trial)]
        assert values == sorted(values, key=lambda value: value or 0.0)
        assert all(type(number) is int and number < trial.number for number in parents(trial))
        assert len(set(parents(trial))) == len(values) > 0

    assert [t.number for t in bred(study)][:1] == [5]
    assert len(bred(study)) > 8


def test_a_running_trial_is_no_parent() -> None:
    """A trial is bred from finished trials alone."""
    study = run(model_free(4, seed=0), 6)
    running = [trial.number for trial, _ in ask_together(study, 3, sphere)]
    study.optimize(sphere, n_trials=12)

    assert not {number for trial in bred(study) for number in parents(trial)} & set(running)


def test_a_late_better_result_becomes_a_parent() -> None:
    """A result counts from the next trial on, whatever generation it belongs to."""
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
    """Return a value that depends on choices alone, of which there are many."""
    return float(sum(choice(trial, string.ascii_letters, name) for name in "xyz"))


@of_every_kind
def test_choices_that_no_parent_has_are_recorded_as_mutated(make: Make) -> None:
    """Freshly drawn choices are recorded, in the order of the alphabet."""
    trials = run(make(5, seed=0), 40, chosen).trials
    n_strange = n_recorded = 0
    for trial in filter(parents, trials):
        given = [trials[number].params for number in parents(trial)]
        strange = {n for n in "xyz" if trial.params[n] not in [params[n] for params in given]}
        recorded = trial.user_attrs.get("ga_mutated", [])
        assert strange <= set(recorded) and recorded == sorted(recorded)
        n_strange, n_recorded = n_strange + len(strange), n_recorded + len(recorded)

    assert n_strange > 0.7 * n_recorded > 5


def best(sampler: optuna.samplers.BaseSampler, n_trials: int) -> float:
    """Return the best value of a quadratic of a float, a logarithmic float and an integer."""

    def quadratic(trial: Trial) -> float:
        x = trial.suggest_float("x", -1.0, 1.0) - 0.3
        rate = math.log10(trial.suggest_float("rate", 1e-5, 1.0, log=True)) + 3.0
        return x**2 + rate**2 / 25 + ((trial.suggest_int("n", 1, 20) - 7) / 20) ** 2

    return run(sampler, n_trials, quadratic).best_value


@pytest.fixture(scope="module")
def random_bests() -> list[float]:
    """The best values of random search after sixty trials."""
    return [best(RandomSampler(seed=seed), 60) for seed in range(5)]


def test_breeding_beats_random_search(random_bests: list[float]) -> None:
    """After sixty trials most runs are better than every random run."""
    assert median(best(model_free(seed=seed), 60) for seed in range(5)) < min(random_bests)


def test_the_model_beats_random_search_sooner(random_bests: list[float]) -> None:
    """After forty trials every run is better than every random run after sixty."""
    assert max(best(KINDS["screened"](seed=seed), 40) for seed in range(5)) < min(random_bests)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        *(("population_size", value, TypeError) for value in (2.0, "10", None, True)),
        *(("population_size", value, ValueError) for value in (1, 0, -5)),
        *(("seed", value, TypeError) for value in (0.0, "0", True)),
        ("seed", -1, ValueError),
        *(("record", value, TypeError) for value in (0, "no", None)),
        *(("surrogate", value, TypeError) for value in (0, 1, "yes", np.True_)),
    ],
)
def test_a_bad_argument_is_named(name: str, value: Any, error: type[Exception]) -> None:
    """The error shows the value that was given; a bool is no number."""
    with pytest.raises(error, match=f"^`{name}` must be ") as raised:
        GASampler.adaptive(**{"surrogate": False, name: value})

    assert f"but {value!r} was given." in str(raised.value)


def test_options_are_given_by_name() -> None:
    """Only the population size may be given by position."""
    with pytest.raises(TypeError, match="positional"):
        GASampler.adaptive(10, False)  # type: ignore[call-arg]


def test_the_population_size_is_the_length_of_generation_0() -> None:
    """Two trials are enough for a generation, and so are seven."""
    for size in (2, 7):
        study = run(model_free(size, seed=0), 10)
        assert study.user_attrs["ga_population_size"] == size
        assert [t.user_attrs["ga_generation"] for t in study.trials] == [
            number // size for number in range(10)
        ]
        assert bred(study)[0].number == size


def needle(trial: Trial) -> float:
    """Return the distance from a point if it is small, else 1."""
    x, y = (trial.suggest_float(name, 0.0, 1.0) for name in "xy")
    return min(1.0, 7 * math.dist((x, y), (0.7, 0.2)))


def rarely_feasible(trial: Trial) -> float:
    """Return a value that says nothing of where the small feasible region is."""
    value = needle(trial)
    trial.set_constraint("c", 1.0 if value == 1.0 else -1.0)
    return float(trial.params["x"])


def rarely_finite(trial: Trial) -> tuple[float, float]:
    """Return two infinite values, or two finite ones near a point."""
    value = needle(trial)
    return (math.inf, math.inf) if value == 1.0 else (value, -value)


@adaptive
@pytest.mark.parametrize(
    ("objective", "n_objectives"), [(needle, 1), (rarely_feasible, 1), (rarely_finite, 2)]
)
def test_trials_are_random_while_all_are_equally_fit(
    make: Make, objective: Callable[[Trial], Any], n_objectives: int
) -> None:
    """Then no trial says where to search; from the first that differs on, trials are bred."""
    study = run(make(4, seed=2), 40, objective, directions=["minimize"] * n_objectives)
    found = next(t.number for t in study.trials if 7 * math.dist(points_of(t), (0.7, 0.2)) < 1)
    genes = sorted(t.params["x"] for t in study.trials[4 : found + 1])

    assert found == 18
    assert all(trial.number > found for trial in bred(study))
    assert bred(study)[0].number == found + 1
    assert max(np.diff([0.0, *genes, 1.0])) < 0.3


def points_of(trial: optuna.trial.FrozenTrial) -> tuple[float, float]:
    """Return the two parameters of a trial."""
    return trial.params["x"], trial.params["y"]


def test_a_model_chooses_by_default() -> None:
    """`surrogate=True` need not be said."""
    default, screened = (
        run(make(4, seed=0), 8) for make in (GASampler.adaptive, KINDS["screened"])
    )

    assert story(default) == story(screened)


@pytest.mark.parametrize("n_parameters", [3, 25])
def test_the_model_chooses_once_there_are_as_many_trials_as_parameters(
    n_parameters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before that, with four in five trials due for it, it is never asked."""
    known = []

    def rating(
        _: Surrogate, matrix: TrialMatrix, running: np.ndarray
    ) -> Callable[[np.ndarray], np.ndarray]:
        known.append(len(matrix))
        return lambda candidates: np.zeros(len(candidates))

    monkeypatch.setattr(Surrogate, "rating", rating)
    study = optuna.create_study(sampler=GASampler.adaptive(4, seed=0))
    study.optimize(
        lambda trial: sum(trial.suggest_float(f"x{i}", 0, 1) for i in range(n_parameters)), 40
    )

    assert max(4, n_parameters) <= known[0] < n_parameters + 5
    assert len(known) > 0.6 * (40 - n_parameters)


MODEL_FREE = """
import sys, optuna
from optuna_ga import GASampler

for sampler in (GASampler.adaptive(2, surrogate=False), GASampler(2, parent_fraction=1.0)):
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=6)
print("scipy" in sys.modules)
"""


def test_without_a_model_scipy_is_not_imported() -> None:
    """It is slow to import, and only the model needs it."""
    output = subprocess.run(
        [sys.executable, "-c", MODEL_FREE], capture_output=True, check=True, text=True, timeout=120
    ).stdout

    assert output == "False\n"


def all_fresh() -> GASampler:
    """Return a sampler all of whose genes are drawn afresh from generation 1 on."""
    return tuned(model_free(4, seed=0), fresh_prob=1.0, fresh_choice_prob=1.0)


def test_a_given_gene_is_not_recorded_as_mutated() -> None:
    """The trial's other genes are."""
    study = run(all_fresh(), 8)
    study.enqueue_trial({"y": 0.25})
    study.optimize(lambda trial: sum(trial.suggest_float(n, -1.0, 1.0) ** 2 for n in "xyz"), 1)

    assert study.trials[7].user_attrs["ga_mutated"] == ["x", "y", "z"]
    assert study.trials[8].user_attrs["ga_mutated"] == ["x", "z"]


def branching(trial: Trial) -> float:
    """Return a value of one of two numbers, each of a branch of its own."""
    name = trial.suggest_categorical("branch", ["x", "y"])
    return trial.suggest_float(name, 0.0, 1.0)


def test_genes_of_another_branch_are_not_recorded_as_mutated() -> None:
    """Though a child has a gene for every known parameter."""
    study = optuna.create_study(sampler=all_fresh())
    for branch in "xy" * 3:
        study.enqueue_trial({"branch": branch})
    study.optimize(branching, n_trials=18)

    assert {trial.params["branch"] for trial in study.trials[6:]} == {"x", "y"}
    for trial in study.trials[6:]:
        assert trial.user_attrs["ga_mutated"] == sorted(trial.params)

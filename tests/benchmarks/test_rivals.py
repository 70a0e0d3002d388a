"""Optimizers of other packages as Optuna samplers, for one objective."""

from __future__ import annotations

from statistics import median
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

from benchmarks.samplers import RIVALS, SAMPLERS, Factory, Search
from benchmarks.suites.study import run_study
from tests.benchmarks.suites.objectives import Mixed, Sphere

# NGOpt gives COBYLA a radius or a budget that it refuses, and COBYLA says that it takes its own.
pytestmark = pytest.mark.filterwarnings("ignore:COBYLA. Invalid:UserWarning")
each_rival = pytest.mark.parametrize(
    "rival", ["de", "ngopt", "hyperopt", pytest.param("smac", marks=pytest.mark.slow)]
)


def test_no_rival_is_left_out() -> None:
    """Each is tested here."""
    assert set(RIVALS) == {"ngopt", "hyperopt", "smac"}


def factory(rival: str) -> Factory:
    """Return the factory of a rival."""
    return {**SAMPLERS, **RIVALS}[rival]


def trials_of(rival: str, objective: Any, n_trials: int, seed: int) -> list[FrozenTrial]:
    """Return the trials of a study."""
    sampler = factory(rival)(Search(seed, n_trials=n_trials, space=objective.space))
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=n_trials)
    return study.trials


@each_rival
def test_a_rival_depends_on_its_seed_alone(rival: str) -> None:
    """Within a process the same seed gives the same trials, and another seed gives others."""
    first, again, other = (
        [trial.params for trial in trials_of(rival, Mixed(), 30, seed)] for seed in (3, 3, 4)
    )

    assert first == again
    assert first != other


@each_rival
def test_a_rival_stays_in_the_search_space(rival: str) -> None:
    """All kinds of parameters stay in range, and every choice occurs."""
    trials = trials_of(rival, Mixed(), 60, 0)

    assert {trial.params["kind"] for trial in trials} == {"a", None, 3}
    for trial in trials:
        assert ("deep" in trial.params) == (trial.params["kind"] == "a")
        for name, value in trial.params.items():
            distribution = Mixed.space[name]
            assert distribution._contains(distribution.to_internal_repr(value))
            assert type(value) is type(
                distribution.to_external_repr(distribution.to_internal_repr(value))
            )


@each_rival
def test_a_rival_goes_on_after_failed_trials(rival: str) -> None:
    """With eight workers, and without a warning."""
    search = Search(0, n_trials=40, n_workers=8, space=Sphere.space)
    outcome = run_study(Sphere(failing=range(0, 40, 3)), factory(rival)(search), 40, 8)

    assert outcome.best[40] < 60.0


@each_rival
def test_a_rival_learns(rival: str) -> None:
    """The last trials on a sphere in five dimensions are better than random trials."""
    n_trials = 200 if rival == "de" else 100
    search = Search(0, n_trials=n_trials, space=Sphere.space)
    random = median(values_of(RandomSampler(seed=0), 200))

    assert median(values_of(factory(rival)(search), n_trials)[-20:]) < 0.7 * random


@pytest.mark.parametrize("seed", range(3))
def test_differential_evolution_beats_random_search(seed: int) -> None:
    """The objective is a sphere in five dimensions, with 200 trials."""
    search = Search(seed, n_trials=200, space=Sphere.space)
    evolved = run_study(Sphere(), factory("de")(search), 200, 1)
    random = run_study(Sphere(), RandomSampler(seed=seed), 200, 1)

    assert evolved.best[200] < random.best[200]


@each_rival
def test_a_parameter_may_have_one_value(rival: str) -> None:
    """Optuna asks no sampler for it."""
    space: dict[str, BaseDistribution] = {
        "x": FloatDistribution(0.0, 1.0),
        "same": FloatDistribution(2.0, 2.0),
        "only": IntDistribution(3, 3),
        "kind": CategoricalDistribution(("a",)),
    }
    study = optuna.create_study(sampler=factory(rival)(Search(0, n_trials=5, space=space)))
    for _ in range(5):
        study.tell(study.ask(space), 0.0)

    assert {trial.params["only"] for trial in study.trials} == {3}


def values_of(sampler: BaseSampler, n_trials: int) -> list[float]:
    """Return the values of a study's trials on a sphere, in their order."""
    study = optuna.create_study(sampler=sampler)
    study.optimize(Sphere(), n_trials=n_trials)
    return [trial.values[0] for trial in study.trials]

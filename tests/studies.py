"""Small studies to test with, and the rules of generations in their plainest form."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import optuna
from optuna import Study, Trial
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import GASampler
from tests import oracles

parents = oracles.parents

OpenDatabase = Callable[[], BaseStorage]
Objective = Callable[[Trial], float]
Story = list[tuple[int, TrialState, dict[str, Any], list[float] | None, dict[str, Any]]]


def sphere(trial: Trial) -> float:
    """Return the squared distance of three genes from the origin."""
    return sum(trial.suggest_float(name, -1.0, 1.0) ** 2 for name in "xyz")


def bad_by_chance(trial: Trial) -> float:
    """Return the sphere's value, of every sixth trial a bad one."""
    value = sphere(trial)
    return 3.0 + value if trial.number % 6 == 5 else value


def constant(trial: Trial) -> float:
    """Return 0 whatever the three genes are."""
    return 0.0 * sphere(trial)


def run(
    sampler: BaseSampler,
    n_trials: int,
    objective: Callable[[Trial], float | Sequence[float]] = sphere,
    **options: Any,
) -> Study:
    """Return a study after this many trials; the options are those of `create_study`."""
    study = optuna.create_study(sampler=sampler, **options)
    study.optimize(objective, n_trials=n_trials)
    return study


def overtaken(sampler: BaseSampler, storage: InMemoryStorage | None = None) -> Study:
    """Return a study whose best trial, 3, finished after generation 1 had."""
    study = optuna.create_study(sampler=sampler, storage=storage)
    trials = [study.ask() for _ in range(4)]
    for trial in trials[:3]:
        study.tell(trial, sphere(trial))
    study.optimize(sphere, n_trials=4)
    sphere(trials[3])
    study.tell(trials[3], -1.0)
    return study


def story(study: Study) -> Story:
    """Return a study's trials without their ids and times."""
    return [(t.number, t.state, t.params, t.values, t.user_attrs) for t in study.trials]


def bred(study: Study) -> list[FrozenTrial]:
    """Return the trials that have parents."""
    return [trial for trial in study.trials if parents(trial)]


def fresh_genes(study: Study, name: str) -> list[Any]:
    """Return the values of a parameter that trials have from neither parent."""
    trials = study.trials
    return [
        trial.params[name]
        for trial in trials
        if trial.params[name] not in [trials[number].params[name] for number in parents(trial)]
    ]


def of_four(**options: Any) -> GASampler:
    """Return a sampler with four trials in a generation, whose parents are the best two."""
    return GASampler(4, seed=0, **options)


def added(value: float | None = None, **options: Any) -> FrozenTrial:
    """Return a finished trial to add to a study, whose gene `x` is 0.5 unless given."""
    return optuna.create_trial(
        value=value,
        params={"x": options.pop("x", 0.5)},
        distributions={"x": FloatDistribution(0.0, 1.0)},
        **options,
    )


failed = partial(added, state=TrialState.FAIL)
pruned = partial(added, state=TrialState.PRUNED)


def study_with(*history: FrozenTrial, direction: Any = "minimize", **options: Any) -> Study:
    """Return a study whose next trial is one of the four after these."""
    study = optuna.create_study(sampler=of_four(**options), direction=direction)
    study.add_trials(history)
    return study


def next_parents(study: Study) -> set[int]:
    """Return the parents of a new trial that suggests the gene `x`."""
    trial = study.ask()
    trial.suggest_float("x", 0.0, 1.0)
    return set(parents(study.trials[trial.number]))


def parents_by_the_rules(
    trials: Sequence[FrozenTrial],
    number: int,
    *,
    population_size: int,
    n_parents: int,
    elitism: bool = False,
    maximize: bool = False,
    unfinished: Mapping[int, Collection[int]] | None = None,
) -> list[int]:
    """Return the numbers of the trials that may be parents of trial `number`."""
    pool = oracles.pool(trials, number, population_size, elitism, unfinished=unfinished)
    usable = [trial for trial in pool if oracles.usable(trial)]
    usable.sort(key=lambda trial: oracles.fitness(trial, maximize))
    return [trial.number for trial in usable[:n_parents]]


def assert_parents_by_the_rules(study: Study, first: int, **rules: Any) -> None:
    """Assert that each trial from `first` on has the two parents that the rules name."""
    trials, rules = study.trials, {"population_size": 4, "n_parents": 2, **rules}
    for trial in trials[first:]:
        assert set(parents(trial)) == set(parents_by_the_rules(trials, trial.number, **rules))

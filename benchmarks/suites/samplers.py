"""The samplers that are compared on the suites, and how far those go that take too long.

OptunaHub's AutoSampler is none of them: its package on PyPI only loads samplers from GitHub.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.samplers.nsgaii import PolynomialMutation, SBXCrossover

from benchmarks.suites.task import Objective
from optuna_ga import AdaptiveSettings, GASampler

Factory = Callable[[int, Objective, int], BaseSampler]


class Limit(NamedTuple):
    """The most trials and seeds of a sampler."""

    n_trials: int
    n_seeds: int


def _nsga2_sbx(seed: int) -> BaseSampler:
    return NSGAIISampler(
        population_size=20, crossover=SBXCrossover(), mutation=PolynomialMutation(), seed=seed
    )


def _qmc(seed: int) -> BaseSampler:
    return QMCSampler(
        scramble=True,
        seed=seed,
        warn_asynchronous_seeding=False,  # It has a seed.
        warn_independent_sampling=False,
    )


def _de(seed: int, objective: Objective, n_trials: int) -> BaseSampler:
    # Imported here: Nevergrad takes seconds.
    from benchmarks.suites.differential_evolution import DESampler

    return DESampler(objective.space, n_trials=n_trials, seed=seed)


def _adaptive(screen: bool = True, **changes: Any) -> Factory:
    """Return a factory of the adaptive sampler with other settings, which users cannot change."""

    def factory(seed: int, *_: object) -> BaseSampler:
        settings = GASampler.adaptive(screen=screen, seed=seed).settings
        assert isinstance(settings, AdaptiveSettings)
        tuning = replace(settings.tuning, **changes)
        return GASampler.from_settings(replace(settings, tuning=tuning))

    return factory


# With their defaults, but for what the name says; each from seed, objective and number of trials.
SAMPLERS: Mapping[str, Factory] = {
    "random": lambda seed, *_: RandomSampler(seed=seed),
    "qmc": lambda seed, *_: _qmc(seed),
    "tpe": lambda seed, *_: TPESampler(seed=seed),
    "cmaes": lambda seed, *_: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "gp": lambda seed, *_: GPSampler(seed=seed, warn_independent_sampling=False),
    "de": _de,
    "nsga2": lambda seed, *_: NSGAIISampler(seed=seed),
    "nsga2-sbx": lambda seed, *_: _nsga2_sbx(seed),
    "ga": lambda seed, *_: GASampler(seed=seed),
    "ga-elitism": lambda seed, *_: GASampler(elitism=True, seed=seed),
    "adaptive-model-free": lambda seed, *_: GASampler.adaptive(screen=False, seed=seed),
    "adaptive": lambda seed, *_: GASampler.adaptive(screen=True, seed=seed),
}

# What `adaptive` would be with one of its settings changed, with and without its model, and the
# paper's algorithm without and with its option; to be compared on the tasks for tuning.
ABLATIONS: Mapping[str, Factory] = {
    "5-parents": _adaptive(n_parents=5),
    "14-parents": _adaptive(n_parents=14),
    "64-candidates": _adaptive(n_candidates=64),
    "all-screened": _adaptive(unscreened_prob=0.0),
    "quantile-0.1": _adaptive(warp_quantile=0.1),
    "no-affine": _adaptive(step_prob=1.0),
    "no-steps": _adaptive(step_prob=0.0),
    "spread-unscaled": _adaptive(log_spread=(0.0, 0.0)),
    "no-fresh-genes": _adaptive(fresh_prob=0.0, fresh_choice_prob=0.0),
    "model-free": SAMPLERS["adaptive-model-free"],
    "model-free-no-affine": _adaptive(screen=False, step_prob=1.0),
    "model-free-no-steps": _adaptive(screen=False, step_prob=0.0),
    "population-20": lambda seed, *_: GASampler.adaptive(20, screen=True, seed=seed),
    "ga": SAMPLERS["ga"],
    "ga-avoid-duplicates": lambda seed, *_: GASampler(avoid_duplicates=True, seed=seed),
}

# By suite and sampler. A trial takes `gp` 60 to 900 times as long as `random`.
LIMITS: Mapping[tuple[str, str], Limit] = {
    ("bbob", "gp"): Limit(n_trials=100, n_seeds=1),
    ("bbob-mixint", "gp"): Limit(n_trials=100, n_seeds=1),
    ("discrete", "gp"): Limit(n_trials=100, n_seeds=20),
    ("conditional", "gp"): Limit(n_trials=100, n_seeds=20),
    ("sklearn-hpo", "gp"): Limit(n_trials=100, n_seeds=20),
    ("fashion-mnist-table", "gp"): Limit(n_trials=200, n_seeds=50),
}

"""The samplers that are compared: one table of names and factories for all benchmarks.

Each sampler has its defaults, but for what its name says. OptunaHub's AutoSampler is none of them:
its package on PyPI only loads samplers from GitHub.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.samplers.nsgaii import PolynomialMutation, SBXCrossover

from optuna_ga import AdaptiveSettings, GASampler


@dataclass(frozen=True)
class Search:
    """The study that a sampler is made for.

    Attributes:
        seed: Seed of the sampler.
        population_size: Trials in a generation; None takes each sampler's default.
        n_trials: Trials of the study, for Nevergrad and SMAC alone.
        n_workers: Trials that run at a time, for NGOpt alone.
        space: Every parameter that a trial may have, for samplers of other packages alone.
        n_objectives: The number of objectives, for pymoo alone.
    """

    seed: int
    population_size: int | None = None
    n_trials: int = 1
    n_workers: int = 1
    space: Mapping[str, BaseDistribution] = field(default_factory=dict)
    n_objectives: int = 1

    @property
    def population(self) -> dict[str, Any]:
        """The arguments of a sampler that has generations."""
        generation = {"population_size": self.population_size}
        return {"seed": self.seed} | (generation if self.population_size else {})


Factory = Callable[[Search], BaseSampler]


def _nsga2_sbx(search: Search) -> BaseSampler:
    return NSGAIISampler(
        population_size=20,
        crossover=SBXCrossover(),
        mutation=PolynomialMutation(),
        seed=search.seed,
    )


def _qmc(search: Search) -> BaseSampler:
    return QMCSampler(
        scramble=True,
        seed=search.seed,
        warn_asynchronous_seeding=False,  # It has a seed.
        warn_independent_sampling=False,
    )


# The packages of the rivals take seconds to import.
def _de(search: Search) -> BaseSampler:
    from benchmarks.rivals.nevergrad import DESampler

    return DESampler(search.space, n_trials=search.n_trials, seed=search.seed)


def _ngopt(search: Search) -> BaseSampler:
    from benchmarks.rivals.nevergrad import NGOptSampler

    return NGOptSampler(
        search.space, n_trials=search.n_trials, n_workers=search.n_workers, seed=search.seed
    )


def _pymoo(algorithm: str, **options: Any) -> Factory:
    def factory(search: Search) -> BaseSampler:
        from benchmarks.rivals.pymoo import PymooSampler

        return PymooSampler(
            algorithm, search.space, search.n_objectives, seed=search.seed, **options
        )

    return factory


SAMPLERS: Mapping[str, Factory] = {
    "random": lambda search: RandomSampler(seed=search.seed),
    "qmc": _qmc,
    "tpe": lambda search: TPESampler(seed=search.seed),
    "cmaes": lambda search: CmaEsSampler(
        seed=search.seed, popsize=search.population_size, warn_independent_sampling=False
    ),
    "gp": lambda search: GPSampler(seed=search.seed, warn_independent_sampling=False),
    "de": _de,
    "nsga2": lambda search: NSGAIISampler(**search.population),
    "nsga2-sbx": _nsga2_sbx,
    "ga": lambda search: GASampler(**search.population),
    "ga-elitism": lambda search: GASampler(**search.population, elitism=True),
    "adaptive-model-free": lambda search: GASampler.adaptive(**search.population, surrogate=False),
    "adaptive": lambda search: GASampler.adaptive(**search.population),
}
# With several objectives.
SEVERAL_SAMPLERS: Mapping[str, Factory] = {
    **{name: SAMPLERS[name] for name in ("random", "qmc", "tpe", "gp", "nsga2", "nsga2-sbx")},
    "nsga3": lambda search: NSGAIIISampler(**search.population),
    "pymoo-nsga2": _pymoo("NSGA2"),
    "pymoo-sms-emoa": _pymoo("SMSEMOA", n_offsprings=1),
    **{name: SAMPLERS[name] for name in ("ga", "ga-elitism", "adaptive-model-free", "adaptive")},
}
# On the paper's problem, where a trial is a training: the sampler to use, the paper's algorithm,
# and what that claims to beat.
PAPER_SAMPLERS = ("adaptive", "ga", "random", "tpe")


def _smac(search: Search) -> BaseSampler:
    from benchmarks.rivals.smac import SMACSampler

    return SMACSampler(search.space, n_trials=search.n_trials, seed=search.seed)


def _hyperopt(search: Search) -> BaseSampler:
    from benchmarks.rivals.hyperopt import HyperoptSampler

    return HyperoptSampler(search.space, seed=search.seed)


def _adaptive(
    surrogate: bool = True, later: Mapping[str, Any] | None = MappingProxyType({}), **changes: Any
) -> Factory:
    """Return a factory of the adaptive sampler with some of its tuning changed.

    Args:
        surrogate: Whether a model chooses.
        later: What is changed in the later stage alone; None: there is no such stage.
        changes: What is changed in both stages.
    """

    def factory(search: Search) -> BaseSampler:
        settings = GASampler.adaptive(surrogate=surrogate, seed=search.seed).settings
        assert isinstance(settings, AdaptiveSettings)
        tuning = replace(settings.constants, **changes)
        if later is None:
            tuning = replace(tuning, later=None)
        elif tuning.later is not None:
            tuning = replace(tuning, later=replace(tuning.later, **{**changes, **later}))
        return GASampler.from_settings(replace(settings, tuning=tuning))

    return factory


# `adaptive` without its later stage, and with one of that stage's settings as in the first.
STAGES: Mapping[str, Factory] = {
    "one-stage": _adaptive(later=None),
    "no-principal-axes": _adaptive(later={"principal_axes": False}),
    "no-quadratic": _adaptive(later={"quadratic_prob": 0.0}),
    "unwidened-spread": _adaptive(later={"log_spread": (-1.0, 0.3)}),
    "unraised-quantile": _adaptive(later={"warp_quantile": 0.3}),
}
# Optimizers that people use instead of Optuna, for one objective and spaces without conditions.
RIVALS: Mapping[str, Factory] = {
    "ngopt": _ngopt,
    "hyperopt": _hyperopt,
    "smac": _smac,
}
# `adaptive` with one of its settings changed, with and without its model, and the paper's
# algorithm without and with its option.
ABLATIONS: Mapping[str, Factory] = {
    "5-parents": _adaptive(n_parents=5),
    "14-parents": _adaptive(n_parents=14),
    "64-candidates": _adaptive(n_candidates=64),
    "all-screened": _adaptive(unscreened_prob=0.0),
    "model-at-once": _adaptive(trials_per_parameter=0.0),
    "unmagnified": _adaptive(magnify=False),
    "seldom-fitted": _adaptive(refit_growth=1.25),
    "quantile-0.1": _adaptive(warp_quantile=0.1),
    "no-failure-outliers": _adaptive(max_failure_residual=math.inf),
    "no-loss-outliers": _adaptive(max_loss_residual=math.inf),
    "unlimited-losses": _adaptive(max_loss_ratio=math.inf),
    "no-affine": _adaptive(step_prob=1.0),
    "no-steps": _adaptive(step_prob=0.0),
    "spread-unscaled": _adaptive(log_spread=(0.0, 0.0)),
    "no-fresh-genes": _adaptive(fresh_prob=0.0, fresh_choice_prob=0.0),
    "model-free": SAMPLERS["adaptive-model-free"],
    "model-free-no-affine": _adaptive(surrogate=False, step_prob=1.0),
    "model-free-no-steps": _adaptive(surrogate=False, step_prob=0.0),
    "population-20": lambda search: GASampler.adaptive(20, seed=search.seed),
    "ga": SAMPLERS["ga"],
    "ga-avoid-duplicates": lambda search: GASampler(avoid_duplicates=True, seed=search.seed),
}

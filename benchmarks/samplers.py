"""The samplers that are compared, as a table of names and factories."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)

from optuna_ga import GASampler

Factory = Callable[[int], BaseSampler]


def samplers(population_size: int) -> Mapping[str, Factory]:
    """Return the factories, each of which makes a sampler from a seed.

    Args:
        population_size: Trials in a generation, for those that have generations.
    """
    return {
        "ga": lambda seed: GASampler(population_size, seed=seed),
        "random": lambda seed: RandomSampler(seed=seed),
        "tpe": lambda seed: TPESampler(seed=seed),
    }


# With their defaults, but for what the name says.
ALL: Mapping[str, Factory] = {
    "ga": lambda seed: GASampler(seed=seed),
    "ga-elitism": lambda seed: GASampler(elitism=True, seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(seed=seed),
    "nsga2-20": lambda seed: NSGAIISampler(population_size=20, seed=seed),
    "cmaes": lambda seed: CmaEsSampler(seed=seed),
    "gp": lambda seed: GPSampler(seed=seed),
}

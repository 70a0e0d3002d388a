"""Suite `pruned`: learning curves in closed form, which one of Optuna's pruners cuts short.

A trial reports its loss after each step with a little noise, and most trials are pruned. Curves
are `even` if all settings learn equally fast, so that an early report tells the last. They `cross`
if settings with low learning rates learn slowly, so that some that begin badly end well. The last
loss is 0 at the best point, which the seed moves. Nothing may be tuned on the curves of boosting,
but on those of a network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple
from zlib import crc32

import numpy as np
import optuna
from optuna import Trial
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, SuccessiveHalvingPruner

from benchmarks.suites.task import Params, Space, Suite, Task, suggested_branch

STEPS = 27
START = 3.0  # The loss before the first step.
NOISE = 0.01
SPEED = 0.25  # The share of what is left to learn that is learnt in a step, of even curves.


class Learner(NamedTuple):
    """What is tuned.

    Attributes:
        space: Every parameter that a trial may have.
        cost: The last loss at parameters, 0 at the best point; only in the worst corners of some
            seeds above `START`, where curves rise.
        rate: The decimal logarithm of the learning rate at parameters, less that of the best.
    """

    space: Space
    cost: Callable[[Params], float]
    rate: Callable[[Params], float]


class Curves:
    """The losses of a learner, step by step.

    Args:
        learner: What is tuned.
        pruner: Ends trials early.
        noise_seed: Seed of the noise of reports.
        crossing: Whether low learning rates learn slowly.
    """

    def __init__(
        self, learner: Learner, pruner: BasePruner, noise_seed: int, *, crossing: bool
    ) -> None:
        self.space = learner.space
        self.pruner = pruner
        self._learner = learner
        self._noise_seed = noise_seed
        self._crossing = crossing

    def __call__(self, trial: Trial) -> float:
        """Return the last loss.

        Raises:
            optuna.TrialPruned: If the pruner ends the trial before its last step.
        """
        params = suggested_branch(trial, self.space)
        noise = np.random.default_rng((self._noise_seed, trial.number)).normal(0, NOISE, STEPS)
        losses = (self.losses(params) + noise).tolist()
        for step, loss in enumerate(losses, start=1):
            trial.report(loss, step)
            if step < STEPS and trial.should_prune():
                raise optuna.TrialPruned
        return float(losses[-1])

    def losses(self, params: Params) -> np.ndarray:
        """Return the losses `(STEPS,)` without noise, of which the last is the cost."""
        cost = self._learner.cost(params)
        speed = SPEED * 10 ** (self._learner.rate(params) / 2) if self._crossing else SPEED
        left = np.exp(-speed * np.arange(1, STEPS + 1))
        left = (left - left[-1]) / (1 - left[-1])
        return np.asarray(cost + (START - cost) * left)

    def score(self, params: Params) -> float:
        """Return the last loss without noise."""
        return self._learner.cost(params)


def network(rng: np.random.Generator) -> Learner:
    """Return a network, whose best learning rate depends on the optimizer."""
    optimizers = {"adam": 0.0, "rmsprop": -0.3, "sgd": 1.0}
    costs: dict[str, float] = dict(
        zip(optimizers, rng.permutation([0.0, 0.02, 0.05]).tolist(), strict=True)
    )
    rate, decay = rng.uniform((-4, -6), (-1.5, -2)).tolist()
    dropout, layers = float(rng.uniform(0.1, 0.6)), int(rng.integers(2, 8))

    def off(params: Params) -> float:
        return float(math.log10(params["rate"]) - rate - optimizers[params["optimizer"]])

    def cost(params: Params) -> float:
        found = 0.15 * min(off(params) ** 2, 4) + costs[params["optimizer"]]
        found += 0.01 * (math.log10(params["decay"]) - decay) ** 2
        found += 0.5 * (params["dropout"] - dropout) ** 2
        return float(found + 0.01 * (params["layers"] - layers) ** 2)

    space: Space = {
        "rate": FloatDistribution(1e-6, 1, log=True),
        "decay": FloatDistribution(1e-8, 0.1, log=True),
        "dropout": FloatDistribution(0, 0.8),
        "layers": IntDistribution(1, 8),
        "optimizer": CategoricalDistribution([*optimizers]),
    }
    return Learner(space, cost, off)


def boosting(rng: np.random.Generator) -> Learner:
    """Return boosted trees, which grow by depth or by leaves."""
    costs = dict(zip(("deep", "wide"), rng.permutation([0.0, 0.1]).tolist(), strict=True))
    shrinkage, penalty, leaves = rng.uniform((-2.2, -2, 3), (-0.7, 1, 7)).tolist()
    rows, depth = float(rng.uniform(0.5, 0.9)), int(rng.integers(3, 10))

    def off(params: Params) -> float:
        return float(math.log10(params["shrinkage"]) - shrinkage)

    def cost(params: Params) -> float:
        found = 0.3 * min(off(params) ** 2, 4) + costs[params["growth"]]
        found += 0.02 * (math.log10(params["penalty"]) - penalty) ** 2
        found += (params["rows"] - rows) ** 2
        if params["growth"] == "deep":
            return float(found + 0.01 * (params["deep_levels"] - depth) ** 2)
        return float(found + 0.05 * (math.log2(params["wide_leaves"]) - leaves) ** 2)

    space: Space = {
        "shrinkage": FloatDistribution(1e-3, 1, log=True),
        "penalty": FloatDistribution(1e-4, 100, log=True),
        "rows": FloatDistribution(0.3, 1),
        "growth": CategoricalDistribution([*costs]),
        "deep_levels": IntDistribution(1, 12),
        "wide_leaves": IntDistribution(2, 256, log=True),
    }
    return Learner(space, cost, off)


_PRUNERS: Mapping[str, Callable[[], BasePruner]] = {
    "median": MedianPruner,
    "halving": SuccessiveHalvingPruner,
    "hyperband": lambda: HyperbandPruner(1, STEPS, 3),
}


def _curves(
    make: Callable[[np.random.Generator], Learner], pruner: str, crossing: bool, seed: int
) -> Curves:
    learner = make(np.random.default_rng((seed, crc32(make.__name__.encode()))))
    return Curves(learner, _PRUNERS[pruner](), seed, crossing=crossing)


PRUNED = Suite(
    "pruned",
    tuple(
        Task(
            f"{make.__name__}-{'cross' if crossing else 'even'}-{pruner}",
            held_out=make is boosting,
            objective=partial(_curves, make, pruner, crossing),
        )
        for make in (network, boosting)
        for crossing in (False, True)
        for pruner in _PRUNERS
    ),
    n_trials=200,
    n_seeds=20,
    optimum=0.0,
)

"""Suite `discrete`: grids of 64 to 4,096 points, where a repeated point is a lost trial.

Every cost is 0 at its best point, which the seed moves. Tasks come in pairs of a kind; nothing
may be tuned on the second of a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import log2
from typing import Any

import numpy as np
from optuna import Trial
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from benchmarks.suites.task import Params, Space, Suite, paired_tasks, suggest

Cost = Callable[[Params], float]

LOCI, ALLELES = 6, "abcd"
BASINS, DEPTHS = "pqrst", (0, 4, 8, 12, 16)
BITS, BLOCK = 12, 4
BATCHES = (16, 32, 64, 128, 256)
OPTIMIZERS = ("adam", "lion", "rmsprop", "sgd")


class GridObjective:
    """A cost over a grid.

    Args:
        space: The grid.
        cost: Cost of parameters, 0 at the best point.
    """

    def __init__(self, space: Space, cost: Cost) -> None:
        self.space = space
        self._cost = cost

    def __call__(self, trial: Trial) -> float:
        """Return the cost of a trial."""
        return self._cost(suggested(trial, self.space))

    def score(self, params: Params) -> float:
        """Return the cost of parameters."""
        return self._cost(params)


def suggested(trial: Trial, space: Space) -> dict[str, Any]:
    """Return a trial's suggestions for all parameters of a space, in its order."""
    return {name: suggest(trial, name, distribution) for name, distribution in space.items()}


def bowl(rng: np.random.Generator) -> Cost:
    """Return a tilted bowl."""
    x, y = rng.integers(8, size=2).tolist()

    def cost(params: Params) -> float:
        a, b = params["x"] - x, params["y"] - y
        return float(a * a + a * b + b * b)

    return cost


def valley(rng: np.random.Generator) -> Cost:
    """Return Rosenbrock's bent valley, its best point in the middle half of either range."""
    x, y = (rng.integers(-8, 9, size=2) / 8).tolist()

    def cost(params: Params) -> float:
        u, v = 1 + params["x"] - x, 1 + params["y"] - y
        return float(100 * (v - u * u) ** 2 + (1 - u) ** 2)

    return cost


def epistasis(rng: np.random.Generator) -> Cost:
    """Return an NK landscape: what a category costs depends on the next two categories."""
    shape = (LOCI,) + (len(ALLELES),) * 3
    costs = rng.integers(100, size=shape)
    # (4,) * 6, one axis for each locus
    totals = sum(_around(costs[locus], locus) for locus in range(LOCI))
    totals = np.asarray(totals - np.min(totals))

    def cost(params: Params) -> float:
        return float(totals[tuple(ALLELES.index(params[f"x{i}"]) for i in range(LOCI))])

    return cost


def _around(costs: np.ndarray, locus: int) -> np.ndarray:
    """Return costs `(4, 4, 4)` of a locus and the next two on the axes of the landscape."""
    axes = [(locus + i) % LOCI for i in range(3)]
    order = np.argsort(axes)
    others = [axis for axis in range(LOCI) if axis not in axes]
    return np.expand_dims(costs.transpose(order), others)


def basins(rng: np.random.Generator) -> Cost:
    """Return a basin for every category, each elsewhere and one of them deepest."""
    depths = rng.permutation(DEPTHS).tolist()
    centres = rng.integers((16, 12), size=(len(DEPTHS), 2)).tolist()

    def cost(params: Params) -> float:
        category = BASINS.index(params["basin"])
        x, y = centres[category]
        return float(depths[category] + (params["x"] - x) ** 2 + (params["y"] - y) ** 2)

    return cost


def leading(rng: np.random.Generator) -> Cost:
    """Return the number of bits from the first wrong bit on, in a hidden order."""
    order = rng.permutation(BITS).tolist()
    target = rng.integers(2, size=BITS).astype(bool).tolist()

    def cost(params: Params) -> float:
        right = 0
        while right < BITS and params[f"x{order[right]}"] == target[order[right]]:
            right += 1
        return float(BITS - right)

    return cost


def trap(rng: np.random.Generator) -> Cost:
    """Return the cost of blocks of bits: lower the fewer are right, and 0 if all are."""
    order = rng.permutation(BITS).reshape(-1, BLOCK).tolist()
    target = rng.integers(2, size=BITS).astype(bool).tolist()

    def cost(params: Params) -> float:
        right = [sum(params[f"x{i}"] == target[i] for i in block) for block in order]
        return float(sum(0 if n == BLOCK else 1 + n for n in right))

    return cost


def network(rng: np.random.Generator) -> Cost:
    """Return the cost of a network's shape: more layers need fewer units."""
    layers = int(rng.integers(1, 6))
    units = round(8 * 2 ** rng.uniform(0, 3))
    batch = int(rng.choice(BATCHES))

    def cost(params: Params) -> float:
        deeper = params["layers"] - layers
        wider = log2(params["units"] / units)
        larger = log2(params["batch"] / batch)
        return float(deeper**2 + 4 * (wider + deeper / 2) ** 2 + larger**2)

    return cost


def training(rng: np.random.Generator) -> Cost:
    """Return the cost of a recipe: epochs depend on the optimizer, and grow with dropout."""
    costs = rng.permutation(len(OPTIMIZERS)).tolist()
    epochs = [round(2 ** rng.uniform(0, 5)) for _ in OPTIMIZERS]
    dropout = int(rng.integers(8)) / 8

    def cost(params: Params) -> float:
        optimizer = OPTIMIZERS.index(params["optimizer"])
        dropped = 4 * (params["dropout"] - dropout)
        longer = log2(params["epochs"] / epochs[optimizer])
        return float(costs[optimizer] + dropped**2 + 2 * (longer - dropped / 2) ** 2)

    return cost


_FLAGS: Space = {f"x{i}": CategoricalDistribution((False, True)) for i in range(BITS)}
_GRIDS: dict[str, tuple[Callable[[np.random.Generator], Cost], Space]] = {
    "bowl": (bowl, {"x": IntDistribution(0, 7), "y": IntDistribution(0, 7)}),
    "valley": (valley, {name: FloatDistribution(-2, 2, step=0.125) for name in "xy"}),
    "epistasis": (epistasis, {f"x{i}": CategoricalDistribution(ALLELES) for i in range(LOCI)}),
    "basins": (
        basins,
        {
            "basin": CategoricalDistribution(BASINS),
            "x": IntDistribution(0, 15),
            "y": IntDistribution(0, 11),
        },
    ),
    "leading": (leading, _FLAGS),
    "trap": (trap, _FLAGS),
    "network": (
        network,
        {
            "layers": IntDistribution(1, 5),
            "units": IntDistribution(8, 64, log=True),
            "batch": CategoricalDistribution(BATCHES),
        },
    ),
    "training": (
        training,
        {
            "optimizer": CategoricalDistribution(OPTIMIZERS),
            "epochs": IntDistribution(1, 32, log=True),
            "dropout": FloatDistribution(0, 0.875, step=0.125),
        },
    ),
}


def _objective(
    make: Callable[[np.random.Generator], Cost], space: Space, rng: np.random.Generator
) -> GridObjective:
    return GridObjective(space, make(rng))


DISCRETE = Suite(
    "discrete",
    paired_tasks({name: partial(_objective, *grid) for name, grid in _GRIDS.items()}),
    n_trials=200,
    n_seeds=20,
    optimum=0.0,
)

"""Suite `needles`: tasks in closed form where most trials do not say where the best point is.

A choice is one of many, or decides on the other parameters; or trials are equally bad, infeasible
or infinite in most of the space; or a cost has few values. Every cost is 0 at its best point,
which the seed moves. Tasks come in pairs of a kind; nothing may be tuned on the second of a pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from optuna import Trial
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from benchmarks.suites.task import Params, Space, Suite, paired_tasks, suggested_branch

Cost = Callable[[Params], float]
WORST = 1.0  # The score of infeasible parameters and of infinite costs.
UNIT = FloatDistribution(0, 1)
RATE = FloatDistribution(1e-6, 100, log=True)


class Needle:
    """A cost with at most one constraint, whose size a trial does not see.

    Args:
        space: Every parameter that a trial may have; see `suggested_branch`.
        cost: Cost of parameters, 0 at the best point; infinite where the trial fails to tell.
        feasible: Whether parameters are feasible; None if all are.
    """

    def __init__(
        self,
        space: Space,
        cost: Cost,
        feasible: Callable[[Params], bool] | None = None,
    ) -> None:
        self.space = space
        self._cost = cost
        self._feasible = feasible

    def __call__(self, trial: Trial) -> float:
        """Return the cost of a trial, and record the constraint with it if there is one."""
        params = suggested_branch(trial, self.space)
        if self._feasible is not None:
            trial.set_constraint("feasible", self.violation(params))
        return self._cost(params)

    def violation(self, params: Params) -> float:
        """Return 1 for infeasible parameters and 0 for feasible parameters."""
        return float(self._feasible is not None and not self._feasible(params))

    def score(self, params: Params) -> float:
        """Return the cost of parameters, `WORST` if they are infeasible or theirs is infinite."""
        cost = self._cost(params)
        return WORST if self.violation(params) or math.isinf(cost) else cost


def _menu(n: int) -> CategoricalDistribution:
    return CategoricalDistribution([f"m{i}" for i in range(n)])


def _chosen(choice: str) -> int:
    return int(choice[1:])


def _costs(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return costs `(n,)` of choices, the lowest of which is 0."""
    costs = rng.random(n)
    return np.asarray(costs - costs.min())


def _away(params: Params, point: Mapping[str, float]) -> float:
    """Return the distance of numbers between 0 and 1 from a point."""
    return math.dist([params[name] for name in point], [*point.values()])


def _point(rng: np.random.Generator, names: str, margin: float = 0.0) -> dict[str, float]:
    return dict(zip(names, rng.uniform(margin, 1 - margin, len(names)).tolist(), strict=True))


def _off(params: Params, rate: float) -> float:
    """Return the cost of the distance to the best rate, given by its decimal logarithm."""
    return (math.log10(params["rate"]) - rate) ** 2 / 20


def menu(rng: np.random.Generator) -> Needle:
    """Return a menu of 30 choices beside three numbers."""
    costs, best, rate = _costs(rng, 30), _point(rng, "xy"), rng.uniform(-5, 1)

    def cost(params: Params) -> float:
        chosen = costs[_chosen(params["menu"])]
        return float(chosen + _away(params, best) ** 2 + _off(params, rate))

    return Needle({"menu": _menu(30), "x": UNIT, "y": UNIT, "rate": RATE}, cost)


def menus(rng: np.random.Generator) -> Needle:
    """Return menus of 40 and of 16 choices beside an integer and a rate."""
    first, second, rate = _costs(rng, 40), _costs(rng, 16), rng.uniform(-5, 1)
    units = rng.uniform(3, 10)

    def cost(params: Params) -> float:
        chosen = first[_chosen(params["first"])] + second[_chosen(params["second"])]
        wider = abs(math.log2(params["units"]) - units)
        wider = max(0.0, wider - 0.5)  # Some integer is always as good as the best number.
        return float(chosen + wider**2 / 20 + _off(params, rate))

    units_of = IntDistribution(4, 2048, log=True)
    return Needle({"first": _menu(40), "second": _menu(16), "units": units_of, "rate": RATE}, cost)


def branches(rng: np.random.Generator, n: int = 20, names: str = "x") -> Needle:
    """Return branches that have parameters of their own, and a best point each."""
    costs, best = _costs(rng, n), [_point(rng, names) for _ in range(n)]
    own = {f"m{i}_{name}": UNIT for i in range(n) for name in names}

    def cost(params: Params) -> float:
        i = _chosen(params["branch"])
        of_branch = {name: params[f"m{i}_{name}"] for name in names}
        return float(costs[i] + _away(of_branch, best[i]) ** 2)

    return Needle({"branch": _menu(n), **own}, cost)


def box(rng: np.random.Generator) -> Needle:
    """Return a bowl over four numbers that is feasible where two of them are nearly right."""
    best = _point(rng, "wxyz", 0.06)

    def feasible(params: Params) -> bool:
        return all(abs(params[name] - best[name]) <= 0.06 for name in "wx")

    space = dict.fromkeys("wxyz", UNIT)
    return Needle(space, lambda params: _away(params, best) ** 2 / 4, feasible)


def ball(rng: np.random.Generator) -> Needle:
    """Return a slope over three numbers that is feasible in a ball, lowest at its rim."""
    centre, towards = _point(rng, "xyz", 0.2), rng.normal(size=3)
    towards /= np.linalg.norm(towards)

    def cost(params: Params) -> float:
        away = [params[name] - centre[name] for name in "xyz"]
        return float(0.2 + np.dot(away, towards))

    # The best point is on the rim.
    space = dict.fromkeys("xyz", UNIT)
    return Needle(space, cost, lambda params: _away(params, centre) <= 0.2 + 1e-12)


def needle(rng: np.random.Generator, names: str = "xy", radius: float = 0.15) -> Needle:
    """Return a funnel in a plateau."""
    best = _point(rng, names)
    space = dict.fromkeys(names, UNIT)
    return Needle(space, lambda params: min(1.0, _away(params, best) / radius))


def crash(rng: np.random.Generator) -> Needle:
    """Return a cone over four numbers that is infinite but for a ball."""
    best = _point(rng, "wxyz", 0.1)

    def cost(params: Params) -> float:
        away = _away(params, best)
        return away if away < 0.35 else math.inf

    return Needle(dict.fromkeys("wxyz", UNIT), cost)


def diverging(rng: np.random.Generator) -> Needle:
    """Return a training: it diverges above a rate, and learns nothing far below it."""
    best, largest = _point(rng, "xy"), rng.uniform(-4, 0)

    def cost(params: Params) -> float:
        decades = largest - math.log10(params["rate"] / (1 - params["momentum"]))
        if decades < 0:
            return math.inf
        return min(1.0, decades / 1.5 + _away(params, best) ** 2)

    momentum = FloatDistribution(0, 0.99)
    return Needle({"rate": RATE, "momentum": momentum, "x": UNIT, "y": UNIT}, cost)


def stairs(rng: np.random.Generator) -> Needle:
    """Return a cone over five numbers, in steps of a tenth."""
    best = _point(rng, "vwxyz")
    space = dict.fromkeys("vwxyz", UNIT)
    return Needle(space, lambda params: math.floor(10 * _away(params, best)) / 10)


def accuracy(rng: np.random.Generator) -> Needle:
    """Return the share of errors among 50 images, by parameters of all kinds."""
    best, rate, kinds = _point(rng, "xy"), rng.uniform(-5, 1), _costs(rng, 5) / 4
    layers = int(rng.integers(1, 9))

    def cost(params: Params) -> float:
        error = _away(params, best) ** 2 / 4 + kinds[_chosen(params["kind"])]
        error += _off(params, rate)
        error += abs(params["layers"] - layers) / 20
        return math.floor(50 * min(1.0, float(error))) / 50

    kind, depth = _menu(5), IntDistribution(1, 8)
    return Needle({"kind": kind, "layers": depth, "rate": RATE, "x": UNIT, "y": UNIT}, cost)


_MAKERS: dict[str, Callable[[np.random.Generator], Needle]] = {
    "menu": menu,
    "menus": menus,
    "branches": branches,
    "wide-branches": partial(branches, n=24, names="xy"),
    "box": box,
    "ball": ball,
    "needle": needle,
    "needle-3d": partial(needle, names="xyz", radius=0.3),
    "crash": crash,
    "diverging": diverging,
    "stairs": stairs,
    "accuracy": accuracy,
}


NEEDLES = Suite(
    "needles",
    paired_tasks(_MAKERS),
    n_trials=200,
    n_seeds=20,
    optimum=0.0,
)

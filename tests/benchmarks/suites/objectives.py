"""Objectives of suites whose values are known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)


class Sphere:
    """The squared distance from the origin in five dimensions; some values are noisy or NaN."""

    space: Mapping[str, BaseDistribution] = {f"x{i}": FloatDistribution(-5, 5) for i in range(5)}

    def __init__(self, seed: int = 0, noise: float = 0.0, failing: Sequence[int] = ()) -> None:
        self._noise = noise
        self._rng = np.random.default_rng(seed)
        self._failing = failing

    def __call__(self, trial: Trial) -> float:
        """Return the noisy value."""
        if trial.number in self._failing:
            return math.nan
        params = {name: trial.suggest_float(name, -5, 5) for name in self.space}
        return self.score(params) + self._noise * self._rng.normal()

    def score(self, params: Mapping[str, Any]) -> float:
        """Return the value without noise; 1,000 without parameters."""
        return sum(x**2 for x in params.values()) if params else 1000.0


class Mixed:
    """A search space of every kind of parameter, one of which is conditional."""

    space: Mapping[str, BaseDistribution] = {
        "rate": FloatDistribution(1e-5, 1e-1, log=True),
        "grid": FloatDistribution(0.0, 1.0, step=0.25),
        "layers": IntDistribution(1, 100, log=True),
        "units": IntDistribution(8, 64, step=8),
        "kind": CategoricalDistribution(("a", None, 3)),
        "deep": IntDistribution(1, 3),
    }

    def __call__(self, trial: Trial) -> float:
        """Return a value that depends on all of them."""
        value = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
        value += trial.suggest_float("grid", 0.0, 1.0, step=0.25)
        value += trial.suggest_int("layers", 1, 100, log=True)
        value += trial.suggest_int("units", 8, 64, step=8)
        if trial.suggest_categorical("kind", ("a", None, 3)) == "a":
            value += trial.suggest_int("deep", 1, 3)
        return value

    def score(self, params: Mapping[str, Any]) -> float:
        """Return a score that depends on two of them."""
        return float(params["layers"] + params["rate"])


def linear_fit(points: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return the slope of a linear function of points `(n, D)`, and its greatest error."""
    design = np.column_stack([points, np.ones(len(points))])
    coefficients, *_ = np.linalg.lstsq(design, values, rcond=None)
    slope, errors = np.linalg.norm(coefficients[:-1]), np.abs(design @ coefficients - values)
    return float(slope), float(errors.max())

"""Models of constraints, a Gaussian process for each, which say where trials may be feasible.

A constraint is easier to predict than the sum of all violations, since it is smooth where that has
an edge, and tells by how much a feasible trial keeps it. The logarithm of the probability that all
are kept is added to a candidate's rating, and is the rating while no trial is feasible (Gardner et
al. 2014, "Bayesian optimization with inequality constraints", ICML).

Shapes: N trials, K candidates, R running trials, D parameters.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr

from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.features import Features
from optuna_ga._breeding.model.gaussian_process import Kernel, fitted, with_awaited
from optuna_ga._population.fitness import Rank

Function = Callable[[np.ndarray], np.ndarray]  # From genes `(K, D)` to numbers `(K,)`.

_MAX_SIZE = sys.float_info.max / 8  # So that sums do not overflow.
_MAX_SCALED = 5.0  # Of a logarithmic scale: 74 times the median size of a constraint.


class _Observed(NamedTuple):
    """The values of a constraint, on a scale with mean 0 and deviation 1.

    Attributes:
        rows: The rows of the trials that have it.
        values: Its values `(n,)` there.
        limit: The value above which it is violated.
    """

    rows: list[int]
    values: np.ndarray
    limit: float


@dataclass
class ConstraintModels:
    """Predicts whether candidates keep the constraints.

    Attributes:
        features: The features for which the kernels are fitted.
        kernels: By the names of constraints.
    """

    features: Features | None = None
    kernels: dict[str, Kernel] = field(default_factory=dict)

    def feasibility(
        self,
        matrix: TrialMatrix,
        rows: Sequence[int],
        running: np.ndarray,
        features: Features,
        first_rows: Callable[[], Sequence[int]],
    ) -> Function | None:
        """Return the logarithm of the probability of being feasible `(K,)`, of genes `(K, D)`.

        Args:
            matrix: The finished trials.
            rows: The rows of the trials to learn from.
            running: Genes `(R, D)` of the running trials.
            features: Maps genes to features; kernels are fitted once for each.
            first_rows: Returns the rows to which they are fitted.

        Returns:
            None if none of these trials violates a constraint.
        """
        if features is not self.features:
            self.features, self.kernels = features, {}
        models, awaited = [], features(running)
        for name, observed in _violated(matrix.constraints, rows):
            if name not in self.kernels:
                first = _observed(matrix.constraints, first_rows(), name)
                x = features(matrix.units[first.rows])
                self.kernels[name] = fitted(x, features.categorical, first.values)
            known, values = features(matrix.units[observed.rows]), observed.values
            kernel, categorical = self.kernels[name], features.categorical
            model = with_awaited(kernel, categorical, known, values, awaited)
            models.append((model, observed.limit))
        if not models:
            return None

        def feasibility(genes: np.ndarray) -> np.ndarray:
            x, total = features(genes), np.zeros(len(genes))
            for model, limit in models:
                mean, deviation = model.mean_and_deviation(x)
                total += log_ndtr((limit - mean) / deviation)
            return total

        return feasibility


def with_feasibility(rate: Function, feasibility: Function | None) -> Function:
    """Return ratings to which the logarithms of a probability are added, if there are any."""
    if feasibility is None:
        return rate
    return lambda genes: rate(genes) + feasibility(genes)


def with_own_losses(ranks: Sequence[Rank | None]) -> list[Rank | None]:
    """Return ranks with infeasible trials as feasible, if their losses are their own.

    They are not if all are equal, as where an objective returns at once: then they stay a wall.
    Infinite losses are never their own.
    """
    infeasible = [rank for rank in ranks if rank is not None and _has_loss(rank)]
    if len({rank.losses for rank in infeasible}) < 2:
        return [*ranks]
    return [
        rank._replace(violation=0.0) if rank is not None and _has_loss(rank) else rank
        for rank in ranks
    ]


def _has_loss(rank: Rank) -> bool:
    return rank.violation > 0.0 and not rank.pruned and bool(np.isfinite(rank.losses).all())


def _violated(
    constraints: Sequence[Mapping[str, float]], rows: Iterable[int]
) -> Iterator[tuple[str, _Observed]]:
    """Yield the constraints that some trial in these rows violates, by name."""
    found = {name for row in rows for name, value in constraints[row].items() if value > 0.0}
    for name in sorted(found):
        yield name, _observed(constraints, rows, name)


def _observed(
    constraints: Sequence[Mapping[str, float]], rows: Iterable[int], name: str
) -> _Observed:
    """Return the values of a constraint in these rows."""
    having = [row for row in rows if name in constraints[row]]
    values = np.array([constraints[row][name] for row in having], float)
    if not having:
        return _Observed(having, values, 0.0)
    sizes = np.abs(values[np.isfinite(values)]).clip(max=_MAX_SIZE)
    size = (float(np.median(sizes)) or float(sizes.max())) if len(sizes) else 0.0
    with np.errstate(over="ignore"):  # Infinite numbers are clipped.
        scaled = np.arcsinh(values / (size or 1.0)).clip(-_MAX_SCALED, _MAX_SCALED)
    mean, deviation = float(scaled.mean()), float(scaled.std()) or 1.0
    return _Observed(having, (scaled - mean) / deviation, (_limit(scaled) - mean) / deviation)


def _limit(values: np.ndarray) -> float:
    """Return the value above which a constraint with these values `(n,)` is violated.

    It is 0. If that is a value of the constraint, as of a constraint that only says whether it is
    kept or that is an integer, the limit is half-way to the next value, to part the two.
    """
    kept, violated = values[values <= 0.0], values[values > 0.0]
    if len(kept) and len(violated) and kept.max() == 0.0:
        return float(violated.min()) / 2
    return 0.0

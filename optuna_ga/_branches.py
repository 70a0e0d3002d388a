"""Which parameters a child will be asked for, learnt from finished trials.

An objective that branches asks for some parameters only if others have certain values. A decision
tree over the finished trials tells which: it splits by the discrete parameter that says most about
what is asked for. It serves to foresee a child; what the child is really asked for stays the
objective's business.

Shapes: N trials, K children, D parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from optuna_ga._genes import n_cells

_SAME = 1e-9  # Positions on the unit scale that differ less are the same.


def foresee(
    units: np.ndarray, trials: np.ndarray, distributions: Sequence[BaseDistribution]
) -> np.ndarray:
    """Return which parameters children will be asked for, as booleans `(K, D)`.

    Args:
        units: What the children's genes would be, on the unit scale `(K, D)`.
        trials: The genes of finished trials `(N, D)`, NaN where a trial was not asked.
        distributions: The parameters' distributions `(D,)`.
    """
    asked = ~np.isnan(trials)
    if asked.all():
        return np.ones(units.shape, bool)
    distinct = np.unique(_deciding(trials, distributions), axis=0, return_index=True)[1]
    foreseen = np.zeros(units.shape, bool)
    _split(np.sort(distinct), np.arange(len(units)), trials, units, distributions, foreseen)
    return foreseen


def _deciding(trials: np.ndarray, distributions: Sequence[BaseDistribution]) -> np.ndarray:
    """Return trials without what cannot decide: continuous genes only show that they are there."""
    continuous = [n_cells(distribution) is None for distribution in distributions]
    return np.where(np.isnan(trials), -1.0, np.where(continuous, 0.0, trials))


def _split(
    rows: np.ndarray,
    children: np.ndarray,
    trials: np.ndarray,
    units: np.ndarray,
    distributions: Sequence[BaseDistribution],
    foreseen: np.ndarray,
) -> None:
    """Fill in `foreseen` for children that belong to the same branch as these rows of trials."""
    asked = ~np.isnan(trials[rows])
    if not len(children):
        return
    foreseen[children] = asked.all(axis=0)
    if (asked == asked[0]).all():
        return
    column = _decider(trials[rows], asked, distributions)
    if column is None:
        foreseen[children] = asked.mean(axis=0) > 0.5
        return
    values = trials[rows, column]
    for value in np.unique(values):
        inside = children[np.abs(units[children, column] - value) < _SAME]
        _split(rows[values == value], inside, trials, units, distributions, foreseen)


def _decider(
    trials: np.ndarray, asked: np.ndarray, distributions: Sequence[BaseDistribution]
) -> int | None:
    """Return the column whose value says most about what is asked for, or None."""
    best, least = None, np.inf
    for column in np.flatnonzero(asked.all(axis=0)).tolist():
        values = np.unique(trials[:, column])
        categorical = isinstance(distributions[column], CategoricalDistribution)
        if n_cells(distributions[column]) is None or len(values) < 2:
            continue
        if not categorical and len(values) > len(trials) / 2:  # Tells every trial apart.
            continue
        # Among equals the one with the fewest values.
        entropy = sum(_entropy(asked[trials[:, column] == value]) for value in values)
        if entropy + 1e-3 * len(values) < least:
            best, least = column, entropy + 1e-3 * len(values)
    return best


def _entropy(asked: np.ndarray) -> float:
    """Return the entropy of what is asked for, times the number of trials."""
    _, counts = np.unique(asked, axis=0, return_counts=True)
    return float(-(counts * np.log(counts / len(asked))).sum())

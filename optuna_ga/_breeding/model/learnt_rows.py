"""The trials that a model learns from: at most 200, the 100 best and the 100 latest.

So its cost is bounded.

Shapes: N trials, D parameters. Genes are positions on the unit scale, NaN for parameters that a
trial does not have.
"""

from __future__ import annotations

import numpy as np

from optuna_ga._breeding.adaptive_settings import MAX_TRIALS
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._population.fitness import in_order


def learnt_rows(matrix: TrialMatrix, n: int) -> list[int]:
    """Return the rows of the first `n` trials to learn from: all, or the best and the latest.

    A failed trial is left out if another of these with the same values, as far as it got, has a
    fitness: then the values were not to blame.
    """
    if n <= MAX_TRIALS:
        rows = list(range(n))
    else:
        rows = sorted({*best_rows(matrix, n)[: MAX_TRIALS // 2], *range(n - MAX_TRIALS // 2, n)})
    failed = [row for row in rows if matrix.ranks[row] is None]
    if not failed:
        return rows
    others = matrix.units[[row for row in rows if matrix.ranks[row] is not None]]
    repeated = {row for row in failed if _is_among(matrix.units[row], others)}
    return [row for row in rows if row not in repeated]


def _is_among(genes: np.ndarray, others: np.ndarray) -> bool:
    """Return whether one of the others `(N, D)` has all of these genes `(D,)`."""
    present = ~np.isnan(genes)
    return bool((others[:, present] == genes[present]).all(axis=1).any())


def best_rows(matrix: TrialMatrix, n: int) -> list[int]:
    """Return the rows of the best of the first `n` trials, at least the 100 best of many."""
    if n == len(matrix):
        return matrix.fittest()
    return matrix.rows(rank.number for rank in in_order(filter(None, matrix.ranks[:n])))

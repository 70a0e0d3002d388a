"""The features of a trial, from which the surrogate predicts its loss.

A choice is its position among the choices. A number on a grid of at most 1,000 values is its
position on the unit scale. Any other number, called continuous here, is magnified around the best
trials: on a scale on which the region where they lie is as wide as any other, however small it has
become, and which is logarithmic beyond. On the unit scale the trials of a converging search are
too close for any length scale that also fits the trials of its beginning.

Continuous numbers can also be magnified along the principal axes of the best trials instead of one
by one, so that a narrow straight valley in any direction is as wide as it is long.

Shapes: n trials, D parameters, as many features. Genes are positions on the unit scale, NaN for
parameters that a trial does not have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution

from optuna_ga._population.genes import is_nearly_continuous, n_cells

N_BEST = 30
MIN_WIDTH = 1e-9  # Closer positions are equal; see `unit_scale.DIGITS`.


class Features:
    """Maps genes to features.

    Args:
        distributions: The parameters' distributions `(D,)`.
        best: Genes `(n, D)` of the best trials; None: no number is magnified.
        principal: Whether continuous numbers are magnified along the axes of the best trials.
            Those that fewer than two of the best have are magnified one by one, and so are all if
            there are no more best trials than numbers.

    Attributes:
        categorical: Which features are choices, as booleans `(D,)`.
    """

    def __init__(
        self,
        distributions: Sequence[BaseDistribution],
        best: np.ndarray | None,
        *,
        principal: bool = False,
    ) -> None:
        kinds = [isinstance(d, CategoricalDistribution) for d in distributions]
        self.categorical = np.array(kinds, bool)
        cells = [n_cells(d) for d in distributions]
        self._magnified = np.array(
            [best is not None and is_nearly_continuous(d) for d in distributions], bool
        )
        self._n_choices = np.array(
            [n if is_choice and n else 1 for n, is_choice in zip(cells, kinds, strict=True)]
        )
        best = np.empty((0, len(cells))) if best is None else best
        self._centre, width = _region(best)
        self._width = np.maximum(width, [0.0 if n is None else 1 / n for n in cells])
        self._axes: np.ndarray | None = None  # By row `(D, D)`.
        turned = self._magnified & (np.count_nonzero(~np.isnan(best), axis=0) > 1)
        if principal and len(best) > turned.sum():
            deviations = np.where(np.isnan(best), 0.0, best - self._centre)[:, turned]
            *_, axes = np.linalg.svd(deviations, full_matrices=True)
            self._axes = np.eye(len(cells))
            self._axes[np.ix_(turned, turned)] = axes
            self._width[turned] = np.maximum(np.ptp(deviations @ axes.T, axis=0), MIN_WIDTH)

    def __call__(self, genes: np.ndarray) -> np.ndarray:
        """Return the features `(n, D)` of genes `(n, D)`.

        A missing choice differs from all others. A missing number is in the middle of its range,
        or of the best trials if it is magnified.
        """
        missing = np.isnan(genes)
        choices = np.where(missing, -1.0, np.floor(genes * self._n_choices))
        numbers = np.where(missing, np.where(self._magnified, self._centre, 0.5), genes)
        deviations = numbers - self._centre
        along = deviations if self._axes is None else deviations @ self._axes.T
        distances = along / self._width
        magnified = np.sign(distances) * np.log1p(np.abs(distances))
        numbers = np.where(self._magnified, magnified, numbers)
        return np.asarray(np.where(self.categorical, choices, numbers))


def _region(best: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre and width `(D,)` of the region where the best trials `(n, D)` lie.

    Where fewer than two of them have a parameter, the region is its whole range.
    """
    present = ~np.isnan(best)
    n_present = present.sum(axis=0)
    few = n_present < 2
    centre = np.where(present, best, 0.0).sum(axis=0) / np.maximum(n_present, 1)
    most = np.where(present, best, -np.inf).max(axis=0, initial=-np.inf)
    least = np.where(present, best, np.inf).min(axis=0, initial=np.inf)
    width = np.where(few, 1.0, most - least)
    return np.where(few, 0.5, centre), np.maximum(width, MIN_WIDTH)

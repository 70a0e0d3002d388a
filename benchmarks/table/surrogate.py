"""The model of a table: Gaussian processes between its settings.

One predicts the losses of a training that succeeds after each epoch, the other the shares of
trainings that fail and that diverge. A training fails if it diverges, or if its last loss is that
of guessing, log 10.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern, WhiteKernel

from benchmarks.table.table import Table
from benchmarks.trainings import GUESSING

FAILED = 0.95 * GUESSING  # A last loss above it is that of guessing.


class Predicted(NamedTuple):
    """What is predicted for n settings.

    Attributes:
        log_losses: Logarithms of the losses after each epoch `(n, epochs)` of a training that
            succeeds; in a table NaN where none did.
        shares: Shares of the trainings that fail and that diverge `(n, 2)`.
    """

    log_losses: np.ndarray
    shares: np.ndarray

    @property
    def losses(self) -> np.ndarray:
        """Mean losses `(n, epochs)` over training seeds, infinite where most diverge.

        They are NaN where no training of a table succeeded.
        """
        failed, diverged = self.shares[:, :1], self.shares[:, 1:]
        means = (1 - failed) * np.exp(self.log_losses) + failed * GUESSING
        return np.where(diverged >= 0.5, np.inf, means)


class Surrogate:
    """Gaussian processes over the settings of a table.

    Args:
        table: The table.
        theta: The kernels' parameters; None fits them to the settings.
        chosen: Indices of the settings to use. None takes all.
    """

    def __init__(
        self,
        table: Table,
        theta: Sequence[Sequence[float]] | None = None,
        chosen: np.ndarray | None = None,
    ) -> None:
        chosen = np.arange(len(table.settings)) if chosen is None else chosen
        found = features(table.settings[chosen])  # (n, 4)
        self._mean, self._deviation = found.mean(axis=0), found.std(axis=0)
        parameters = [None, None] if theta is None else theta
        learnt = examples(self.scaled(table.settings[chosen]), targets(table, chosen))
        self._processes = [
            _process(*example, given) for example, given in zip(learnt, parameters, strict=True)
        ]

    @property
    def theta(self) -> list[list[float]]:
        """The logarithms of the kernels' parameters."""
        return [[float(value) for value in each.kernel_.theta] for each in self._processes]

    def scaled(self, settings: np.ndarray) -> np.ndarray:
        """Return the features of settings `(n, 3)`, each with mean 0 and deviation 1."""
        return np.asarray((features(settings) - self._mean) / self._deviation)

    def predict(self, settings: np.ndarray) -> Predicted:
        """Return what is predicted for settings `(n, 3)`."""
        places = self.scaled(settings)
        log_losses, shares = (process.predict(places) for process in self._processes)
        return Predicted(log_losses, shares.clip(0.0, 1.0))


def _process(
    places: np.ndarray, values: np.ndarray, theta: Sequence[float] | None
) -> GaussianProcessRegressor:
    process = GaussianProcessRegressor(
        kernel(theta), optimizer="fmin_l_bfgs_b" if theta is None else None, normalize_y=True
    )
    with catch_warnings():
        # The length scale of an irrelevant feature ends at its bound.
        simplefilter("ignore", ConvergenceWarning)
        return process.fit(places, values)


def kernel(theta: Sequence[float] | None = None) -> Kernel:
    """Return the kernel with these parameters, or with those to begin a fit with."""
    wide = (1e-3, 1e3)
    noise = WhiteKernel(0.05, (1e-5, 1e2))
    start = ConstantKernel(1.0, wide) * Matern([1.0] * 4, wide, nu=2.5) + noise
    return start if theta is None else start.clone_with_theta(np.array(theta))


def features(settings: np.ndarray) -> np.ndarray:
    """Return the inputs `(n, 4)` of the processes at settings `(n, 3)`.

    With momentum m a step of SGD acts for 1 / (1 - m) steps, so that the quotient of learning rate
    and 1 - m decides on failure.
    """
    rate, momentum, decay = settings.T
    return np.column_stack([np.log(rate / (1 - momentum)), np.log(rate), momentum, np.sqrt(decay)])


def failures(table: Table) -> np.ndarray:
    """Return whether trainings failed `(n, seeds)`, as 0 or 1; NaN for a seed not trained."""
    last = table.outcomes.loss[:, :, -1]
    return np.where(np.isnan(last), np.nan, last > FAILED)


def targets(table: Table, chosen: np.ndarray | None = None) -> Predicted:
    """Return the means over the seeds of the table's settings, or of those with some indices."""
    chosen = np.arange(len(table.settings)) if chosen is None else chosen
    failed, loss = failures(table)[chosen], table.outcomes.loss[chosen]
    diverged = np.where(np.isnan(failed), np.nan, np.isinf(loss[:, :, -1]))
    succeeded = failed == 0  # (n, seeds)
    logs = np.where(succeeded[..., None], np.log(np.where(np.isfinite(loss), loss, 1.0)), 0.0)
    n = succeeded.sum(axis=1)[:, None]
    means = np.where(n > 0, logs.sum(axis=1) / n.clip(1), np.nan)
    shares = np.column_stack([np.nanmean(failed, axis=1), np.nanmean(diverged, axis=1)])
    return Predicted(means, shares)


def examples(places: np.ndarray, values: Predicted) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, for losses and for shares, the places and values that a regressor learns from."""
    for each in values:
        known = np.isfinite(each).all(axis=1)
        yield places[known], each[known]

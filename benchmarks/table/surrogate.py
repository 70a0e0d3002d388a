"""The model of a table: Gaussian processes between its settings.

A regression predicts the losses of a training that succeeds after each epoch. A classification
predicts the share of trainings that fail: they diverge, or their last loss is that of guessing,
log 10. Another predicts the share of these that diverge. A classification learns from single
trainings, since which ones fail at a setting is luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern, WhiteKernel

from benchmarks.table.table import Table
from benchmarks.trainings import GUESSING

FAILED = 0.95 * GUESSING  # A last loss above it is that of guessing.
FITTED = 1000  # Observations to fit a kernel's parameters to, at most.


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
        theta: The kernels' parameters, a list for each process; None fits them to the first of the
            settings.
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
        self._lowest_rate = table.settings[chosen, 0].min()
        places = self.scaled(table.settings[chosen])
        losses, _ = examples(places, targets(table, chosen))
        failed, diverged = failures(table)[chosen], divergences(table)[chosen]
        given = [None, None, None] if theta is None else theta
        self._losses = _process(
            partial(GaussianProcessRegressor, normalize_y=True),
            _kernel() + WhiteKernel(0.05, (1e-5, 1e2)),
            given[0],
            *losses,
        )
        self._failed = _Share(*_trainings(places, failed), given[1])
        self._diverged = _Share(
            *_trainings(places, np.where(failed == 1, diverged, np.nan)), given[2]
        )

    @property
    def theta(self) -> list[list[float]]:
        """The logarithms of the kernels' parameters."""
        return [self._losses.kernel_.theta.tolist(), self._failed.theta, self._diverged.theta]

    def scaled(self, settings: np.ndarray) -> np.ndarray:
        """Return the features of settings `(n, 3)`, each with mean 0 and deviation 1."""
        return np.asarray((features(settings) - self._mean) / self._deviation)

    def predict(self, settings: np.ndarray) -> Predicted:
        """Return what is predicted for settings `(n, 3)`.

        Below the lowest learning rate of the table's settings, what is predicted for that rate:
        far from all observations a process tends to their mean.
        """
        rates = np.maximum(settings[:, 0], self._lowest_rate)
        places = self.scaled(np.column_stack([rates, settings[:, 1:]]))
        failed = self._failed.predict(places)
        diverged = failed * self._diverged.predict(places)
        return Predicted(self._losses.predict(places), np.column_stack([failed, diverged]))


class _Share:
    """The share of trainings to which something happens, by Gaussian process classification.

    It is that of the most probable function. The mean over all possible functions would cost the
    solution of a linear system for each prediction.

    Args:
        places: Features of the trainings `(n, 4)`.
        happened: Whether it happened `(n,)`, as 0 or 1. If it always did, the share is 1; if it
            never did, as without trainings, it is 0.
        theta: The kernel's parameters; None fits them.
    """

    def __init__(
        self, places: np.ndarray, happened: np.ndarray, theta: Sequence[float] | None
    ) -> None:
        self._always = len(happened) > 0 and bool(happened.all())
        self._process = None
        if 0 < happened.sum() < len(happened):
            process = _process(GaussianProcessClassifier, _kernel(), theta, places, happened)
            self._process = process.base_estimator_

    @property
    def theta(self) -> list[float]:
        """The logarithms of the kernel's parameters; none if all predictions are equal."""
        return [] if self._process is None else self._process.kernel_.theta.tolist()

    def predict(self, places: np.ndarray) -> np.ndarray:
        """Return the shares `(n,)` at places `(n, 4)`."""
        if self._process is None:
            return np.full(len(places), float(self._always))
        # Rasmussen and Williams (2006), http://gaussianprocess.org/gpml, equation 3.21.
        slopes = self._process.y_train_ - self._process.pi_
        covariances = self._process.kernel_(places, self._process.X_train_)
        return np.asarray(expit(covariances @ slopes))


def _process(
    make: Callable[..., Any],
    start: Kernel,
    theta: Sequence[float] | None,
    places: np.ndarray,
    values: np.ndarray,
) -> Any:
    """Return a process with these kernel parameters, or with those fitted from a start."""
    if theta is None:
        with catch_warnings():
            # The length scale of an irrelevant feature ends at its bound.
            simplefilter("ignore", ConvergenceWarning)
            theta = make(start).fit(places[:FITTED], values[:FITTED]).kernel_.theta
    return make(start.clone_with_theta(np.array(theta)), optimizer=None).fit(places, values)


def _kernel() -> Kernel:
    """Return the kernel with the parameters to begin a fit with."""
    wide = (1e-3, 1e3)
    return ConstantKernel(1.0, wide) * Matern([1.0] * 4, wide, nu=2.5)


def _trainings(places: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places and values of single trainings, from values `(n, seeds)` or NaN."""
    settings, seeds = np.nonzero(np.isfinite(values))
    return places[settings], values[settings, seeds]


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


def divergences(table: Table) -> np.ndarray:
    """Return whether trainings diverged `(n, seeds)`, as 0 or 1; NaN for a seed not trained."""
    last = table.outcomes.loss[:, :, -1]
    return np.where(np.isnan(last), np.nan, np.isinf(last))


def targets(table: Table, chosen: np.ndarray | None = None) -> Predicted:
    """Return the means over the seeds of the table's settings, or of those with some indices."""
    chosen = np.arange(len(table.settings)) if chosen is None else chosen
    failed, diverged = failures(table)[chosen], divergences(table)[chosen]
    loss = table.outcomes.loss[chosen]
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

"""The problem `fashion-mnist-table`: the paper's problem in less than a millisecond.

A Gaussian process, fitted to the table of `benchmarks.table.make`, predicts the validation loss at
any setting; `benchmarks.table.model` fits its kernel and states its error.

The prediction is the mean over training seeds of the validation loss after each epoch, where a
loss above that of guessing, log 10, counts as guessing. The loss is infinite where at least half
of the seeds are predicted to diverge.
"""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
import optuna
from optuna import Trial
from scipy.spatial import KDTree
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Kernel, Matern, WhiteKernel

from benchmarks.rows import RESULTS
from benchmarks.table.make import Table, read_table
from benchmarks.trainings import GUESSING
from optuna_ga.fashion_mnist import SEARCH_SPACE

CPU_TABLE = RESULTS / "fashion_mnist_table_cpu.npz"


class Optimum(NamedTuple):
    """The best setting `(3,)` in the order of the search space, and its loss."""

    setting: tuple[float, ...]
    loss: float


class TableProblem:
    """Objective that looks the validation loss up instead of training.

    Like `FashionMNISTObjective` it is called with a trial, suggests the paper's parameters and
    reports every epoch, so that pruners work. Without noise equal settings have equal losses. With
    noise a trial's loss is multiplied by the ratio of a training seed's loss to the mean over
    seeds, at the nearest setting of the table that was trained with every seed; the noise seed and
    the trial's number choose the training seed.

    Args:
        path: The table; its model is the file beside it that ends in json.
        noise_seed: Seed of the noise, at least 0. None means no noise.
    """

    def __init__(self, path: Path = CPU_TABLE, *, noise_seed: int | None = None) -> None:
        table = read_table(path)
        self._table = table
        self._noise_seed = noise_seed
        self.facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        self.optimum = Optimum(
            tuple(self.facts["optimum"]["setting"]), self.facts["optimum"]["loss"]
        )
        self._surrogate = Surrogate(table, kernel(self.facts["theta"]))
        complete = ~np.isnan(table.outcomes.loss).any(axis=(1, 2))  # Trained with every seed.
        self._losses = table.outcomes.loss[complete]
        self._nearest = KDTree(self._surrogate.scaled(table.trained[complete]))

    @property
    def epochs(self) -> int:
        """Epochs of a training."""
        return self._table.recipe.epochs

    @property
    def lowest_rate(self) -> float:
        """The lowest learning rate of the table."""
        return float(self._table.trained[:, 0].min())

    @property
    def worst_regret(self) -> float:
        """The regret of guessing and of divergence."""
        return GUESSING - self.optimum.loss

    def losses(self, settings: np.ndarray) -> np.ndarray:
        """Return the losses after each epoch, without noise, infinite from divergence on.

        Args:
            settings: Learning rates, momenta and weight decays `(n, 3)`.

        Returns:
            Validation losses `(n, epochs)`.
        """
        return self._surrogate.losses(settings)

    def regret(self, setting: np.ndarray) -> float:
        """Return the loss at a setting `(3,)`, at most that of guessing, less the optimum's."""
        (losses,) = self.losses(setting[None])
        return min(float(losses[-1]), GUESSING) - self.optimum.loss

    def __call__(self, trial: Trial) -> float:
        """Return the loss after the last epoch.

        Raises:
            optuna.TrialPruned: If the study's pruner ends the trial before its last epoch.
        """
        setting = np.array(
            [trial.suggest_float(n, d.low, d.high) for n, d in SEARCH_SPACE.items()]
        )
        (losses,) = self.losses(setting[None])
        if self._noise_seed is not None:
            losses = losses * self._noise(setting, self._noise_seed, trial.number)
        for step, loss in enumerate(losses.tolist(), start=1):
            if not np.isfinite(loss):
                return float("inf")
            trial.report(loss, step)
            if step < self.epochs and trial.should_prune():
                raise optuna.TrialPruned
        return float(loss)

    def _noise(self, setting: np.ndarray, seed: int, number: int) -> np.ndarray:
        """Return the ratios `(epochs,)` of a seed's losses to the mean at the nearest setting.

        The mean is the geometric mean over the seeds that did not diverge. The ratio is infinite
        where the chosen seed diverged.
        """
        _, nearest = self._nearest.query(self._surrogate.scaled(setting[None])[0])
        losses = self._losses[nearest]  # (seeds, epochs)
        chosen = int(np.random.default_rng([seed, number]).integers(len(losses)))
        logs = np.log(np.minimum(losses, GUESSING))
        finite = np.isfinite(losses)
        n = finite.sum(axis=0).clip(1)  # (epochs,)
        means = np.where(finite, logs, 0.0).sum(axis=0) / n
        # Values are nearer to their own mean than to the true one, hence n / (n - 1).
        residual = (logs[chosen] - means) * np.sqrt(n / (n - 1).clip(1))
        return np.where(finite[chosen], np.exp(residual), np.inf)


class Surrogate:
    """Gaussian process over the settings of a table.

    Args:
        table: The table; it need not be complete.
        kernel: The kernel.
        fit: Whether to fit the kernel's parameters to the table.
        chosen: Indices of the settings to use. None takes all.
    """

    def __init__(
        self, table: Table, kernel: Kernel, *, fit: bool = False, chosen: np.ndarray | None = None
    ) -> None:
        n = len(table.outcomes.loss)
        chosen = np.arange(n) if chosen is None else chosen
        found = features(table.trained[chosen])  # (n, 4)
        self._mean, self._deviation = found.mean(axis=0), found.std(axis=0)
        self._process = GaussianProcessRegressor(
            kernel, optimizer="fmin_l_bfgs_b" if fit else None, normalize_y=True
        )
        with catch_warnings():
            # The length scale of an irrelevant feature ends at its bound.
            simplefilter("ignore", ConvergenceWarning)
            self._process.fit(self.scaled(table.trained[chosen]), targets(table)[chosen])

    @property
    def theta(self) -> list[float]:
        """The logarithms of the kernel's parameters."""
        return [float(value) for value in self._process.kernel_.theta]

    def scaled(self, settings: np.ndarray) -> np.ndarray:
        """Return the features of settings `(n, 3)`, each with mean 0 and deviation 1."""
        return np.asarray((features(settings) - self._mean) / self._deviation)

    def predict(self, settings: np.ndarray) -> np.ndarray:
        """Return the predicted targets of settings `(n, 3)`; see `targets`."""
        return np.asarray(self._process.predict(self.scaled(settings)))

    def losses(self, settings: np.ndarray) -> np.ndarray:
        """Return the losses after each epoch `(n, epochs)`, infinite from divergence on."""
        losses, diverged = np.split(self.predict(settings), 2, axis=1)
        has_diverged = np.logical_or.accumulate(diverged >= 0.5, axis=1)
        return np.where(has_diverged, np.inf, losses)


def kernel(theta: list[float] | None = None) -> Kernel:
    """Return the kernel with these parameters, or with those to begin a fit with."""
    wide = (1e-3, 1e3)
    start = ConstantKernel(1.0, wide) * Matern([1.0] * 4, wide, nu=2.5) + WhiteKernel(0.05, wide)
    return start if theta is None else start.clone_with_theta(np.array(theta))


def features(settings: np.ndarray) -> np.ndarray:
    """Return the inputs `(n, 4)` of the process at settings `(n, 3)`.

    With momentum m a step of SGD acts for 1 / (1 - m) steps, so that the quotient of learning rate
    and 1 - m decides on divergence; above 0.1 its order of magnitude matters.
    """
    rate, momentum, decay = settings.T
    effective = np.log(0.1 + rate / (1 - momentum))
    return np.column_stack([effective, np.log(rate), momentum, decay])


def targets(table: Table) -> np.ndarray:
    """Return the process's targets: mean losses and shares of diverged seeds `(n, 2 epochs)`."""
    loss = table.outcomes.loss  # NaN for a seed that was not trained.
    diverged = np.where(np.isnan(loss), np.nan, np.isinf(loss))
    return np.hstack(
        [np.nanmean(np.minimum(loss, GUESSING), axis=1), np.nanmean(diverged, axis=1)]
    )


def fingerprint(path: Path) -> str:
    """Return a table's name with a hash of it and of its model."""
    content = path.read_bytes() + path.with_suffix(".json").read_bytes()
    return f"{path.name} {sha256(content).hexdigest()[:8]}"


def results_on(path: Path, name: str) -> Path:
    """Return the file of results on a table: `name` with the table's device."""
    *_, device = path.stem.rpartition("_")
    return RESULTS / f"{name}_{device}.csv"


@lru_cache(maxsize=4)
def table_problem(path: Path = CPU_TABLE, noise_seed: int | None = None) -> TableProblem:
    """Return the problem, which is set up once in a process."""
    return TableProblem(path, noise_seed=noise_seed)

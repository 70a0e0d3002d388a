"""The problem `fashion-mnist-table`: the paper's problem in less than a millisecond.

A training succeeds or fails: it diverges, or its loss stays that of guessing. Where learning
rates are high either may happen, by the luck of a training seed. The model of the table, see
`benchmarks.table.surrogate`, predicts the losses of trainings that succeed, and how many fail;
`benchmarks.table.model` fits it and states its errors.

The loss of a setting is the mean over training seeds, in which a failure counts as guessing,
log 10. It is infinite where at least half of the trainings are predicted to diverge.
"""

from __future__ import annotations

import json
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna import Trial
from scipy.spatial import KDTree

from benchmarks.rows import RESULTS
from benchmarks.table.surrogate import Predicted, Surrogate, failures
from benchmarks.table.table import TABLE, read_table
from benchmarks.trainings import GUESSING
from optuna_ga.fashion_mnist import SEARCH_SPACE


class Optimum(NamedTuple):
    """The best setting `(3,)` in the order of the search space, and its loss."""

    setting: tuple[float, ...]
    loss: float


class TableProblem:
    """Objective that looks the validation loss up instead of training.

    Like `FashionMNISTObjective` it is called with a trial, suggests the paper's parameters and
    reports every epoch, so that pruners work. Without noise equal settings have equal losses. With
    noise a trial is one training: it diverges or guesses with the predicted probability, and else
    its losses are multiplied by a power of the ratio of a training seed's to the geometric mean
    over seeds, at the nearest setting of the table at which every seed was trained and succeeded;
    the power makes the variance right. The noise seed and the trial's number choose.

    Args:
        path: The table; its model is the file beside it that ends in json.
        noise_seed: Seed of the noise, at least 0. None means no noise.
    """

    def __init__(self, path: Path = TABLE, *, noise_seed: int | None = None) -> None:
        self._model = _model(path)
        self._noise_seed = noise_seed
        self.facts = self._model.facts
        self.optimum = Optimum(
            tuple(self.facts["optimum"]["setting"]), self.facts["optimum"]["loss"]
        )

    @property
    def epochs(self) -> int:
        """Epochs of a training."""
        return self._model.table.recipe.epochs

    @property
    def lowest_rate(self) -> float:
        """The lowest learning rate of the table."""
        return float(self._model.table.settings[:, 0].min())

    @property
    def worst_regret(self) -> float:
        """The regret of guessing and of divergence."""
        return GUESSING - self.optimum.loss

    def losses(self, settings: np.ndarray) -> np.ndarray:
        """Return the mean losses after each epoch, infinite where most trainings diverge.

        Args:
            settings: Learning rates, momenta and weight decays `(n, 3)`.

        Returns:
            Validation losses `(n, epochs)`.
        """
        return self.predicted(settings).losses

    def predicted(self, settings: np.ndarray) -> Predicted:
        """Return what is predicted for settings `(n, 3)`."""
        return self._model.surrogate.predict(settings)

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
        if self._noise_seed is None:
            (losses,) = self.losses(setting[None])
        else:
            losses = self._training(setting, self._noise_seed, trial.number)
        for step, loss in enumerate(losses.tolist(), start=1):
            if not np.isfinite(loss):
                return float("inf")
            trial.report(loss, step)
            if step < self.epochs and trial.should_prune():
                raise optuna.TrialPruned
        return float(loss)

    def _training(self, setting: np.ndarray, seed: int, number: int) -> np.ndarray:
        """Return the losses `(epochs,)` of one training."""
        rng = np.random.default_rng([seed, number])
        predicted = self.predicted(setting[None])
        ((failed, diverged),) = predicted.shares
        luck = rng.random()
        if luck < failed:
            return np.full(self.epochs, np.inf if luck < diverged else GUESSING)
        (place,) = self._model.surrogate.scaled(setting[None])
        _, nearest = self._model.nearest.query(place)
        logs = self._model.logs[nearest]  # (seeds, epochs)
        # Values are nearer to their own mean than to the true one, hence n / (n - 1).
        n = len(logs)
        residual = (logs[rng.integers(n)] - logs.mean(axis=0)) * np.sqrt(n / (n - 1))
        return np.asarray(np.exp(predicted.log_losses[0] + residual))


class _Model:
    """What all problems on a table share: the table with its model.

    Attributes:
        table: The table.
        facts: What `benchmarks.table.model` wrote.
        logs: Logarithms of the losses `(n, seeds, epochs)` at the settings at which every seed was
            trained and succeeded.
    """

    def __init__(self, path: Path) -> None:
        self.table = read_table(path)
        self.facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        self._complete = (failures(self.table) == 0).all(axis=1)
        self.logs = np.log(self.table.outcomes.loss[self._complete])

    @cached_property
    def surrogate(self) -> Surrogate:
        """The Gaussian processes, which take some seconds once."""
        return Surrogate(self.table, self.facts["theta"])

    @cached_property
    def nearest(self) -> KDTree:
        """Finds the nearest of the settings of the logarithms."""
        return KDTree(self.surrogate.scaled(self.table.settings[self._complete]))


@lru_cache(maxsize=2)
def _model(path: Path) -> _Model:
    return _Model(path)


def fingerprint(path: Path) -> str:
    """Return a table's name with a hash of it and of its model."""
    content = path.read_bytes() + path.with_suffix(".json").read_bytes()
    return f"{path.name} {sha256(content).hexdigest()[:8]}"


def results_on(path: Path, name: str) -> Path:
    """Return the file of results on a table: `name` with the table's device."""
    *_, device = path.stem.rpartition("_")
    return RESULTS / f"{name}_{device}.csv"

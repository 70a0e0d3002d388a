"""Tuning of a model on a small data set, where every trial has a split of its own.

A trial's value is the model's loss on one half of the rows after a fit to the other half. The
trial's number sets the halves, which makes the noise. The score is the mean over ten fixed splits
that no trial has. A loss is at most twice that of the best constant; a model that cannot be fitted
has this loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
)
from scipy.stats import rankdata
from sklearn import config_context, datasets
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.model_selection import train_test_split

from benchmarks.suites.task import suggest

N_SCORE_SPLITS = 10
LOWEST_PROBABILITY = 1e-3
MAX_SVM_STEPS = 1000
"""The steps after which libsvm stops; without scaling it may need millions."""
FAST = {"skip_parameter_validation": True, "assume_finite": True}

Ask = Callable[[str], Any]
"""Returns the value of a parameter that a model needs."""
Loss = Callable[[Any, np.ndarray, np.ndarray], float]
"""Returns the loss of a fitted model on features and targets."""


class Data(NamedTuple):
    """Features `(n, d)` and targets `(n,)`: classes 0 and up, or numbers with deviation 1."""

    features: np.ndarray
    targets: np.ndarray

    @property
    def is_classes(self) -> bool:
        """Whether the targets are classes."""
        return bool(self.targets.dtype.kind == "i")


class Split(NamedTuple):
    """Rows that a model is fitted to, and rows on which it is judged."""

    train: np.ndarray
    validation: np.ndarray


class Problem(NamedTuple):
    """A model to tune.

    Attributes:
        data: Returns the data.
        space: Every parameter that the model may have.
        build: Returns the model before its fit; suggests the parameters that it needs.
        loss: The loss to minimize.
    """

    data: Callable[[], Data]
    space: Mapping[str, BaseDistribution]
    build: Callable[[Ask], Any]
    loss: Loss


class Resampled:
    """Objective of a problem.

    Args:
        problem: The problem.
        seed: Seed of the trials' splits.

    Attributes:
        worst: The highest loss.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self.space = problem.space
        self.worst = worst_loss(problem)
        self._problem = problem
        self._seed = seed
        self._scores: dict[frozenset[tuple[str, Any]], float] = {}

    def __call__(self, trial: Trial) -> float:
        """Return the loss on the trial's split."""
        model = self._problem.build(lambda name: suggest(trial, name, self.space[name]))
        return self._loss(model, trial_split(self._problem.data(), self._seed, trial.number))

    def score(self, params: Mapping[str, Any]) -> float:
        """Return the mean loss over the splits that no trial has."""
        key = frozenset(params.items())
        if key not in self._scores:
            model = self._problem.build(params.__getitem__)
            losses = [self._loss(model, split) for split in score_splits(self._problem.data)]
            self._scores[key] = float(np.mean(losses))
        return self._scores[key]

    def _loss(self, model: Any, split: Split) -> float:
        features, targets = self._problem.data()
        try:
            with catch_warnings(), np.errstate(all="ignore"), config_context(**FAST):
                simplefilter("ignore", UserWarning)  # Not converged, constant features, and so on.
                simplefilter("ignore", RuntimeWarning)
                model.fit(features[split.train], targets[split.train])
                loss = self._problem.loss(
                    model, features[split.validation], targets[split.validation]
                )
        except (ValueError, ArithmeticError):  # As SGD does when it diverges.
            return self.worst
        return min(loss, self.worst) if np.isfinite(loss) else self.worst


def worst_loss(problem: Problem) -> float:
    """Return twice the loss of the best constant."""
    features, targets = data = problem.data()
    constant = DummyClassifier() if data.is_classes else DummyRegressor()
    return 2 * problem.loss(constant.fit(features, targets), features, targets)


def trial_split(data: Data, seed: int, number: int) -> Split:
    """Return the split of a trial."""
    return _split(data, np.random.default_rng([seed, number, 0]))


@lru_cache
def score_splits(load: Callable[[], Data]) -> tuple[Split, ...]:
    """Return the splits of the score."""
    # The last number is never that of a trial's split.
    return tuple(_split(load(), np.random.default_rng([0, i, 1])) for i in range(N_SCORE_SPLITS))


def _split(data: Data, rng: np.random.Generator) -> Split:
    classes = data.targets if data.is_classes else np.zeros(len(data.targets))
    order = np.lexsort([rng.random(len(classes)), classes])  # Random within each class.
    return Split(order[::2], order[1::2])


def log_loss(model: Any, features: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean of -log p, where p is the true class's probability, at least 0.001."""
    probabilities = model.predict_proba(features)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(probabilities, LOWEST_PROBABILITY)).mean())


def ranking_loss(model: Any, features: np.ndarray, targets: np.ndarray) -> float:
    """Return 1 - AUC, the mean over classes of one against the rest.

    It applies to models without probabilities, too, and has fewer ties than the error.
    """
    decide = getattr(model, "decision_function", None) or model.predict_proba
    decisions = np.asarray(decide(features))
    if decisions.ndim == 1:
        decisions = np.column_stack([-decisions, decisions])
    if not np.isfinite(decisions).all():
        return float("nan")
    n, n_classes = decisions.shape
    is_class = targets[:, None] == np.arange(n_classes)  # (n, classes)
    n_in = is_class.sum(axis=0)
    ranks = np.where(is_class, rankdata(decisions, axis=0), 0.0).sum(axis=0)
    auc = (ranks - n_in * (n_in + 1) / 2) / (n_in * (n - n_in))
    return float(1 - auc.mean())


def relative_rmse(model: Any, features: np.ndarray, targets: np.ndarray) -> float:
    """Return the root mean squared error; the targets have deviation 1."""
    return float(np.sqrt(np.mean((model.predict(features) - targets) ** 2)))


@lru_cache
def digits() -> Data:
    """Return 360 of the handwritten digits."""
    features, targets = datasets.load_digits(return_X_y=True)
    chosen, _ = train_test_split(
        np.arange(len(targets)), train_size=360, stratify=targets, random_state=0
    )
    return Data(features[chosen], targets[chosen])


@lru_cache
def breast_cancer() -> Data:
    """Return the 569 tumours."""
    return Data(*datasets.load_breast_cancer(return_X_y=True))


@lru_cache
def wine() -> Data:
    """Return the 178 wines."""
    return Data(*datasets.load_wine(return_X_y=True))


@lru_cache
def diabetes() -> Data:
    """Return the 442 patients."""
    features, targets = datasets.load_diabetes(return_X_y=True)
    return Data(features, _standardized(targets))


def _standardized(values: np.ndarray) -> np.ndarray:
    deviation = values.std(axis=0)
    centred = values - values.mean(axis=0)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1.0))


@lru_cache
def standardized(load: Callable[[], Data]) -> Data:
    """Return data whose features, over all rows, have mean 0 and deviation 1 or 0."""
    features, targets = load()
    return Data(_standardized(features), targets)


@lru_cache
def with_noise(load: Callable[[], Data], n_features: int) -> Data:
    """Return data with uninformative features added, each a permutation of a feature."""
    features, targets = load()
    rng = np.random.default_rng(0)
    chosen = rng.integers(features.shape[1], size=n_features)
    noise = rng.permuted(features[:, chosen], axis=0)
    return Data(np.hstack([features, noise]), targets)

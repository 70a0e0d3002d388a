"""Tasks of the suite `conditional` that choose among three to six models.

Each model has parameters of its own and none is shared, so that a trial of one model says little
of the others. The features have mean 0 and deviation 1. A model's parameters begin with its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from benchmarks.suites.resampled import (
    MAX_SVM_STEPS,
    Ask,
    Data,
    Loss,
    Problem,
    breast_cancer,
    diabetes,
    digits,
    ranking_loss,
    relative_rmse,
    standardized,
    wine,
    with_noise,
)
from benchmarks.suites.task import Space

SPACES: Mapping[str, Space] = {
    "svm": {
        "C": FloatDistribution(1e-3, 1e3, log=True),
        "gamma": FloatDistribution(1e-5, 10, log=True),
    },
    "neighbours": {
        "n_neighbors": IntDistribution(1, 50, log=True),
        "weights": CategoricalDistribution(["uniform", "distance"]),
        "p": FloatDistribution(1, 4),
    },
    "tree": {
        "max_depth": IntDistribution(1, 16, log=True),
        "min_samples_leaf": IntDistribution(1, 50, log=True),
        "max_features": FloatDistribution(0.1, 1),
    },
    "forest": {
        "max_depth": IntDistribution(1, 16, log=True),
        "max_features": FloatDistribution(0.05, 1, log=True),
        "min_samples_leaf": IntDistribution(1, 20, log=True),
    },
    "linear": {
        "alpha": FloatDistribution(1e-6, 1, log=True),
        "penalty": CategoricalDistribution(["l1", "l2"]),
        "eta0": FloatDistribution(1e-4, 1, log=True),
    },
    "bayes": {"var_smoothing": FloatDistribution(1e-12, 10, log=True)},
    "ridge": {"alpha": FloatDistribution(1e-3, 1e5, log=True)},
    "kernel_ridge": {
        "alpha": FloatDistribution(1e-4, 1e2, log=True),
        "gamma": FloatDistribution(1e-5, 1, log=True),
    },
}
CLASSIFIERS: Mapping[str, Callable[..., Any]] = {
    "svm": partial(SVC, max_iter=MAX_SVM_STEPS),
    "neighbours": KNeighborsClassifier,
    "tree": partial(DecisionTreeClassifier, random_state=0),
    "forest": partial(RandomForestClassifier, 4, random_state=0),
    "linear": partial(
        SGDClassifier, "log_loss", learning_rate="constant", max_iter=6, tol=None, random_state=0
    ),
    "bayes": GaussianNB,
}
REGRESSORS: Mapping[str, Callable[..., Any]] = {
    "svm": partial(SVR, max_iter=MAX_SVM_STEPS),
    "neighbours": KNeighborsRegressor,
    "tree": partial(DecisionTreeRegressor, random_state=0),
    "forest": partial(RandomForestRegressor, 4, random_state=0),
    "ridge": Ridge,
    "kernel_ridge": partial(KernelRidge, kernel="rbf"),
}


def space(models: Mapping[str, Callable[..., Any]]) -> dict[str, BaseDistribution]:
    """Return the parameters of all models, and the choice among them."""
    own = {f"{model}_{name}": d for model in models for name, d in SPACES[model].items()}
    return {"model": CategoricalDistribution(list(models)), **own}


def chosen(models: Mapping[str, Callable[..., Any]], ask: Ask) -> Any:
    """Return the suggested model with its parameters."""
    model = ask("model")
    return models[model](**{name: ask(f"{model}_{name}") for name in SPACES[model]})


@lru_cache
def friedman() -> Data:
    """Return 300 points of Friedman's first function, with noise and five idle features."""
    features, targets = datasets.make_friedman1(300, noise=2.0, random_state=0)
    return Data(features, (targets - targets.mean()) / targets.std())


@lru_cache
def moons() -> Data:
    """Return 300 points of two half circles that overlap."""
    features, targets = datasets.make_moons(300, noise=0.35, random_state=0)
    return Data(features, np.asarray(targets))


def _problem(
    data: Callable[[], Data],
    kinds: Mapping[str, Callable[..., Any]],
    loss: Loss,
    without: tuple[str, ...] = (),
) -> Problem:
    models = {name: model for name, model in kinds.items() if name not in without}
    return Problem(partial(standardized, data), space(models), partial(chosen, models), loss)


PROBLEMS = {
    "models-digits": _problem(digits, CLASSIFIERS, ranking_loss),
    "models-diabetes": _problem(diabetes, REGRESSORS, relative_rmse),
    "models-moons": _problem(moons, CLASSIFIERS, ranking_loss, ("svm", "neighbours")),
    "models-wine": _problem(partial(with_noise, wine, 52), CLASSIFIERS, ranking_loss),
    "models-cancer": _problem(breast_cancer, CLASSIFIERS, ranking_loss, ("linear",)),
    "models-friedman": _problem(
        friedman, REGRESSORS, relative_rmse, ("svm", "ridge", "kernel_ridge")
    ),
}
HELD_OUT = {"models-wine", "models-cancer", "models-friedman"}

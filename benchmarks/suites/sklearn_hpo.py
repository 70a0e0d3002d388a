"""The suite `sklearn-hpo`: usual models of scikit-learn on the data sets that it ships.

Each model is tuned in ranges that are usual before the data are seen. Of each kind there is a
model for tuning and a model for the report: a kernel machine, an ensemble of trees, a model
trained by gradient steps, and nearest neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingRegressor
from sklearn.linear_model import SGDClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, SVR

from benchmarks.suites.resampled import (
    Ask,
    Problem,
    Resampled,
    breast_cancer,
    diabetes,
    digits,
    log_loss,
    ranking_loss,
    relative_rmse,
    standardized,
    wine,
)
from benchmarks.suites.task import Suite, tasks_of

N_TREES = 4
MAX_SVM_STEPS = 3000
"""The steps after which libsvm stops; a polynomial kernel may need millions."""

KERNEL = {
    "C": FloatDistribution(1e-3, 1e3, log=True),
    "kernel": CategoricalDistribution(["rbf", "poly", "sigmoid"]),
    "gamma": FloatDistribution(1e-5, 10, log=True),
    "coef0": FloatDistribution(-1, 1),
    "degree": IntDistribution(2, 5),
}
BOOSTING = {
    "n_estimators": IntDistribution(3, 40, log=True),
    "learning_rate": FloatDistribution(1e-3, 1, log=True),
    "max_depth": IntDistribution(1, 8),
    "min_samples_leaf": IntDistribution(1, 50, log=True),
    "max_features": FloatDistribution(0.1, 1),
    "subsample": FloatDistribution(0.2, 1),
}
TREES = {
    "criterion": CategoricalDistribution(["gini", "entropy"]),
    "max_depth": IntDistribution(1, 20, log=True),
    "min_samples_leaf": IntDistribution(1, 30, log=True),
    "min_samples_split": IntDistribution(2, 60, log=True),
    "min_impurity_decrease": FloatDistribution(1e-5, 0.1, log=True),
    "max_features": FloatDistribution(0.02, 1, log=True),
}
PERCEPTRON = {
    "n_layers": IntDistribution(1, 2),
    "width": IntDistribution(2, 64, log=True),
    "activation": CategoricalDistribution(["relu", "tanh", "logistic"]),
    "alpha": FloatDistribution(1e-6, 10, log=True),
    "learning_rate": FloatDistribution(1e-4, 0.3, log=True),
    "batch_size": IntDistribution(16, 64, log=True),
    "epochs": IntDistribution(2, 12, log=True),
}
LOGISTIC = {
    "penalty": CategoricalDistribution(["l1", "l2", "elasticnet"]),
    "l1_ratio": FloatDistribution(0, 1),
    "alpha": FloatDistribution(1e-6, 1, log=True),
    "schedule": CategoricalDistribution(["constant", "invscaling", "optimal"]),
    "eta0": FloatDistribution(1e-4, 10, log=True),
    "epochs": IntDistribution(1, 20, log=True),
    "average": CategoricalDistribution([False, True]),
}
NEIGHBOURS = {
    "n_neighbors": IntDistribution(1, 60, log=True),
    "weights": CategoricalDistribution(["uniform", "distance"]),
    "metric": CategoricalDistribution(["euclidean", "manhattan", "chebyshev", "cosine"]),
    "n_components": IntDistribution(1, 10),
    "whiten": CategoricalDistribution([False, True]),
}


def _kernel(model: Callable[..., Any], ask: Ask) -> Any:
    return model(**{name: ask(name) for name in KERNEL}, max_iter=MAX_SVM_STEPS)


def _support_regressor(ask: Ask) -> Any:
    return _kernel(partial(SVR, epsilon=ask("epsilon")), ask)


def _boosting(ask: Ask) -> Any:
    return GradientBoostingRegressor(**{name: ask(name) for name in BOOSTING}, random_state=0)


def _trees(ask: Ask) -> Any:
    chosen = {name: ask(name) for name in TREES}
    return ExtraTreesClassifier(N_TREES, **chosen, random_state=0)


def _perceptron(ask: Ask) -> Any:
    return MLPClassifier(
        (ask("width"),) * ask("n_layers"),
        activation=ask("activation"),
        alpha=ask("alpha"),
        learning_rate_init=ask("learning_rate"),
        batch_size=ask("batch_size"),
        max_iter=ask("epochs"),
        random_state=0,
    )


def _logistic(ask: Ask) -> Any:
    return SGDClassifier(
        loss="log_loss",
        penalty=ask("penalty"),
        l1_ratio=ask("l1_ratio"),
        alpha=ask("alpha"),
        learning_rate=ask("schedule"),
        eta0=ask("eta0"),
        max_iter=ask("epochs"),
        average=ask("average"),
        tol=None,
        random_state=0,
    )


def _neighbours(model: Callable[..., Any], ask: Ask) -> Any:
    return make_pipeline(
        PCA(ask("n_components"), whiten=ask("whiten"), svd_solver="full"),
        model(ask("n_neighbors"), weights=ask("weights"), metric=ask("metric")),
    )


_EPSILON = {"epsilon": FloatDistribution(1e-3, 2, log=True)}
_DIGITS = partial(standardized, digits)
_WINE = partial(standardized, wine)
_CANCER = partial(standardized, breast_cancer)
_DIABETES = partial(standardized, diabetes)

PROBLEMS = {
    "svc-digits": Problem(_DIGITS, KERNEL, partial(_kernel, SVC), ranking_loss),
    "boosting-diabetes": Problem(_DIABETES, BOOSTING, _boosting, relative_rmse),
    "perceptron-wine": Problem(_WINE, PERCEPTRON, _perceptron, log_loss),
    "neighbours-cancer": Problem(
        _CANCER, NEIGHBOURS, partial(_neighbours, KNeighborsClassifier), log_loss
    ),
    "svr-diabetes": Problem(_DIABETES, KERNEL | _EPSILON, _support_regressor, relative_rmse),
    "trees-digits": Problem(_DIGITS, TREES, _trees, log_loss),
    "logistic-cancer": Problem(_CANCER, LOGISTIC, _logistic, log_loss),
    "neighbours-diabetes": Problem(
        _DIABETES, NEIGHBOURS, partial(_neighbours, KNeighborsRegressor), relative_rmse
    ),
}
HELD_OUT = {"svr-diabetes", "trees-digits", "logistic-cancer", "neighbours-diabetes"}

SKLEARN_HPO = Suite(
    "sklearn-hpo",
    tasks_of(Resampled, PROBLEMS, HELD_OUT),
    n_trials=200,
    n_seeds=20,
)

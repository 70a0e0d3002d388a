"""Suite `trade-offs`: the loss of a model of scikit-learn against its size.

The loss is the mean over two splits, which the seed sets. The size is the number of numbers that
the fitted model holds and a prediction may read. The hypervolume is measured from a perfect model
of one number to one that is no better than the best constant and holds 100,000 numbers, the size
on a logarithmic scale. Samplers get the size itself. A model that cannot be fitted counts as the
reference point. Nothing may be tuned on the held-out half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingRegressor
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import SGDClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC, SVR

from benchmarks.suites.hypervolume import missing_hypervolume
from benchmarks.suites.resampled import (
    FAST,
    MAX_SVM_STEPS,
    Ask,
    Data,
    Loss,
    Problem,
    breast_cancer,
    diabetes,
    digits,
    log_loss,
    ranking_loss,
    relative_rmse,
    standardized,
    trial_split,
    wine,
    worst_loss,
)
from benchmarks.suites.task import Suite, suggest, tasks_of

LARGEST = 100_000
N_SPLITS = 2
NUMBERS_OF_NODE = 3  # Feature, threshold and value.

TREES = {
    "n_trees": IntDistribution(1, 16, log=True),
    "criterion": CategoricalDistribution(["gini", "entropy"]),
    "max_depth": IntDistribution(1, 16, log=True),
    "min_samples_leaf": IntDistribution(1, 30, log=True),
    "max_features": FloatDistribution(0.05, 1, log=True),
}
BOOSTING = {
    "n_estimators": IntDistribution(1, 40, log=True),
    "learning_rate": FloatDistribution(1e-2, 1, log=True),
    "max_depth": IntDistribution(1, 6),
    "min_samples_leaf": IntDistribution(1, 50, log=True),
    "subsample": FloatDistribution(0.2, 1),
}
PERCEPTRON = {
    "n_layers": IntDistribution(1, 2),
    "width": IntDistribution(1, 64, log=True),
    "activation": CategoricalDistribution(["relu", "tanh", "logistic"]),
    "alpha": FloatDistribution(1e-6, 10, log=True),
    "learning_rate": FloatDistribution(1e-3, 0.3, log=True),
    "epochs": IntDistribution(2, 12, log=True),
}
KERNEL = {
    "n_components": IntDistribution(1, 10),
    "C": FloatDistribution(1e-3, 1e3, log=True),
    "kernel": CategoricalDistribution(["rbf", "poly", "sigmoid"]),
    "gamma": FloatDistribution(1e-5, 10, log=True),
}
EPSILON = {"epsilon": FloatDistribution(1e-2, 2, log=True)}
NEIGHBOURS = {
    "n_neighbors": IntDistribution(1, 60, log=True),
    "weights": CategoricalDistribution(["uniform", "distance"]),
    "n_components": IntDistribution(1, 10),
    "share": FloatDistribution(0.02, 1, log=True),
}
LINEAR = {
    "penalty": CategoricalDistribution(["l1", "elasticnet"]),
    "alpha": FloatDistribution(1e-5, 1, log=True),
    "l1_ratio": FloatDistribution(0, 1),
    "eta0": FloatDistribution(1e-3, 1, log=True),
}


class TradeOff:
    """Loss and size of a model.

    Args:
        problem: The problem.
        seed: Seed of the splits.
    """

    n_objectives = 2

    def __init__(self, problem: Problem, seed: int) -> None:
        self.space = problem.space
        self._problem = problem
        data = problem.data()
        self._splits = [trial_split(data, seed, number) for number in range(N_SPLITS)]
        self._reference = np.array([worst_loss(problem) / 2, math.log10(LARGEST)])

    def __call__(self, trial: Trial) -> list[float]:
        """Return the mean loss over the splits and the mean size."""
        model = self._problem.build(lambda name: suggest(trial, name, self.space[name]))
        found = np.mean([self._loss_and_size(model, *split) for split in self._splits], axis=0)
        return [float(value) for value in found]

    def score(self, values: np.ndarray) -> float:
        """Return the hypervolume that losses and sizes `(n, 2)` leave."""
        points = np.column_stack([values[:, 0], np.log10(values[:, 1])])
        return missing_hypervolume(points, np.zeros(2), self._reference)

    def _loss_and_size(
        self, model: Any, train: np.ndarray, validation: np.ndarray
    ) -> tuple[float, float]:
        features, targets = self._problem.data()
        worst = float(self._reference[0])
        try:
            with catch_warnings(), np.errstate(all="ignore"), config_context(**FAST):
                simplefilter("ignore", UserWarning)  # Not converged, constant features, and so on.
                simplefilter("ignore", RuntimeWarning)
                model.fit(features[train], targets[train])
                loss = self._problem.loss(model, features[validation], targets[validation])
        except (ValueError, ArithmeticError):  # As SGD does when it diverges.
            return worst, LARGEST
        return (min(loss, worst) if np.isfinite(loss) else worst), max(size_of(model), 1)


def size_of(model: Any) -> int:
    """Return how many numbers a fitted model holds."""
    match model:
        case Pipeline():
            return sum(size_of(step) for _, step in model.steps)
        case SelectKBest():
            return int(model.get_support().sum())
        case PCA():
            return int(model.components_.size)
        case Thinned():
            return size_of(model.model)
        case KNeighborsClassifier() | KNeighborsRegressor():
            return int(model.n_samples_fit_ * (model.n_features_in_ + 1))
        case SVC() | SVR():
            return int(model.support_vectors_.size + model.dual_coef_.size)
        case MLPClassifier() | MLPRegressor():
            return sum(int(part.size) for part in (*model.coefs_, *model.intercepts_))
        case SGDClassifier():
            return int(np.count_nonzero(model.coef_) + model.intercept_.size)
        case ExtraTreesClassifier() | GradientBoostingRegressor():
            trees = np.ravel(model.estimators_)
            return sum(NUMBERS_OF_NODE * int(tree.tree_.node_count) for tree in trees)
    raise AssertionError(model)


class Thinned:
    """A model that is fitted to the first rows alone, so that it holds fewer.

    Args:
        model: The model.
        share: Share of the rows.
        least: The least number of rows.
    """

    def __init__(self, model: Any, share: float, least: int) -> None:
        self.model = model
        self._share = share
        self._least = least

    def fit(self, features: np.ndarray, targets: np.ndarray) -> Thinned:
        """Fit the model to evenly spaced rows."""
        n = max(self._least, round(self._share * len(targets)))
        rows = np.linspace(0, len(targets) - 1, min(n, len(targets))).astype(int)
        self.model.fit(features[rows], targets[rows])
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["model"], name)


def _trees(ask: Ask) -> Any:
    chosen = {name: ask(name) for name in TREES}
    return ExtraTreesClassifier(chosen.pop("n_trees"), **chosen, random_state=0)


def _boosting(ask: Ask) -> Any:
    return GradientBoostingRegressor(**{name: ask(name) for name in BOOSTING}, random_state=0)


def _perceptron(model: Callable[..., Any], ask: Ask) -> Any:
    return model(
        hidden_layer_sizes=(ask("width"),) * ask("n_layers"),
        activation=ask("activation"),
        alpha=ask("alpha"),
        learning_rate_init=ask("learning_rate"),
        max_iter=ask("epochs"),
        random_state=0,
    )


def _kernel(model: Callable[..., Any], ask: Ask) -> Any:
    chosen = {name: ask(name) for name in KERNEL if name != "n_components"}
    reducer = PCA(ask("n_components"), svd_solver="full")
    return make_pipeline(reducer, model(**chosen, max_iter=MAX_SVM_STEPS))


def _support_regressor(ask: Ask) -> Any:
    return _kernel(partial(SVR, epsilon=ask("epsilon")), ask)


def _neighbours(model: Callable[..., Any], ask: Ask) -> Any:
    n_neighbours = ask("n_neighbors")
    found = model(n_neighbours, weights=ask("weights"))
    reducer = PCA(ask("n_components"), svd_solver="full")
    return make_pipeline(reducer, Thinned(found, ask("share"), n_neighbours))


def _linear(ask: Ask) -> Any:
    penalty = ask("penalty")
    return SGDClassifier(
        loss="log_loss",
        penalty=penalty,
        l1_ratio=ask("l1_ratio") if penalty == "elasticnet" else 1.0,
        alpha=ask("alpha"),
        eta0=ask("eta0"),
        learning_rate="constant",
        max_iter=10,
        tol=None,
        random_state=0,
    )


_MODELS: Mapping[str, tuple[Mapping[str, BaseDistribution], Callable[[Ask], Any]]] = {
    "trees": (TREES, _trees),
    "perceptron": (PERCEPTRON, partial(_perceptron, MLPClassifier)),
    "linear": (LINEAR, _linear),
    "neighbours": (NEIGHBOURS, partial(_neighbours, KNeighborsClassifier)),
}


def _any_model(ask: Ask) -> Any:
    name = ask("model")
    _, build = _MODELS[name]
    return build(lambda parameter: ask(f"{name}_{parameter}"))


ANY_MODEL: Mapping[str, BaseDistribution] = {
    "model": CategoricalDistribution(list(_MODELS)),
    **{
        f"{name}_{parameter}": distribution
        for name, (space, _) in _MODELS.items()
        for parameter, distribution in space.items()
    },
}


def _problem(
    load: Callable[[], Data],
    space: Mapping[str, BaseDistribution],
    build: Callable[[Ask], Any],
    loss: Loss,
) -> Problem:
    return Problem(partial(standardized, load), space, build, loss)


PROBLEMS = {
    "trees-wine": _problem(wine, TREES, _trees, log_loss),
    "perceptron-diabetes": _problem(
        diabetes, PERCEPTRON, partial(_perceptron, MLPRegressor), relative_rmse
    ),
    "svc-cancer": _problem(breast_cancer, KERNEL, partial(_kernel, SVC), ranking_loss),
    "any-wine": _problem(wine, ANY_MODEL, _any_model, log_loss),
    "trees-digits": _problem(digits, TREES, _trees, log_loss),
    "boosting-diabetes": _problem(diabetes, BOOSTING, _boosting, relative_rmse),
    "svr-diabetes": _problem(diabetes, KERNEL | EPSILON, _support_regressor, relative_rmse),
    "any-cancer": _problem(breast_cancer, ANY_MODEL, _any_model, log_loss),
}
HELD_OUT = {"trees-digits", "boosting-diabetes", "svr-diabetes", "any-cancer"}

TRADE_OFFS = Suite(
    "trade-offs",
    tasks_of(TradeOff, PROBLEMS, HELD_OUT),
    n_trials=200,
    n_seeds=10,
    several=True,
)

"""The suite `conditional`: pipelines in which a choice decides which parameters there are.

A trial chooses how to scale, how to reduce the features, and a model; then that model's kernel,
metric, penalty or way of sampling, each with parameters of its own. A trial has only the
parameters of its own pipeline, so that a parameter means the same wherever it occurs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.feature_selection import SelectKBest, f_classif, f_regression
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVC, SVR

from benchmarks.suites import model_choice
from benchmarks.suites.resampled import (
    MAX_SVM_STEPS,
    Ask,
    Data,
    Loss,
    Problem,
    Resampled,
    breast_cancer,
    diabetes,
    digits,
    ranking_loss,
    relative_rmse,
    wine,
    with_noise,
)
from benchmarks.suites.task import Suite, tasks_of

N_EPOCHS = 6


class Models(NamedTuple):
    """The models for one kind of targets, and the score of a feature."""

    svm: Callable[..., Any]
    neighbours: Callable[..., Any]
    forest: Callable[..., Any]
    linear: Callable[..., Any]
    linear_loss: str
    worth: Callable[..., Any]


CLASSIFIERS = Models(
    SVC,
    KNeighborsClassifier,
    RandomForestClassifier,
    SGDClassifier,
    "log_loss",
    f_classif,
)
REGRESSORS = Models(
    SVR,
    KNeighborsRegressor,
    RandomForestRegressor,
    SGDRegressor,
    "squared_error",
    f_regression,
)


def space(n_features: int) -> dict[str, BaseDistribution]:
    """Return the parameters of all branches."""
    return {
        "scaler": CategoricalDistribution(["none", "standard", "minmax", "row"]),
        "row_norm": CategoricalDistribution(["l1", "l2", "max"]),
        "reducer": CategoricalDistribution(["none", "pca", "kbest"]),
        "pca_n_components": IntDistribution(1, n_features, log=True),
        "pca_whiten": CategoricalDistribution([False, True]),
        "kbest_k": IntDistribution(1, n_features, log=True),
        "model": CategoricalDistribution(["svm", "neighbours", "forest", "linear"]),
        "svm_c": FloatDistribution(1e-3, 1e3, log=True),
        "svm_kernel": CategoricalDistribution(["linear", "rbf", "poly"]),
        "svm_gamma_rbf": FloatDistribution(1e-5, 10, log=True),
        "svm_gamma_poly": FloatDistribution(1e-5, 10, log=True),
        "svm_degree_poly": IntDistribution(2, 5),
        "svm_coef0_poly": FloatDistribution(0, 1),
        "neighbours_k": IntDistribution(1, 50, log=True),
        "neighbours_weights": CategoricalDistribution(["uniform", "distance"]),
        "neighbours_metric": CategoricalDistribution(["cosine", "minkowski"]),
        "neighbours_p_minkowski": IntDistribution(1, 2),
        "forest_n_trees": IntDistribution(1, 5),
        "forest_max_depth": IntDistribution(1, 16, log=True),
        "forest_max_features": FloatDistribution(0.05, 1, log=True),
        "forest_bootstrap": CategoricalDistribution([False, True]),
        "forest_share_bootstrap": FloatDistribution(0.1, 1),
        "linear_alpha": FloatDistribution(1e-6, 1, log=True),
        "linear_penalty": CategoricalDistribution(["l1", "l2", "elasticnet"]),
        "linear_ratio_elasticnet": FloatDistribution(0, 1),
        "linear_schedule": CategoricalDistribution(["constant", "invscaling"]),
        "linear_power_invscaling": FloatDistribution(0.1, 1),
        "linear_rate": FloatDistribution(1e-4, 1, log=True),
    }


def pipeline(models: Models, ask: Ask) -> Any:
    """Return the pipeline with the suggested parameters."""
    model = {"svm": _svm, "neighbours": _neighbours, "forest": _forest, "linear": _linear}
    return make_pipeline(_scaler(ask), _reducer(models, ask), model[ask("model")](models, ask))


def _scaler(ask: Ask) -> Any:
    match ask("scaler"):
        case "standard":
            return StandardScaler()
        case "minmax":
            return MinMaxScaler()
        case "row":
            return Normalizer(ask("row_norm"))
    return "passthrough"


def _reducer(models: Models, ask: Ask) -> Any:
    match ask("reducer"):
        case "pca":
            return PCA(ask("pca_n_components"), whiten=ask("pca_whiten"), svd_solver="full")
        case "kbest":
            return SelectKBest(models.worth, k=ask("kbest_k"))
    return "passthrough"


def _svm(models: Models, ask: Ask) -> Any:
    chosen = {"C": ask("svm_c"), "kernel": ask("svm_kernel")}
    match chosen["kernel"]:
        case "rbf":
            chosen["gamma"] = ask("svm_gamma_rbf")
        case "poly":
            chosen |= {name: ask(f"svm_{name}_poly") for name in ("gamma", "degree", "coef0")}
    return models.svm(**chosen, max_iter=MAX_SVM_STEPS)


def _neighbours(models: Models, ask: Ask) -> Any:
    chosen = {"weights": ask("neighbours_weights"), "metric": ask("neighbours_metric")}
    if chosen["metric"] == "minkowski":
        chosen["p"] = ask("neighbours_p_minkowski")
    return models.neighbours(ask("neighbours_k"), **chosen)


def _forest(models: Models, ask: Ask) -> Any:
    bootstrap = ask("forest_bootstrap")
    return models.forest(
        ask("forest_n_trees"),
        max_depth=ask("forest_max_depth"),
        max_features=ask("forest_max_features"),
        bootstrap=bootstrap,
        max_samples=ask("forest_share_bootstrap") if bootstrap else None,
        random_state=0,
    )


def _linear(models: Models, ask: Ask) -> Any:
    chosen = {"penalty": ask("linear_penalty"), "learning_rate": ask("linear_schedule")}
    if chosen["penalty"] == "elasticnet":
        chosen["l1_ratio"] = ask("linear_ratio_elasticnet")
    if chosen["learning_rate"] == "invscaling":
        chosen["power_t"] = ask("linear_power_invscaling")
    return models.linear(
        models.linear_loss,
        alpha=ask("linear_alpha"),
        eta0=ask("linear_rate"),
        **chosen,
        max_iter=N_EPOCHS,
        tol=None,
        random_state=0,
    )


def _problem(data: Callable[[], Data], models: Models, loss: Loss) -> Problem:
    n_features = data().features.shape[1]
    return Problem(data, space(n_features), partial(pipeline, models), loss)


PROBLEMS = {
    "digits": _problem(digits, CLASSIFIERS, ranking_loss),
    "diabetes": _problem(partial(with_noise, diabetes, 10), REGRESSORS, relative_rmse),
    "wine": _problem(partial(with_noise, wine, 52), CLASSIFIERS, ranking_loss),
    "cancer": _problem(breast_cancer, CLASSIFIERS, ranking_loss),
}
HELD_OUT = {"wine", "cancer"}

CONDITIONAL = Suite(
    "conditional",
    tasks_of(Resampled, PROBLEMS | model_choice.PROBLEMS, HELD_OUT | model_choice.HELD_OUT),
    n_trials=200,
    n_seeds=20,
)

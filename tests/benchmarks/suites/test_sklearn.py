"""The suites `sklearn-hpo` and `conditional`: search spaces, noise and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import optuna
import pytest
from optuna import Trial
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial
from sklearn import metrics
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler, label_binarize
from sklearn.svm import SVC

from benchmarks.suites import conditional, model_choice, resampled, sklearn_hpo
from benchmarks.suites.conditional import CONDITIONAL
from benchmarks.suites.resampled import Problem, Resampled, score_splits, trial_split
from benchmarks.suites.sklearn_hpo import SKLEARN_HPO
from benchmarks.suites.task import Suite

PROBLEMS = sklearn_hpo.PROBLEMS | conditional.PROBLEMS | model_choice.PROBLEMS
each_suite = pytest.mark.parametrize("suite", [SKLEARN_HPO, CONDITIONAL], ids=lambda s: s.name)

# Parameters that exist only under a choice: how their names begin or end, and that choice.
BRANCHES = [
    ("row_", "scaler", "row"),
    ("pca_", "reducer", "pca"),
    ("kbest_", "reducer", "kbest"),
    ("svm_", "model", "svm"),
    ("_rbf", "svm_kernel", "rbf"),
    ("_poly", "svm_kernel", "poly"),
    ("neighbours_", "model", "neighbours"),
    ("_minkowski", "neighbours_metric", "minkowski"),
    ("forest_", "model", "forest"),
    ("share_bootstrap", "forest_bootstrap", True),
    ("linear_", "model", "linear"),
    ("_elasticnet", "linear_penalty", "elasticnet"),
    ("_invscaling", "linear_schedule", "invscaling"),
]


KERNEL = {"C": 1.0, "kernel": "rbf", "gamma": 0.01, "coef0": 0.0, "degree": 3}
BOOSTING = {"n_estimators": 15, "max_depth": 2, "min_samples_leaf": 5}
TREES = {"criterion": "gini", "max_depth": 20, "min_samples_split": 2, "min_samples_leaf": 1}
PERCEPTRON = {"n_layers": 1, "width": 32, "activation": "relu", "batch_size": 16, "epochs": 5}
LOGISTIC = {"penalty": "l2", "l1_ratio": 0.5, "schedule": "invscaling", "average": False}
NEIGHBOURS = {"weights": "distance", "metric": "euclidean", "n_components": 8, "whiten": False}
SVM = {"scaler": "standard", "reducer": "none", "model": "svm", "svm_kernel": "linear"}
OWN_SVM = {"model": "svm", "svm_C": 1.0, "svm_gamma": 0.01}
OWN_FOREST = {
    "model": "forest",
    "forest_max_depth": 8,
    "forest_max_features": 0.5,
    "forest_min_samples_leaf": 5,
}
# A sensible setting of each problem, and what makes it a poor one.
SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "svc-digits": (KERNEL, {"gamma": 10.0}),
    "boosting-diabetes": (
        BOOSTING | {"learning_rate": 0.2, "max_features": 0.5, "subsample": 0.8},
        {"learning_rate": 1e-3},
    ),
    "perceptron-wine": (PERCEPTRON | {"alpha": 1e-4, "learning_rate": 0.03}, {"alpha": 10.0}),
    "neighbours-cancer": (NEIGHBOURS | {"n_neighbors": 10}, {"n_components": 1}),
    "svr-diabetes": (KERNEL | {"epsilon": 0.1}, {"epsilon": 2.0}),
    "trees-digits": (
        TREES | {"min_impurity_decrease": 1e-5, "max_features": 0.3},
        {"max_depth": 1},
    ),
    "logistic-cancer": (LOGISTIC | {"alpha": 1e-3, "eta0": 0.1, "epochs": 10}, {"alpha": 1.0}),
    "neighbours-diabetes": (NEIGHBOURS | {"n_neighbors": 15}, {"n_neighbors": 1}),
    "digits": (SVM | {"svm_c": 0.01}, {"reducer": "kbest", "kbest_k": 1}),
    "diabetes": (SVM | {"svm_c": 0.1}, {"scaler": "row", "row_norm": "l1", "svm_c": 1e-3}),
    "wine": (SVM | {"svm_c": 0.01}, {"reducer": "pca", "pca_n_components": 1, "pca_whiten": True}),
    "cancer": (SVM | {"svm_c": 0.1}, {"reducer": "kbest", "kbest_k": 1}),
    "models-digits": (OWN_SVM, {"svm_gamma": 10.0}),
    "models-diabetes": (OWN_SVM, {"svm_gamma": 10.0}),
    "models-moons": (OWN_FOREST, {"forest_max_depth": 1, "forest_max_features": 0.05}),
    "models-wine": (OWN_SVM, {"svm_gamma": 10.0}),
    "models-cancer": (OWN_SVM, {"svm_gamma": 10.0}),
    "models-friedman": (OWN_FOREST, {"forest_max_depth": 1}),
}
each_problem = pytest.mark.parametrize("name", PROBLEMS)


def random_trials(n_trials: int) -> list[Trial]:
    """Return trials whose parameters are drawn at random."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    return [study.ask() for _ in range(n_trials)]


def asked(problem: Problem, n_trials: int) -> list[Trial]:
    """Return random trials whose models were built, but not fitted."""

    def build(ask: resampled.Ask) -> DummyClassifier:
        problem.build(ask)
        return DummyClassifier()

    objective = Resampled(problem._replace(data=resampled.wine, build=build, loss=no_loss), 0)
    trials = random_trials(n_trials)
    for trial in trials:
        objective(trial)
    return trials


def no_loss(*_: Any) -> float:
    """Return 0 whatever is fitted."""
    return 0.0


def value(objective: Resampled, params: Mapping[str, Any], number: int) -> float:
    """Return the value of a trial with these parameters and this number."""
    return objective(cast(Trial, FixedTrial(dict(params), number=number)))


@each_suite
def test_half_of_the_tasks_are_held_out(suite: Suite) -> None:
    """No two have the same name."""
    names = {task.name for task in suite.tasks}

    assert len(names) == len(suite.tasks)
    assert 2 * sum(task.held_out for task in suite.tasks) == len(names)


@each_problem
def test_values_depend_on_seed_and_number(name: str) -> None:
    """The noise is drawn from both alone, so equal settings differ between two trials."""
    objective, again, other = (Resampled(PROBLEMS[name], seed) for seed in (0, 0, 1))
    sensible, _ = SETTINGS[name]
    first = value(objective, sensible, 3)

    assert value(again, sensible, 3) == first
    assert value(objective, sensible, 4) != first
    assert value(other, sensible, 3) != first


@pytest.mark.slow
@each_problem
def test_a_poor_setting_scores_worse(name: str) -> None:
    """The score is worse by a tenth at least."""
    objective = Resampled(PROBLEMS[name], 0)
    sensible, poor = SETTINGS[name]

    assert objective.score(sensible) < 0.9 * objective.score(sensible | poor)


@pytest.mark.parametrize("name", ["trees-digits", "logistic-cancer", "diabetes", "wine"])
def test_a_score_is_the_same_with_every_seed(name: str) -> None:
    """A score has no noise, and does not depend on earlier evaluations."""
    objective, other = (Resampled(PROBLEMS[name], seed) for seed in (0, 1))
    sensible, poor = SETTINGS[name]
    value(other, sensible | poor, 0)

    assert other.score(sensible) == objective.score(sensible)


def test_a_score_is_computed_once() -> None:
    """The order of the parameters does not matter."""
    built = []

    def build(ask: resampled.Ask) -> DummyClassifier:
        built.append(ask("a"))
        return DummyClassifier()

    objective = Resampled(Problem(resampled.wine, {}, build, resampled.log_loss), 0)

    assert objective.score({"a": 1, "b": 2}) == objective.score({"b": 2, "a": 1})
    assert len(built) == 1
    objective.score({"a": 2, "b": 2})
    assert len(built) == 2


def test_a_score_is_the_mean_over_the_splits() -> None:
    """The mean is computed once more with scikit-learn alone."""
    features, digit = load_digits(return_X_y=True)
    features, _, digit, _ = train_test_split(
        features, digit, train_size=360, stratify=digit, random_state=0
    )
    features = StandardScaler().fit_transform(features)
    areas = []
    for train, validation in score_splits(PROBLEMS["svc-digits"].data):
        model = SVC(C=1.0, kernel="rbf", gamma=0.01).fit(features[train], digit[train])
        truth = label_binarize(digit[validation], classes=range(10))
        areas.append(metrics.roc_auc_score(truth, model.decision_function(features[validation])))

    assert len(areas) == 10
    score = Resampled(PROBLEMS["svc-digits"], 0).score(KERNEL)
    assert score == pytest.approx(1 - np.mean(areas))


def test_losses_are_those_of_scikit_learn() -> None:
    """Ties of decisions count half, and probabilities are clipped at 0.001."""
    wine, kind = load_wine(return_X_y=True)
    cancer, benign = load_breast_cancer(return_X_y=True)
    logistic = LogisticRegression(C=0.1).fit(wine / 1e3, kind)
    nearest = KNeighborsClassifier(1).fit(cancer[::2], benign[::2])
    line = LinearRegression().fit(wine, kind)

    assert resampled.log_loss(logistic, wine / 1e3, kind) == pytest.approx(
        metrics.log_loss(kind, logistic.predict_proba(wine / 1e3))
    )
    probabilities = nearest.predict_proba(cancer).clip(1e-3, None)
    assert resampled.log_loss(nearest, cancer, benign) == pytest.approx(
        -np.log(np.choose(benign, probabilities.T)).mean()
    )
    assert resampled.ranking_loss(nearest, cancer, benign) == pytest.approx(
        1 - metrics.roc_auc_score(benign, nearest.predict(cancer))
    )
    assert resampled.relative_rmse(line, wine, kind) == pytest.approx(
        metrics.mean_squared_error(kind, line.predict(wine)) ** 0.5
    )


@pytest.mark.parametrize("load", [resampled.wine, resampled.diabetes])
def test_splits_are_halves_that_no_two_trials_share(load: Any) -> None:
    """The splits of trials differ from those of the score, too."""
    splits = list(score_splits(load))
    splits += [trial_split(load(), seed, number) for seed in range(5) for number in range(20)]
    n = len(load().targets)

    assert len({frozenset(split.train.tolist()) for split in splits}) == len(splits) == 110
    for train, validation in splits:
        assert sorted([*train, *validation]) == list(range(n))
        assert len(train) == (n + 1) // 2


@pytest.mark.parametrize("load", [resampled.wine, resampled.digits, resampled.breast_cancer])
def test_halves_have_equally_many_of_each_class(load: Any) -> None:
    """Of a class with an odd number, one half has one more."""
    for train, validation in score_splits(load):
        n_train, n_validation = (np.bincount(load().targets[s]) for s in (train, validation))
        assert abs(n_train - n_validation).max() <= 1


@pytest.mark.parametrize("load", [resampled.digits, resampled.diabetes])
def test_features_are_standardized_where_they_vary(load: Any) -> None:
    """Pixels that never vary are not divided by their deviation, 0."""
    features = resampled.standardized(load).features
    deviations = features.std(axis=0)

    assert np.allclose(features.mean(axis=0), 0)
    assert np.allclose(deviations[deviations > 0], 1)
    assert (deviations > 0).tolist() == (np.ptp(load().features, axis=0) > 0).tolist()
    assert load is resampled.digits or np.std(load().targets) == pytest.approx(1)


def test_noise_is_in_features_of_their_own() -> None:
    """A feature of noise has a real feature's values in another order."""
    features, noisy = resampled.wine().features, resampled.with_noise(resampled.wine, 5).features
    columns = {tuple(sorted(column)) for column in features.T}

    assert np.array_equal(noisy[:, :13], features)
    assert noisy.shape == (178, 18)
    for column in noisy[:, 13:].T:
        assert tuple(sorted(column)) in columns
        assert not (column[:, None] == features).all(axis=0).any()


@each_problem
def test_every_setting_has_a_finite_value(name: str) -> None:
    """No value exceeds twice that of the best constant prediction."""
    objective = Resampled(PROBLEMS[name], 0)
    for trial in random_trials(5):
        assert 0 <= objective(trial) <= objective.worst < np.inf


@pytest.mark.parametrize("error", [ValueError, FloatingPointError, None])
def test_what_cannot_be_fitted_is_as_bad_as_can_be(error: type[Exception] | None) -> None:
    """Such a model, or one without a loss, gets twice the loss of guessing the classes' shares."""

    class Broken(DummyClassifier):  # type: ignore[misc] # It has no types.
        def predict_proba(self, features: np.ndarray) -> np.ndarray:
            if error is not None:
                raise error
            return np.full((len(features), 3), np.nan)

    shares = np.bincount(resampled.wine().targets) / 178
    guess = Problem(resampled.wine, {}, lambda _: DummyClassifier(), resampled.log_loss)
    broken = Resampled(guess._replace(build=lambda _: Broken()), 0)

    assert broken.worst == pytest.approx(-2 * (shares * np.log(shares)).sum())
    assert broken.score({}) == value(broken, {}, 0) == broken.worst
    assert Resampled(guess, 0).score({}) == pytest.approx(broken.worst / 2, rel=0.01)


@pytest.mark.parametrize("name", sklearn_hpo.PROBLEMS)
def test_every_trial_is_asked_for_the_whole_space(name: str) -> None:
    """A trial's distributions are those of the space."""
    problem = PROBLEMS[name]
    for trial in asked(problem, 3):
        assert trial.distributions == problem.space
        assert 3 <= len(problem.space) <= 7


@pytest.mark.parametrize("name", conditional.PROBLEMS)
def test_a_trial_is_asked_for_its_branches_alone(name: str) -> None:
    """The space holds the parameters of all branches and nothing else."""
    problem = PROBLEMS[name]
    union: dict[str, Any] = {}
    for trial in asked(problem, 100):
        union |= trial.distributions
        for word, parent, choice in BRANCHES:
            found = [n for n in trial.params if n.startswith(word) or n.endswith(word)]
            assert bool(found) == (trial.params.get(parent) == choice)

    assert union == problem.space


@pytest.mark.parametrize("name", model_choice.PROBLEMS)
def test_a_trial_is_asked_for_its_model_alone(name: str) -> None:
    """Every model is chosen, and each has between one and three parameters of its own."""
    problem = PROBLEMS[name]
    union: dict[str, Any] = {}
    for trial in asked(problem, 100):
        own = set(trial.params) - {"model"}
        assert {n.removeprefix(trial.params["model"])[0] for n in own} == {"_"}
        assert 1 <= len(own) <= 3
        union |= trial.distributions

    assert union == problem.space
    assert 3 <= len(union["model"].choices) <= 6

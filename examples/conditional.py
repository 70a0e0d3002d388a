"""Search a conditional space: choose a model and that model's own hyperparameters in one study.

A child inherits the parameters of its model from a parent that has them. If no parent has them,
they are drawn at random.

    pip install -e . scikit-learn && python examples/conditional.py
"""

import argparse
from collections import Counter
from typing import Any

import optuna
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from optuna_ga import GASampler

WINES, LABELS = load_wine(return_X_y=True)


def suggest_model(trial: optuna.Trial) -> Any:
    """Suggest a model and the parameters of that model alone."""
    kind = trial.suggest_categorical("model", ["forest", "neighbours", "svm"])
    if kind == "forest":
        depth = trial.suggest_int("depth", 1, 10)
        n_trees = trial.suggest_int("n_trees", 5, 20)
        return RandomForestClassifier(n_trees, max_depth=depth, random_state=0)
    if kind == "neighbours":
        return KNeighborsClassifier(trial.suggest_int("n_neighbours", 1, 60, log=True))
    c = trial.suggest_float("c", 1e-3, 1e3, log=True)
    gamma = trial.suggest_float("gamma", 1e-4, 10, log=True)
    return SVC(C=c, gamma=gamma)


def objective(trial: optuna.Trial) -> float:
    """Return the cross-validated accuracy of a pipeline with the suggested model."""
    model = suggest_model(trial)
    scaled = trial.suggest_categorical("scaled", [False, True])
    pipeline = make_pipeline(StandardScaler(), model) if scaled else make_pipeline(model)
    return float(cross_val_score(pipeline, WINES, LABELS, cv=4).mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=60, help="number of trials")
    options = parser.parse_args()
    study = optuna.create_study(direction="maximize", sampler=GASampler.adaptive(seed=0))
    study.optimize(objective, n_trials=options.trials)
    print(dict(Counter(trial.params["model"] for trial in study.trials)))
    print(f"Accuracy {study.best_value:.3f} with {study.best_params}")

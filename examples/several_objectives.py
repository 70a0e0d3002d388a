"""Accuracy against size: the best networks of every size, from one search.

Each trial has two values, the accuracy of a network on digits that it was not trained on, and the
number of its weights. The answer is a front: no network on it is beaten in both.

    pip install -e . scikit-learn && python examples/several_objectives.py
"""

from __future__ import annotations

import argparse
import warnings

import optuna
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier

from optuna_ga import GASampler

FEATURES, CLASSES = load_digits(return_X_y=True)
N_INPUTS, N_CLASSES = FEATURES.shape[1], 10


def objective(trial: optuna.Trial) -> tuple[float, int]:
    """Return the accuracy and the number of weights of a network with one hidden layer."""
    width = trial.suggest_int("width", 1, 64, log=True)
    network = MLPClassifier(
        hidden_layer_sizes=(width,),
        activation=trial.suggest_categorical("activation", ["relu", "tanh"]),
        alpha=trial.suggest_float("alpha", 1e-6, 10.0, log=True),
        learning_rate_init=trial.suggest_float("learning_rate", 1e-4, 0.1, log=True),
        max_iter=trial.suggest_int("epochs", 1, 20, log=True),
        random_state=0,
    )
    accuracy = cross_val_score(network, FEATURES / 16.0, CLASSES, cv=3).mean()
    return float(accuracy), width * (N_INPUTS + 1) + N_CLASSES * (width + 1)


def main() -> None:
    """Search and print the front, from the smallest network to the largest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    n_trials = parser.parse_args().trials
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", ConvergenceWarning)  # Few epochs are one way to be cheap.
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=GASampler.adaptive(seed=0)
    )
    study.optimize(objective, n_trials=n_trials)
    for trial in sorted(study.best_trials, key=lambda trial: trial.values[1]):
        accuracy, n_weights = trial.values
        print(f"{n_weights:.0f} weights: accuracy {accuracy:.3f} with {trial.params}")


if __name__ == "__main__":
    main()

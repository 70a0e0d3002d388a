"""Prune bad trials early: Hyperband with the adaptive search.

Hyperband assigns trials to brackets that prune earlier or later. Pruned trials can become
parents, but complete trials rank before them, and among pruned trials the one with the later last
step ranks first.

    pip install -e . scikit-learn && python examples/pruning.py
"""

import argparse

import optuna
from optuna.pruners import HyperbandPruner
from optuna.trial import TrialState
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

from optuna_ga import GASampler

N_EPOCHS = 27
IMAGES, LABELS = load_digits(return_X_y=True)
PARTS = train_test_split(IMAGES / 16, LABELS, test_size=0.3, random_state=0)


def objective(trial: optuna.Trial) -> float:
    """Train a linear classifier and return its error on unseen images."""
    images, unseen_images, labels, unseen_labels = PARTS
    model = SGDClassifier(
        alpha=trial.suggest_float("alpha", 1e-7, 1, log=True),
        eta0=trial.suggest_float("eta0", 1e-5, 1, log=True),
        learning_rate=trial.suggest_categorical("learning_rate", ["constant", "invscaling"]),
        random_state=0,
    )
    for epoch in range(1, N_EPOCHS + 1):
        model.partial_fit(images, labels, classes=range(10))
        error = 1 - float(model.score(unseen_images, unseen_labels))
        trial.report(error, epoch)
        if epoch < N_EPOCHS and trial.should_prune():
            raise optuna.TrialPruned
    return error


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100, help="number of trials")
    options = parser.parse_args()
    pruner = HyperbandPruner(min_resource=1, max_resource=N_EPOCHS, reduction_factor=3)
    # Hyperband assigns brackets by the study's name.
    sampler = GASampler.adaptive(seed=0)
    study = optuna.create_study(study_name="pruning", sampler=sampler, pruner=pruner)
    study.optimize(objective, n_trials=options.trials)
    n_epochs = sum(len(trial.intermediate_values) for trial in study.trials)
    n_pruned = len(study.get_trials(states=[TrialState.PRUNED]))
    print(f"{n_pruned} of {options.trials} trials were pruned")
    print(f"{n_epochs} epochs were trained of {options.trials * N_EPOCHS}")
    print(f"Error {study.best_value:.3f} with {study.best_params}")

"""Follow generations, parents and mutations in optuna-dashboard while the search runs.

`DashboardReport` keeps a note and figures up to date in the study's database. The first line of
this script's output is the command that opens the dashboard.

    pip install -e ".[dashboard]" && python examples/dashboard.py
"""

import argparse

import optuna

from optuna_ga import DashboardReport, GASampler


def objective(trial: optuna.Trial) -> float:
    """Return a test function's value; train your own model here."""
    rate = trial.suggest_float("learning_rate", 1e-5, 1, log=True)
    layers = trial.suggest_int("layers", 1, 8)
    activation = trial.suggest_categorical("activation", ["gelu", "relu", "tanh"])
    return abs(rate - 1e-2) + abs(layers - 4) / 10 + (activation != "gelu") / 10


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", default="sqlite:///dashboard.db", help="URL of the database")
    parser.add_argument("--trials", type=int, default=100, help="number of trials")
    options = parser.parse_args()
    study = optuna.create_study(
        study_name="dashboard",
        storage=options.storage,
        sampler=GASampler.adaptive(seed=0),
        load_if_exists=True,
    )
    print(f"optuna-dashboard {options.storage}", flush=True)
    study.optimize(objective, n_trials=options.trials, callbacks=[DashboardReport()])
    print(f"{len(study.trials)} trials, best {study.best_value:.6f} with {study.best_params}")

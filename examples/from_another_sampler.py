"""Continue another sampler's study; every earlier trial counts.

Load the study with `GASampler.adaptive()` and optimize. Whichever sampler suggested the earlier
trials, the fittest of them are parents, and the model learns from all.

    python examples/from_another_sampler.py
    python examples/from_another_sampler.py --first NSGAIISampler
"""

import argparse

import optuna
from optuna.samplers import NSGAIISampler, TPESampler

from optuna_ga import GASampler

SAMPLERS = {"NSGAIISampler": NSGAIISampler, "TPESampler": TPESampler}


def objective(trial: optuna.Trial) -> float:
    """Return a test function's value; train your own model here."""
    x = trial.suggest_float("x", -10, 10)
    layers = trial.suggest_int("layers", 1, 5)
    width = trial.suggest_int("width", 8, 512, log=True) if layers > 1 else 8
    return (x - 2) ** 2 + abs(layers - 3) + abs(width - 64) / 64


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", default="sqlite:///study.db", help="URL of the database")
    parser.add_argument(
        "--first", choices=sorted(SAMPLERS), default="TPESampler", help="first sampler"
    )
    parser.add_argument("--trials", type=int, default=40, help="trials of each sampler")
    options = parser.parse_args()

    first = optuna.create_study(storage=options.storage, sampler=SAMPLERS[options.first](seed=0))
    first.optimize(objective, n_trials=options.trials)
    print(f"{options.first}: {first.best_value:.3f} after {len(first.trials)} trials")

    study = optuna.load_study(
        study_name=first.study_name,
        storage=options.storage,
        sampler=GASampler.adaptive(seed=0),
    )
    study.optimize(objective, n_trials=options.trials)
    print(f"GASampler.adaptive: {study.best_value:.3f} after {len(study.trials)} trials")
    for trial in study.trials[options.trials :: 10]:
        print(f"Trial {trial.number} has the parents {trial.user_attrs.get('ga_parents')}")

"""Go on after a crash as if there had been none.

Run this, kill it at any moment, with `kill -9` if you like, and run it again. It takes up the
generation that was under way: trials that were running are evaluated again under their own
numbers. In the end the study is the one of a run that nobody killed, since with
`optimize_generations` it depends on nothing but the seed and the objective.

    python examples/resume.py
"""

import argparse
import time

import optuna

from optuna_ga import GASampler, optimize_generations


def objective(trial: optuna.Trial, seconds: float) -> float:
    """Train your network here; this stands in for it."""
    x = trial.suggest_float("x", -10, 10)
    y = trial.suggest_float("y", 1e-3, 1e3, log=True)
    print(f"Trial {trial.number} is being evaluated", flush=True)
    time.sleep(seconds)
    return (x - 2) ** 2 + abs(y - 1)


def search(storage: str, n_generations: int, seconds: float) -> optuna.Study:
    """Begin a search, or continue it, and return the study."""
    study = optuna.create_study(
        study_name="resume",
        storage=storage,
        sampler=GASampler(population_size=10, seed=0),  # The seed must be the same each time.
        load_if_exists=True,
    )
    print(f"The study has {len(study.trials)} trials", flush=True)
    optimize_generations(
        study, lambda trials: [objective(trial, seconds) for trial in trials], n_generations
    )
    return study


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", default="sqlite:///resume.db")
    parser.add_argument("--generations", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.05, help="that a trial takes")
    options = parser.parse_args()
    study = search(options.storage, options.generations, options.seconds)
    print(f"{len(study.trials)} trials, best {study.best_value:.6f} with {study.best_params}")

"""Resume a killed search; the study equals that of an uninterrupted run.

Run this script, kill it at any moment, by Ctrl-C or even with `kill -9`, and run it again. It
resumes the unfinished generation: results that had come are kept, and the other trials are
evaluated again under their own numbers. With `optimize_generations` the study depends on the seed
and the objective alone, so the result is that of a run without a kill.

    python examples/resume.py
"""

import argparse
import time
from functools import partial

import optuna

from optuna_ga import GASampler, optimize_generations


def objective(trial: optuna.Trial, seconds: float) -> float:
    """Return a test function's value; train your own model here."""
    x = trial.suggest_float("x", -10, 10)
    y = trial.suggest_float("y", 1e-3, 1e3, log=True)
    print(f"Trial {trial.number} is being evaluated", flush=True)
    time.sleep(seconds)
    return (x - 2) ** 2 + abs(y - 1)


def search(storage: str, n_generations: int, seconds: float) -> optuna.Study:
    """Start or resume the search, and return the study."""
    study = optuna.create_study(
        study_name="resume",
        storage=storage,
        sampler=GASampler.adaptive(seed=0),  # The same seed each time, or none.
        load_if_exists=True,
    )
    print(f"The study has {len(study.trials)} trials", flush=True)
    objective_of_seconds = partial(objective, seconds=seconds)
    optimize_generations(study, lambda trials: map(objective_of_seconds, trials), n_generations)
    return study


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", default="sqlite:///resume.db", help="URL of the database")
    parser.add_argument("--generations", type=int, default=6, help="number of generations")
    parser.add_argument("--seconds", type=float, default=0.05, help="duration of a trial")
    options = parser.parse_args()
    study = search(options.storage, options.generations, options.seconds)
    print(f"{len(study.trials)} trials, best {study.best_value:.6f} with {study.best_params}")

"""Share one search between the processes of one machine, or of many, through a database.

The first command runs whole generations: the same seed gives the same study, for any number of
workers. With `--free` no worker waits for a generation to end, and workers may join and leave;
start the script on one machine, which creates the study, and then on as many others as you like.

    python examples/distributed.py postgresql+psycopg2://user@host/database
    python examples/distributed.py postgresql+psycopg2://user@host/database --free
"""

import argparse
from concurrent.futures import ProcessPoolExecutor

import optuna

from optuna_ga import GASampler, InParallel, optimize_generations

POPULATION_SIZE = 20
N_GENERATIONS = 10


def objective(trial: optuna.Trial) -> float:
    """Return a test function's value; train your own model here."""
    x = trial.suggest_float("x", -10, 10)
    y = trial.suggest_float("y", 1e-3, 1e3, log=True)
    return (x - 2) ** 2 + abs(y - 1)


def open_study(url: str) -> optuna.Study:
    """Return the study; the first worker creates it."""
    sampler = GASampler.adaptive(POPULATION_SIZE, seed=0)
    name = "distributed"
    return optuna.create_study(study_name=name, storage=url, sampler=sampler, load_if_exists=True)


def work_freely(url: str) -> None:
    """Run trials until the study has `POPULATION_SIZE * N_GENERATIONS` trials."""

    def stop(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if trial.number + 1 >= POPULATION_SIZE * N_GENERATIONS:
            study.stop()

    open_study(url).optimize(objective, callbacks=[stop])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="URL of the database that stores the study")
    parser.add_argument("--workers", type=int, default=4, help="number of processes")
    parser.add_argument("--free", action="store_true", help="run workers independently")
    options = parser.parse_args()
    study = open_study(options.url)
    with ProcessPoolExecutor(options.workers) as executor:
        if options.free:
            list(executor.map(work_freely, [options.url] * options.workers))
        else:
            optimize_generations(study, InParallel(objective, executor), N_GENERATIONS)
    print(f"{len(study.trials)} trials, best {study.best_value:.6f} with {study.best_params}")

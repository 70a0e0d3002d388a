"""Search with the paper's genetic algorithm, and with its option to keep the best of all."""

import optuna
import optunahub


def objective(trial: optuna.Trial) -> float:
    """Return a value to minimize."""
    rate = trial.suggest_float("learning_rate", 1e-4, 1.0)
    momentum = trial.suggest_float("momentum", 0.0, 0.9)
    return abs(rate - 0.05) + abs(momentum - 0.6)


module = optunahub.load_module("samplers/genetic_algorithm")
for elitism in (False, True):
    sampler = module.GASampler(population_size=20, elitism=elitism, seed=0)
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=200)
    print(elitism, study.best_value, study.best_params)

"""Search with the paper's algorithm, and with operators that adapt."""

import optuna
import optunahub


def objective(trial: optuna.Trial) -> float:
    """Return a value to minimize, with a parameter that only one branch has."""
    x = trial.suggest_float("x", -10, 10)
    if trial.suggest_categorical("shape", ["flat", "steep"]) == "steep":
        return (x - 2) ** 2 * trial.suggest_int("slope", 1, 100, log=True)
    return (x - 2) ** 2 + 1


module = optunahub.load_module("samplers/genetic_algorithm")
for sampler in (module.GASampler(population_size=20, seed=0), module.GASampler.adaptive(seed=0)):
    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=100)
    print(study.best_value, study.best_params)

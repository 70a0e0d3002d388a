"""Search with the adaptive sampler, the one to use where the result counts."""

import optuna
import optunahub


def objective(trial: optuna.Trial) -> float:
    """Return a value to minimize."""
    x = trial.suggest_float("x", -10, 10)
    n = trial.suggest_int("n", 1, 100, log=True)
    return (x - 2) ** 2 + abs(n - 7)


module = optunahub.load_module("samplers/genetic_algorithm")
study = optuna.create_study(sampler=module.GASampler.adaptive(seed=0))
study.optimize(objective, n_trials=100)
print(study.best_value, study.best_params)

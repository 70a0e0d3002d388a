"""Trade two objectives off: the trials that no other trial beats in both."""

import optuna
import optunahub


def objective(trial: optuna.Trial) -> tuple[float, float]:
    """Return two values to minimize, which no trial can make small at once."""
    x = trial.suggest_float("x", 0, 1)
    y = trial.suggest_float("y", 0, 1)
    return x, (1 + y) * (1 - x**0.5)


module = optunahub.load_module("samplers/genetic_algorithm")
sampler = module.GASampler.adaptive(seed=0)
study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
study.optimize(objective, n_trials=60)
for trial in study.best_trials:
    print(trial.values, trial.params)

"""Search a space in which one branch has a parameter of its own, which children inherit."""

import optuna
import optunahub


def objective(trial: optuna.Trial) -> float:
    """Return a value to minimize, with a parameter that only one branch has."""
    x = trial.suggest_float("x", -10, 10)
    if trial.suggest_categorical("shape", ["flat", "steep"]) == "steep":
        return (x - 2) ** 2 * trial.suggest_int("slope", 1, 100, log=True)
    return (x - 2) ** 2 + 1


module = optunahub.load_module("samplers/genetic_algorithm")
study = optuna.create_study(sampler=module.GASampler.adaptive(seed=0))
study.optimize(objective, n_trials=60)
bred = [trial for trial in study.trials if "ga_parents" in trial.user_attrs]
print(study.best_value, study.best_params, len(bred), "trials have parents")

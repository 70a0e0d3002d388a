import optuna

from optuna_ga import GASampler


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -10, 10)
    n = trial.suggest_int("n", 1, 100, log=True)
    shape = trial.suggest_categorical("shape", ["flat", "steep"])
    return (x - 2) ** 2 * (10 if shape == "steep" else 1) + abs(n - 7)


study = optuna.create_study(sampler=GASampler.adaptive(seed=0))
study.optimize(objective, n_trials=100)
print(study.best_params)

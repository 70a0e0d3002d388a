"""Choose and judge the model of `fashion-mnist-table`, and find the optimum.

By ten-fold cross-validation over the settings of a table, each model predicts the mean loss after
the last epoch of settings that it has not seen. The figures are the rank correlation and the mean
absolute error, over all settings and over the quarter with the lowest losses, and the share of
settings whose divergence is predicted right. The noise is the error of the table's own means over
seeds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from scipy import optimize, stats
from scipy.stats import qmc
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingRegressor
from sklearn.model_selection import KFold
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.options import Options
from benchmarks.rows import Row, replacing, write_rows
from benchmarks.table.card import card
from benchmarks.table.make import HIGH, LOW, Table, read_table
from benchmarks.table.problem import CPU_TABLE, Surrogate, features, kernel, targets
from benchmarks.trainings import GUESSING

FOLDS = 10
FITTED = 1000  # Settings to fit the kernel's parameters to, at most.
Predict = Callable[[np.ndarray], np.ndarray]

MODELS: Mapping[str, Callable[[Table, np.ndarray], Predict]] = {
    "Gaussian process": lambda table, chosen: (
        Surrogate(table, kernel(fitted_theta(table, chosen)), chosen=chosen).predict
    ),
    "extra trees": lambda table, chosen: _fitted(
        ExtraTreesRegressor(300, min_samples_leaf=2, random_state=0), table, chosen
    ),
    "boosted trees": lambda table, chosen: _fitted(
        MultiOutputRegressor(
            HistGradientBoostingRegressor(min_samples_leaf=5, max_iter=200, random_state=0)
        ),
        table,
        chosen,
    ),
    "six nearest": lambda table, chosen: _fitted(
        make_pipeline(StandardScaler(), KNeighborsRegressor(6, weights="distance")), table, chosen
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge every model, fit the process, find the optimum; see `--help`."""
    options = _parser().parse_args(arguments)
    if options.step == "run":
        table = read_table(options.table)
        write_rows(models_path(options.table), [judge(table, name) for name in MODELS])
        with replacing(options.table.with_suffix(".json")) as file:
            file.write(json.dumps(fit(table), indent=1) + "\n")
    text = card(options.table, models_path(options.table))
    with replacing(options.table.with_suffix(".md")) as file:
        file.write(text)
    print(text)


def judge(table: Table, name: str) -> Row:
    """Return the cross-validated figures of a model."""
    true = targets(table)
    predicted = np.empty_like(true)
    rng = np.random.default_rng(0)
    for train, held_out in KFold(FOLDS, shuffle=True, random_state=0).split(true):
        predict = MODELS[name](table, rng.permutation(train))
        predicted[held_out] = predict(table.trained[held_out])
    last = table.recipe.epochs - 1
    loss, guess = true[:, last], predicted[:, last]
    low = np.argsort(loss, kind="stable")[: len(loss) // 4]
    seconds = []
    for setting in table.trained[:100]:
        start = perf_counter()
        predict(setting[None])
        seconds.append(perf_counter() - start)
    figures = {
        "spearman": stats.spearmanr(loss, guess).statistic,
        "error": np.abs(loss - guess).mean(),
        "spearman_low": stats.spearmanr(loss[low], guess[low]).statistic,
        "error_low": np.abs(loss - guess)[low].mean(),
        "diverges_right": np.mean((true[:, -1] >= 0.5) == (predicted[:, -1] >= 0.5)),
        "noise_low": noise(table, low),
        "milliseconds": 1000 * float(np.median(seconds)),
    }
    rounded = {name: round(float(figure), 3) for name, figure in figures.items()}
    return {"model": name, "settings": len(loss), "folds": FOLDS, **rounded}


def noise(table: Table, chosen: np.ndarray) -> float:
    """Return the mean absolute error of the chosen settings' mean last losses over seeds.

    For normal noise it is sqrt(2 / pi) times the standard error. The variance is that of the
    settings that were trained with every seed.
    """
    losses = np.minimum(table.outcomes.loss[chosen, :, -1], GUESSING)
    n = (~np.isnan(losses)).sum(axis=1)  # Seeds of each setting.
    complete = losses[n == losses.shape[1]]
    if losses.shape[1] < 2 or not len(complete):
        return float("nan")
    variance = complete.var(axis=1, ddof=1).mean()
    return float(np.sqrt(2 / np.pi) * np.sqrt(variance * np.mean(1 / n)))


def fitted_theta(table: Table, chosen: np.ndarray) -> list[float]:
    """Return the kernel's parameters, fitted to the first of the chosen settings."""
    return Surrogate(table, kernel(), fit=True, chosen=chosen[:FITTED]).theta


def fit(table: Table) -> Row:
    """Return the kernel's parameters, the optimum, and the losses of random search."""
    theta = fitted_theta(table, np.random.default_rng(0).permutation(len(table.outcomes.loss)))
    surrogate = Surrogate(table, kernel(theta))
    settings = qmc.scale(qmc.Sobol(3, rng=0).random(2**16), LOW, HIGH)
    losses = np.concatenate([surrogate.losses(part)[:, -1] for part in np.split(settings, 64)])

    def loss(setting: np.ndarray) -> float:
        return min(float(surrogate.losses(setting[None])[0, -1]), GUESSING)

    bounds = optimize.Bounds(LOW, HIGH)
    start = settings[np.argmin(losses)]
    best = optimize.differential_evolution(
        loss, bounds, x0=start, popsize=40, tol=1e-10, rng=0, polish=False
    )
    quantiles = {
        str(q): round(float(np.quantile(losses, q, method="lower")), 4)
        for q in (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75)
    }
    return {
        "theta": theta,
        "optimum": {"setting": [float(x) for x in best.x], "loss": float(best.fun)},
        "random_search": {
            "settings": len(losses),
            "diverged": round(float(np.mean(np.isinf(losses))), 4),
            "quantiles": quantiles,
        },
    }


def models_path(table: Path) -> Path:
    """Return the file of the models' figures."""
    return table.with_name(f"{table.stem}_models.csv")


def _fitted(model: Any, table: Table, chosen: np.ndarray) -> Predict:
    model.fit(features(table.trained[chosen]), targets(table)[chosen])
    return lambda settings: np.asarray(model.predict(features(settings)))


def _parser() -> Options:
    parser = Options("python -m benchmarks.table.model", __doc__)
    parser.add_step(run="judges, fits and writes the card", report="only writes the card")
    parser.add("--table", "npz file of the table", CPU_TABLE, type=Path)
    return parser


if __name__ == "__main__":
    main()

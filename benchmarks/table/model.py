"""Choose and judge the model of `fashion-mnist-table`, and find the optimum.

By ten-fold cross-validation over the settings of a table, each model predicts settings that it has
not seen. Losses are those after the last epoch, means over the seeds of the trainings that
succeeded: the figures are the rank correlation and the mean absolute error, over all settings
where a training did and over the quarter with the lowest losses. The noise is the error of the
table's own means over seeds. Failures are judged by the mean squared error of their predicted
share, training by training (Brier's score), beside that of a share that is the same everywhere.
The mean loss, in which failures count as guessing and which searches minimize, is judged over all
settings and over the quarter where it is lowest.
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
from benchmarks.table.design import HIGH, LOW
from benchmarks.table.surrogate import (
    Predicted,
    Surrogate,
    examples,
    failures,
    features,
    targets,
)
from benchmarks.table.table import TABLE, Table, read_table
from benchmarks.trainings import GUESSING

FOLDS = 10
Predict = Callable[[np.ndarray], Predicted]

MODELS: Mapping[str, Callable[[Table, np.ndarray], Predict]] = {
    "Gaussian process": lambda table, chosen: Surrogate(table, None, chosen).predict,
    "extra trees": lambda table, chosen: _fitted(
        lambda: ExtraTreesRegressor(300, min_samples_leaf=2, random_state=0), table, chosen
    ),
    "boosted trees": lambda table, chosen: _fitted(
        lambda: MultiOutputRegressor(
            HistGradientBoostingRegressor(min_samples_leaf=5, max_iter=200, random_state=0)
        ),
        table,
        chosen,
    ),
    "six nearest": lambda table, chosen: _fitted(
        lambda: make_pipeline(StandardScaler(), KNeighborsRegressor(6, weights="distance")),
        table,
        chosen,
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
    guess = Predicted(*(np.empty_like(each) for each in true))
    rng = np.random.default_rng(0)
    for train, held_out in KFold(FOLDS, shuffle=True, random_state=0).split(table.settings):
        predict = MODELS[name](table, rng.permutation(train))
        for found, predicted in zip(guess, predict(table.settings[held_out]), strict=True):
            found[held_out] = predicted
    seconds = []
    for setting in table.settings[:100]:
        start = perf_counter()
        predict(setting[None])
        seconds.append(perf_counter() - start)
    succeeded = np.flatnonzero(np.isfinite(true.log_losses[:, -1]))
    loss, predicted = (np.exp(each.log_losses[succeeded, -1]) for each in (true, guess))
    low = np.argsort(loss, kind="stable")[: len(loss) // 4]
    failed = failures(table)
    means = np.nanmean(np.minimum(table.outcomes.loss[:, :, -1], GUESSING), axis=1)
    told = np.minimum(guess.losses[:, -1], GUESSING)
    lowest = np.argsort(means, kind="stable")[: len(means) // 4]
    figures = {
        "spearman": stats.spearmanr(loss, predicted).statistic,
        "error": np.abs(loss - predicted).mean(),
        "spearman_low": stats.spearmanr(loss[low], predicted[low]).statistic,
        "error_low": np.abs(loss - predicted)[low].mean(),
        "noise_low": noise(table, succeeded[low]),
        "failures": np.nanmean((failed - guess.shares[:, :1]) ** 2),
        "failures_constant": np.nanvar(failed),
        "spearman_mean": stats.spearmanr(means, told).statistic,
        "spearman_mean_low": stats.spearmanr(means[lowest], told[lowest]).statistic,
        "error_mean_low": np.abs(means - told)[lowest].mean(),
        "milliseconds": 1000 * float(np.median(seconds)),
    }
    rounded = {name: round(float(figure), 4) for name, figure in figures.items()}
    return {"model": name, "settings": len(table.settings), "folds": FOLDS, **rounded}


def noise(table: Table, chosen: np.ndarray) -> float:
    """Return the mean absolute error of the chosen settings' mean last losses over seeds.

    For normal noise it is sqrt(2 / pi) times the standard error. The variance is that of the
    settings that were trained with every seed and succeeded with every seed.
    """
    succeeded = failures(table)[chosen] == 0
    losses = table.outcomes.loss[chosen, :, -1]
    complete = losses[succeeded.all(axis=1)]
    if losses.shape[1] < 2 or not len(complete):
        return float("nan")
    variance = complete.var(axis=1, ddof=1).mean()
    return float(np.sqrt(2 / np.pi * variance * np.mean(1 / succeeded.sum(axis=1))))


def fit(table: Table) -> Row:
    """Return the kernels' parameters, the optimum, and the losses of random search."""
    order = np.random.default_rng(0).permutation(len(table.settings))
    surrogate = Surrogate(table, Surrogate(table, None, order).theta)
    settings = qmc.scale(qmc.Sobol(3, rng=0).random(2**16), LOW, HIGH)
    losses = np.concatenate(
        [surrogate.predict(part).losses[:, -1] for part in np.split(settings, 64)]
    )

    def loss(setting: np.ndarray) -> float:
        return min(float(surrogate.predict(setting[None]).losses[0, -1]), GUESSING)

    bounds = optimize.Bounds(LOW, HIGH)
    start = settings[np.argmin(losses)]
    best = optimize.differential_evolution(
        loss, bounds, x0=start, popsize=40, tol=1e-10, rng=0, polish=False
    )
    quantiles = {
        str(q): round(float(np.quantile(np.minimum(losses, GUESSING), q, method="lower")), 4)
        for q in (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75)
    }
    return {
        "theta": surrogate.theta,
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


def _fitted(make: Callable[[], Any], table: Table, chosen: np.ndarray) -> Predict:
    """Return the predictions of two regressors, one for losses and one for shares."""
    learnt = examples(features(table.settings[chosen]), targets(table, chosen))
    models = [make().fit(*example) for example in learnt]

    def predict(settings: np.ndarray) -> Predicted:
        return Predicted(*(np.asarray(model.predict(features(settings))) for model in models))

    return predict


def _parser() -> Options:
    parser = Options("python -m benchmarks.table.model", __doc__)
    parser.add_step(run="judges, fits and writes the card", report="only writes the card")
    parser.add("--table", "npz file of the table", TABLE, type=Path)
    return parser


if __name__ == "__main__":
    main()

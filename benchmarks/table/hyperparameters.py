"""The effect of learning rate, momentum and weight decay on training.

Optuna's evaluators judge the importance of each in random searches on `fashion-mnist-table` with
its noise, one search per seed: over all trials, where divergence counts as guessing, and over the
better half of them. A figure shows the loss over learning rate and momentum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from warnings import catch_warnings, simplefilter

import numpy as np
import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    MeanDecreaseImpurityImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from benchmarks.markdown import paragraph, table
from benchmarks.options import Options, at_least
from benchmarks.paired import with_interval
from benchmarks.rows import Row, environment, rows_to_continue
from benchmarks.runner import Job, Missing, run_missing
from benchmarks.table.problem import (
    TableProblem,
    fingerprint,
    results_on,
)
from benchmarks.table.table import TABLE
from benchmarks.trainings import GUESSING
from optuna_ga.fashion_mnist import SEARCH_SPACE

N_TRIALS = 200
EVALUATORS: Mapping[str, Callable[[int], BaseImportanceEvaluator]] = {
    "fANOVA": lambda seed: FanovaImportanceEvaluator(seed=seed),
    "mean decrease of impurity": lambda seed: MeanDecreaseImpurityImportanceEvaluator(seed=seed),
    "PED-ANOVA": lambda seed: PedAnovaImportanceEvaluator(),
}
DECAYS = (0.0, 0.01, 0.05)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then report; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    out = options.out or results_on(options.table, "hyperparameters")
    if options.step == "run":
        settings = {"table": fingerprint(options.table)}
        rows = parser.checked(rows_to_continue, out, settings)
        jobs = [Job({"seed": seed}, (seed, options.table)) for seed in range(options.seeds)]
        facts = settings | environment("CPU", "optuna", "commit")
        missing = Missing(out, rows, jobs, facts, lambda row: int(row["seed"]))
        run_missing(missing, importances, options.processes)
        plot(TableProblem(options.table), out.with_suffix(".png"))
    parser.report(out, report)


def importances(seed: int, table: Path) -> list[Row]:
    """Return the result columns of a row per choice of trials and evaluator, for one search."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=RandomSampler(seed=seed), pruner=NopPruner())
    study.optimize(TableProblem(table, noise_seed=seed), n_trials=N_TRIALS)
    return [
        {"trials": words, "evaluator": name}
        | {k: round(v, 4) for k, v in _importances(chosen, evaluator(seed)).items()}
        for words, chosen in _choices(study)
        for name, evaluator in EVALUATORS.items()
    ]


def _choices(study: Study) -> Iterator[tuple[str, Study]]:
    yield "all", study
    trials = sorted(study.get_trials(deepcopy=False), key=_loss)
    better = optuna.create_study()
    better.add_trials(trials[: len(trials) // 2])
    yield "better half", better


def _importances(study: Study, evaluator: BaseImportanceEvaluator) -> dict[str, float]:
    with catch_warnings():
        # PED-ANOVA warns that it prefers low values of a target, which is right for a loss.
        simplefilter("ignore", UserWarning)
        found = get_param_importances(study, evaluator=evaluator, target=_loss)
    return {name: found[name] for name in SEARCH_SPACE}


def _loss(trial: FrozenTrial) -> float:
    return GUESSING if trial.value is None else min(trial.value, GUESSING)


def report(rows: pd.DataFrame) -> str:
    """Return the report as Markdown."""
    by_line = rows.groupby(["trials", "evaluator"], sort=False)
    lines = [
        [*words, *(_cell(chosen[name]) for name in SEARCH_SPACE)] for words, chosen in by_line
    ]
    names = [name.replace("_", " ") for name in SEARCH_SPACE]
    return "\n".join(
        [
            "# What each hyperparameter does\n",
            paragraph(
                f"""Importance in {rows["seed"].nunique()} random searches of {N_TRIALS} trials on
                `{rows["table"].iloc[0]}` with noise: mean over seeds with its 95 % interval, and
                the standard deviation over seeds. Divergence counts as guessing. Made by
                `python -m benchmarks.table.hyperparameters`, which with `report` at its end makes
                this page again from the rows."""
            ),
            table(["trials", "evaluator", *names], lines),
        ]
    )


def plot(problem: TableProblem, path: Path) -> None:
    """Draw the loss over learning rate and momentum at three weight decays.

    Learning rates below the lowest of the table are left out, since no training had them.
    """
    figure = Figure(figsize=(12, 4), layout="constrained")
    rates = np.geomspace(problem.lowest_rate, SEARCH_SPACE["learning_rate"].high, 90)
    momenta = np.linspace(SEARCH_SPACE["momentum"].low, SEARCH_SPACE["momentum"].high, 60)
    grid = np.meshgrid(rates, momenta)
    levels = np.linspace(np.floor(problem.optimum.loss * 10) / 10, GUESSING, 15)
    all_axes = figure.subplots(1, len(DECAYS), sharey=True)
    for axes, decay in zip(all_axes, DECAYS, strict=True):
        settings = np.column_stack(
            [*(values.ravel() for values in grid), np.full(grid[0].size, decay)]
        )
        losses = problem.losses(settings)[:, -1].reshape(grid[0].shape)
        shown = axes.contourf(*grid, np.clip(losses, levels[0], GUESSING), levels, cmap="viridis")
        axes.contourf(*grid, np.isinf(losses), [0.5, 1.5], colors="none", hatches=["xxx"])
        axes.set(xscale="log", xlabel="learning rate", title=f"weight decay {decay}")
    all_axes[0].set_ylabel("momentum")
    figure.colorbar(shown, ax=all_axes, label="validation loss; hatched: diverges")
    figure.savefig(path, dpi=110)


def _cell(values: pd.Series) -> str:
    return f"{with_interval(values.tolist(), 2)}, {values.std():.2f}"


def _parser() -> Options:
    parser = Options("python -m benchmarks.table.hyperparameters", __doc__)
    parser.add_step(run="runs what is missing and reports", report="only reports")
    parser.add("--seeds", "number of seeds, 0 and up", 20, type=at_least(2))
    parser.add("--processes", "worker processes", 2, type=at_least(1))
    parser.add("--table", "npz file of the table", TABLE, type=Path)
    parser.add("--out", "file of rows (default: hyperparameters_DEVICE.csv in results)", type=Path)
    return parser


if __name__ == "__main__":
    main()

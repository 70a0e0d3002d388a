"""The use of `recheck_best`: fifteen trials for repeats of the best five, or for more search.

After 85 trials of the adaptive sampler on a noisy task, the best five are evaluated three times
each; or the search continues for fifteen trials. Every answer is scored without noise, by the mean
loss over ten splits that no trial sees. A row is one study. The tasks are the held-out ones of
`sklearn-hpo` and `conditional`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna import Study
from optuna.pruners import NopPruner

from benchmarks.markdown import paragraph, table
from benchmarks.options import Options, at_least
from benchmarks.paired import difference
from benchmarks.rows import RESULTS, Row, TooFewRowsError, environment, rows_to_continue
from benchmarks.runner import Job, Missing, run_missing
from benchmarks.samplers import SAMPLERS, Search
from benchmarks.suites import load_suite
from benchmarks.suites.task import Objective
from optuna_ga import recheck_best

NOISY = ("sklearn-hpo", "conditional")
N_TRIALS, N_BEST, N_REPEATS = 85, 5, 3
KEY = ("suite", "task", "seed")
COMPARED = (
    ("answer after repeats, less than after more search", "score_rechecked", "score_longer"),
    ("answer after repeats, less than without", "score_rechecked", "score_first"),
    ("value of the answer in the search, less than its score", "value_first", "score_first"),
    ("mean of its repeats, less than its score", "value_rechecked", "score_rechecked"),
)


def row_of(suite: str, task_name: str, seed: int) -> Row:
    """Return the result columns of a study on one task."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    task = next(task for task in load_suite(suite).tasks if task.name == task_name)
    objective: Any = task.objective(seed)  # Repeats are fixed trials, which suggest as trials do.
    study = optuna.create_study(sampler=SAMPLERS["adaptive"](Search(seed)), pruner=NopPruner())
    study.optimize(objective, n_trials=N_TRIALS)
    found = _answer(study, objective, "first")
    best, *_ = recheck_best(study, objective, n_best=N_BEST, n_repeats=N_REPEATS)
    found |= {
        "value_rechecked": f"{best.mean:.6g}",
        "score_rechecked": f"{objective.score(best.trial.params):.6g}",
    }
    study.optimize(objective, n_trials=N_BEST * N_REPEATS)
    return found | _answer(study, objective, "longer")


def _answer(study: Study, objective: Objective, name: str) -> Row:
    return {
        f"value_{name}": f"{study.best_value:.6g}",
        f"score_{name}": f"{objective.score(study.best_params):.6g}",
    }


def report(rows: pd.DataFrame) -> str:
    """Return the report as Markdown.

    Raises:
        TooFewRowsError: If there are fewer than two rows.
    """
    if len(rows) < 2:
        raise TooFewRowsError("argument --out: a report needs at least two rows")
    lines = [[words, *_compared(rows[first], rows[second])] for words, first, second in COMPARED]
    return "\n".join(
        [
            "# Repeats of the best trials\n",
            paragraph(
                f"""{rows["task"].nunique()} noisy tasks, {len(rows)} studies. After {N_TRIALS}
                trials of the adaptive sampler, {N_BEST} x {N_REPEATS} evaluations are repeats of
                the best, or further trials. Percent of the second of two figures, with the 95 %
                interval of the mean of the tasks' paired differences over all studies; then how
                often the first is lower, equal and higher. Made by
                `python -m benchmarks.suites.recheck`."""
            ),
            table(["what", "percent", "lower / equal / higher"], lines),
        ]
    )


def _compared(first: pd.Series, second: pd.Series) -> list[str]:
    found = difference((100 * first / second).tolist(), [100.0] * len(first))
    counts = [(first < second).sum(), (first == second).sum(), (first > second).sum()]
    return [
        f"{found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})",
        " / ".join(map(str, counts)),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then report; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    path = options.out.with_suffix(".csv")
    if options.step == "run":
        rows = parser.checked(rows_to_continue, path, {"trials": N_TRIALS})
        studies = [
            (suite, task.name, seed)
            for seed in range(options.seeds)
            for suite in NOISY
            for task in load_suite(suite).tasks
            if task.held_out
        ]
        jobs = [Job(dict(zip(KEY, study, strict=True)), study) for study in studies]
        facts = {"trials": N_TRIALS} | environment("CPU", "optuna", "commit")
        run_missing(Missing(path, rows, jobs, facts, _order), row_of, options.processes)
    parser.report(path, report)


def _order(row: Row) -> tuple[str, str, int]:
    return row["suite"], row["task"], int(row["seed"])


def _parser() -> Options:
    parser = Options("python -m benchmarks.suites.recheck", __doc__)
    parser.add_step(run="runs what is missing and reports", report="only reports")
    parser.add("--seeds", "number of seeds of each task", 20, type=at_least(1))
    parser.add("--processes", "worker processes", 2, type=at_least(1))
    parser.add("--out", "file of rows", RESULTS / "recheck_cpu.csv", type=Path)
    return parser


if __name__ == "__main__":
    main()

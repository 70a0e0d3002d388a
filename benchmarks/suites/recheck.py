"""What `recheck_best` is worth: fifteen trials for repeats of the best five, or for more search.

After 85 trials of the adaptive sampler on a noisy task, the best five are evaluated three times
each; or the search goes on for fifteen trials. Every answer is scored without noise, by the mean
loss over ten splits that no trial sees. A row is one study. The tasks are the held-out ones of
`sklearn-hpo` and `conditional`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import optuna
from optuna import Study
from optuna.pruners import NopPruner

from benchmarks.markdown import paragraph, table
from benchmarks.options import Options, at_least
from benchmarks.paired import difference
from benchmarks.rows import RESULTS, Row, environment, read_rows, rows_to_continue, write_rows
from benchmarks.runner import in_processes
from benchmarks.suites.__main__ import SUITES
from benchmarks.suites.task import Objective
from optuna_ga import GASampler, recheck_best

NOISY = ("sklearn-hpo", "conditional")
N_TRIALS, N_BEST, N_REPEATS = 85, 5, 3
KEY = ("suite", "task", "seed")


def row_of(suite: str, task_name: str, seed: int) -> Row:
    """Return what a study on one task adds to its row."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tasks = resolve_name(SUITES[suite]).tasks
    objective = next(task for task in tasks if task.name == task_name).objective(seed)
    sampler = GASampler.adaptive(screen=True, seed=seed)
    study = optuna.create_study(sampler=sampler, pruner=NopPruner())
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


def report(rows: Sequence[Row]) -> str:
    """Return the report as Markdown."""
    n_tasks = len({row["task"] for row in rows})
    comparisons: list[tuple[str, str, str]] = [
        ("answer after repeats, less than after more search", "score_rechecked", "score_longer"),
        ("answer after repeats, less than without", "score_rechecked", "score_first"),
        ("value of the answer in the search, less than its score", "value_first", "score_first"),
        ("mean of its repeats, less than its score", "value_rechecked", "score_rechecked"),
    ]
    lines = [[words, *_compared(rows, first, second)] for words, first, second in comparisons]
    return "\n".join(
        [
            "# Repeats of the best trials\n",
            paragraph(
                f"""{n_tasks} noisy tasks, {len(rows)} studies. After {N_TRIALS} trials of the
                adaptive sampler, {N_BEST} x {N_REPEATS} evaluations are repeats of the best, or
                further trials. Percent of the second of two figures, with the 95 % interval of
                the mean of the tasks' paired differences over all studies; then how often the
                first is lower, equal and higher. Made by `python -m benchmarks.suites.recheck`."""
            ),
            table(["what", "percent", "lower / equal / higher"], lines),
        ]
    )


def _compared(rows: Sequence[Row], first: str, second: str) -> list[str]:
    a, b = (np.array([float(row[name]) for row in rows]) for name in (first, second))
    found = difference((100 * a / b).tolist(), [100.0] * len(rows))
    counts = [int(np.sum(holds)) for holds in (a < b, a == b, a > b)]
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
        try:
            rows = rows_to_continue(path, {"trials": N_TRIALS})
            _run(rows, path, options)
        except ValueError as error:
            parser.error(str(error))
    if len(rows := read_rows(path)) < 2:
        parser.error(f"argument --out: {path.name} has fewer than two rows to report on")
    text = report(rows)
    path.with_suffix(".md").write_text(text)
    print(text)


def _run(rows: list[Row], path: Path, options: argparse.Namespace) -> None:
    done = {tuple(row[name] for name in KEY) for row in rows}
    jobs = [
        (suite, task.name, seed)
        for seed in range(options.seeds)
        for suite in NOISY
        for task in resolve_name(SUITES[suite]).tasks
        if task.held_out
    ]
    missing = [job for job in jobs if tuple(map(str, job)) not in done]
    made_by = environment("CPU")
    facts = {"trials": N_TRIALS, "optuna": made_by["optuna"], "commit": made_by["commit"]}
    for key, found in in_processes(row_of, missing, options.processes):
        rows.append(dict(zip(KEY, key, strict=True)) | found | facts)
        write_rows(path, sorted(rows, key=_order))


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

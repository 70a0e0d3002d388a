"""Samplers on the tasks of a suite: the best score after so many trials, with many seeds.

A row is one study. With several workers, each of them is always busy with a trial, so that the
sampler knows the values of all trials but theirs. The tasks are those that nothing was tuned on,
or with --tuning the others. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from pkgutil import resolve_name
from time import monotonic

from benchmarks.options import Options, at_least
from benchmarks.rows import RESULTS, Row, environment, read_rows, rows_to_continue, write_rows
from benchmarks.runner import in_processes
from benchmarks.suites import report
from benchmarks.suites.samplers import ABLATIONS, LIMITS, SAMPLERS
from benchmarks.suites.study import row_of
from benchmarks.suites.task import Suite, Task

# Where they are, to be imported by name: each needs packages of its own.
SUITES = {
    "bbob": "benchmarks.suites.bbob:BBOB",
    "bbob-mixint": "benchmarks.suites.bbob:BBOB_MIXINT",
    "discrete": "benchmarks.suites.discrete:DISCRETE",
    "fashion-mnist-table": "benchmarks.suites.fashion_mnist_table:TABLE",
    "sklearn-hpo": "benchmarks.suites.sklearn_hpo:SKLEARN_HPO",
    "conditional": "benchmarks.suites.conditional:CONDITIONAL",
}
KEY = ("task", "sampler", "workers", "seed", "trials")
WRITE_EVERY_S = 5.0

Job = tuple[str, str, str, int, int, int]  # The suite's place, and what the key names.


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then report; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    ending = "_tuning" if options.tuning else ""
    if options.ablation:
        ending, options.tuning, options.samplers = "_ablation", True, ["adaptive", *ABLATIONS]
    default = RESULTS / f"suite_{options.suite.replace('-', '_')}{ending}.csv"
    path = (options.out or default).with_suffix(".csv")
    if options.step == "run":
        try:
            suite = resolve_name(SUITES[options.suite])
            rows = rows_to_continue(path, _settings(suite, options))
            jobs = jobs_of(suite, options)
        except ImportError as error:
            parser.error(f'{error}; `pip install -e ".[benchmark]"` installs all that is needed')
        except ValueError as error:
            parser.error(str(error))
        run(jobs, suite, rows, path, options)
    elif not path.exists():
        parser.error(f"argument --out: there is no {path.name} to report on")
    if not (rows := read_rows(path)):
        parser.error(f"argument --out: {path.name} has no rows to report on")
    print(report.write(rows, path))


def run(
    jobs: Sequence[Job], suite: Suite, rows: list[Row], path: Path, options: argparse.Namespace
) -> None:
    """Run every job that the rows have not, and write all rows."""
    done = {tuple(row[name] for name in KEY) for row in rows}
    missing = [job for job in jobs if tuple(map(str, job[1:])) not in done]
    made_by = environment("CPU")
    facts = {
        "optimum": "" if suite.optimum is None else suite.optimum,
        "optuna": made_by["optuna"],
        "commit": made_by["commit"],
    }
    written = monotonic()
    try:
        ended = in_processes(row_of, missing, options.processes, 60 * options.minutes)
        for (_, *key), found in ended:
            study = dict(zip(KEY, key, strict=True))
            rows.append(_settings(suite, options) | study | found | facts)
            if monotonic() > written + WRITE_EVERY_S:
                write_rows(path, rows)
                written = monotonic()
    finally:
        if rows:
            write_rows(path, sorted(rows, key=_order))


def jobs_of(suite: Suite, options: argparse.Namespace) -> list[Job]:
    """Return the studies that are asked for, those of a seed together.

    Raises:
        ValueError: If a task is asked for that is not among them.
    """
    tasks = _tasks(suite, options)
    n_seeds = options.seeds or suite.n_seeds
    return [
        (SUITES[options.suite], task.name, sampler, n_workers, options.first_seed + seed, n_trials)
        for seed in range(n_seeds)
        for task in tasks
        for sampler, n_trials in _going_on(suite, options, seed)
        for n_workers in dict.fromkeys(options.workers)
    ]


def _settings(suite: Suite, options: argparse.Namespace) -> Row:
    return {"suite": suite.name, "part": "tuning" if options.tuning else "held-out"}


def _tasks(suite: Suite, options: argparse.Namespace) -> list[Task]:
    tasks = {task.name: task for task in suite.tasks if task.held_out != options.tuning}
    if not tasks:
        raise ValueError(f"argument --tuning: all tasks of {suite.name!r} are held out")
    for name in options.tasks or ():
        if name not in tasks:
            raise ValueError(f"argument --tasks: {name!r} must be among {', '.join(tasks)}")
    return [task for name, task in tasks.items() if not options.tasks or name in options.tasks]


def _going_on(suite: Suite, options: argparse.Namespace, seed: int) -> Iterator[tuple[str, int]]:
    """Yield the samplers that go as far as this seed, each with its number of trials."""
    n_trials = options.trials or suite.n_trials
    for sampler in dict.fromkeys(options.samplers):
        limit = LIMITS.get((options.suite, sampler))
        if limit is None:
            yield sampler, n_trials
        elif seed < limit.n_seeds:
            yield sampler, min(n_trials, limit.n_trials)


def _order(row: Row) -> tuple[str, int, str, int, int]:
    task, sampler, workers, seed, trials = (row[name] for name in KEY)
    return task, int(workers), sampler, int(seed), int(trials)


def _parser() -> Options:
    parser = Options("python -m benchmarks.suites", __doc__)
    names, suites = list(SAMPLERS), list(SUITES)
    parser.add_argument("suite", choices=suites, help=f"one of {', '.join(suites)}")
    parser.add_step(run="runs what is missing and reports", report="only reports")
    parser.add("--samplers", "samplers to compare", names, nargs="+", choices=names)
    parser.add_argument("--tuning", action="store_true", help="the tasks that may be tuned on")
    parser.add_argument(
        "--ablation",
        action="store_true",
        help="these tasks, for `adaptive` and what it would be without one setting at a time",
    )
    parser.add("--tasks", "only these tasks (default: all)", nargs="+")
    parser.add("--seeds", "number of seeds (default: the suite's)", type=at_least(1))
    parser.add("--first-seed", "first of the seeds", 0, type=at_least(0))
    parser.add("--trials", "trials of each study (default: the suite's)", type=at_least(5))
    parser.add("--workers", "simulated workers", [1, 8], nargs="+", type=at_least(1))
    parser.add("--processes", "worker processes", 2, type=at_least(1))
    parser.add("--minutes", "begin no study after so many", math.inf, type=float)
    parser.add("--out", "file of rows (default: suite_SUITE.csv in results)", type=Path)
    return parser


if __name__ == "__main__":
    main()

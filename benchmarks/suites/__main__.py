"""Samplers on the tasks of a suite: the best score after so many trials, with many seeds.

A row is one study. With several workers each is always busy with a trial, so that the sampler
knows the values of all trials but theirs; with --generations they begin together, when all trials
before have ended. The tasks are the held-out ones, on which nothing was
tuned; with --tuning they are the others. A run that was stopped resumes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.options import Options, at_least
from benchmarks.rows import RESULTS, Row, environment, rows_to_continue
from benchmarks.runner import Job, Missing, run_missing
from benchmarks.samplers import RIVALS, SAMPLERS, SEVERAL_SAMPLERS
from benchmarks.suites import SUITES, load_suite
from benchmarks.suites.kinds import KINDS, Kind
from benchmarks.suites.plot import plot
from benchmarks.suites.report import report
from benchmarks.suites.study import row_of
from benchmarks.suites.task import Suite, Task


class Limit(NamedTuple):
    """The most that a sampler runs.

    Attributes:
        n_trials: Trials of a study.
        n_seeds: Seeds with one worker.
        n_seeds_of_several: Seeds with several workers.
    """

    n_trials: int
    n_seeds: int
    n_seeds_of_several: int


KEY = ("task", "sampler", "workers", "seed", "trials")
_NOT_AT_ALL = Limit(0, 0, 0)
# By suite and sampler. A trial takes `gp` 60 to 900 times as long as `random`.
LIMITS: Mapping[tuple[str, str], Limit] = {
    ("bbob", "gp"): Limit(100, 10, 1),
    ("bbob-mixint", "gp"): Limit(100, 10, 1),
    ("discrete", "gp"): Limit(100, 20, 20),
    ("conditional", "gp"): Limit(100, 20, 20),
    ("sklearn-hpo", "gp"): Limit(100, 20, 20),
    ("fashion-mnist-table", "gp"): Limit(100, 50, 0),
    ("fashion-mnist-noise", "gp"): Limit(100, 50, 0),
    ("tables", "gp"): Limit(200, 20, 9),
    ("pbo", "gp"): Limit(100, 1, 0),
    ("needles", "gp"): Limit(100, 20, 0),
    ("failures", "gp"): Limit(100, 3, 0),
    ("bad-values", "gp"): Limit(100, 3, 0),
    ("pruned", "gp"): Limit(100, 20, 0),
    ("constrained", "gp"): Limit(100, 2, 0),
    **{("constrained", sampler): _NOT_AT_ALL for sampler in ("qmc", "cmaes", "de")},
    **{
        ("constrained-front", sampler): _NOT_AT_ALL
        for sampler in ("gp", "qmc", "pymoo-nsga2", "pymoo-sms-emoa")
    },
    ("bbob-biobj", "gp"): Limit(100, 2, 0),
    ("failures-biobj", "gp"): _NOT_AT_ALL,
    ("front", "gp"): Limit(100, 1, 0),
    ("trade-offs", "gp"): Limit(100, 2, 0),
    ("table-trade-offs", "gp"): Limit(100, 3, 3),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then report; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    kind = KINDS.get(options.kind, Kind(""))
    ending = f"_{options.kind}" if options.kind else ""
    options.tuning = kind.tuning
    default = RESULTS / f"suite_{options.suite.replace('-', '_')}{ending}.csv"
    path = (options.out or default).with_suffix(".csv")
    if options.step == "run":
        suite = parser.checked(load_suite, options.suite)
        usual = SEVERAL_SAMPLERS if suite.several else SAMPLERS
        options.samplers = options.samplers or kind.compared(suite.several) or [*usual]
        settings = {"suite": suite.name, "part": "tuning" if options.tuning else "held-out"}
        rows = parser.checked(rows_to_continue, path, settings)
        jobs = parser.checked(jobs_of, suite, settings, options)
        facts: Row = {"optimum": "" if suite.optimum is None else suite.optimum}
        if suite.several:
            facts["score"] = "hypervolume"
        facts |= environment("CPU", "optuna", "commit")
        missing = Missing(path, rows, jobs, facts, _order)
        function = partial(row_of, by_generations=True) if kind.by_generations else row_of
        run_missing(missing, function, options.processes, 60 * options.minutes)
    frame = parser.report(path, lambda frame: report(frame, path))
    plot(frame, path.with_suffix(".png"))


def jobs_of(suite: Suite, settings: Row, options: argparse.Namespace) -> list[Job]:
    """Return a job for each study, those of a seed together.

    Raises:
        ValueError: If a task is not among those of the suite's part.
    """
    tasks = _tasks(suite, options)
    studies = [
        (task.name, sampler, n_workers, options.first_seed + seed, n_trials)
        for seed in range(options.seeds or suite.n_seeds)
        for task in tasks
        for sampler in dict.fromkeys(options.samplers)
        for n_workers in dict.fromkeys(options.workers)
        if (n_trials := _n_trials(suite, options, sampler, n_workers, seed))
    ]
    return [
        Job(settings | dict(zip(KEY, study, strict=True)), (options.suite, *study))
        for study in studies
    ]


def _tasks(suite: Suite, options: argparse.Namespace) -> list[Task]:
    tasks = {task.name: task for task in suite.tasks if task.held_out != options.tuning}
    if not tasks:
        raise ValueError(f"argument --tuning: all tasks of {suite.name!r} are held out")
    for name in options.tasks or ():
        if name not in tasks:
            raise ValueError(f"argument --tasks: {name!r} must be among {', '.join(tasks)}")
    return [task for name, task in tasks.items() if not options.tasks or name in options.tasks]


def _n_trials(
    suite: Suite, options: argparse.Namespace, sampler: str, n_workers: int, seed: int
) -> int:
    """Return the number of trials of a study, 0 if the sampler does not run."""
    n_trials: int = options.trials or suite.n_trials
    limit = LIMITS.get((suite.name, sampler))
    if limit is None:
        return n_trials
    n_seeds = limit.n_seeds if n_workers == 1 else limit.n_seeds_of_several
    return min(n_trials, limit.n_trials) if seed < n_seeds else 0


def _order(row: Row) -> tuple[str, int, str, int, int]:
    return row["task"], int(row["workers"]), row["sampler"], int(row["seed"]), int(row["trials"])


def _parser() -> Options:
    parser = Options("python -m benchmarks.suites", __doc__)
    names, suites = list({**SAMPLERS, **SEVERAL_SAMPLERS, **RIVALS}), list(SUITES)
    parser.add("suite", "suite to run", choices=suites)
    parser.add_step(run="runs what is missing and reports", report="only reports")
    samplers = "samplers to compare (default: all that take as many objectives)"
    parser.add("--samplers", samplers, nargs="+", choices=names)
    kinds = parser.add_mutually_exclusive_group()
    for name, kind in KINDS.items():
        kinds.add_argument(
            f"--{name}", dest="kind", action="store_const", const=name, help=kind.does
        )
    parser.add("--tasks", "only these tasks (default: all)", nargs="+")
    parser.add("--seeds", "number of seeds (default: the suite's)", type=at_least(1))
    parser.add("--first-seed", "first of the seeds", 0, type=at_least(0))
    parser.add("--trials", "trials of each study (default: the suite's)", type=at_least(5))
    parser.add("--workers", "simulated workers", [1, 8], nargs="+", type=at_least(1))
    parser.add("--processes", "worker processes", 2, type=at_least(1))
    parser.add("--minutes", "minutes after which no study begins", math.inf, type=float)
    parser.add("--out", "file of rows (default: suite_SUITE.csv in results)", type=Path)
    return parser


if __name__ == "__main__":
    main()

"""Samplers on `fashion-mnist-table`: regret after so many trials, with many seeds.

Every sampler is told each result before it is asked for the next setting. The regret is how much
higher the loss, without noise, is at the best trial so far than at the optimum; where everything
has diverged, the loss is that of guessing. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler

from benchmarks import compare_report
from benchmarks.options import Options, at_least
from benchmarks.rows import Row, environment, rows_to_continue, write_rows
from benchmarks.runner import in_processes
from benchmarks.samplers import ALL
from benchmarks.table.problem import CPU_TABLE, fingerprint, results_on, table_problem
from optuna_ga.fashion_mnist import SEARCH_SPACE

EVERY = 10  # Trials between two rows.


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then report; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    csv_path = (options.out or results_on(options.table, "compare")).with_suffix(".csv")
    if options.step == "run":
        try:
            rows = rows_to_continue(csv_path, _settings(options))
        except ValueError as error:
            parser.error(str(error))
        run(options, rows, csv_path)
    elif not csv_path.exists():
        parser.error(f"argument --out: there is no {csv_path.name} to report on")
    try:
        regrets = compare_report.read(csv_path)
    except ValueError as error:
        parser.error(str(error))
    text = compare_report.report(regrets, csv_path)
    csv_path.with_suffix(".md").write_text(text)
    compare_report.plot(regrets, csv_path.with_suffix(".png"))
    print(text)


def run(options: argparse.Namespace, rows: list[Row], path: Path) -> None:
    """Run every sampler with every seed that the rows have not, and write all rows."""
    done = {(row["sampler"], int(row["seed"])) for row in rows}
    jobs = [
        (name, seed, options.trials, options.table, options.noise)
        for seed in range(options.seeds)
        for name in options.samplers
        if (name, seed) not in done
    ]
    facts = _settings(options) | environment("CPU")
    for (name, seed, *_), regrets in in_processes(regrets_of, jobs, options.processes):
        rows += [
            {"sampler": name, "seed": seed, "trials": n, "regret": f"{regrets[n - 1]:.6g}"} | facts
            for n in range(EVERY, options.trials + 1, EVERY)
        ]
        write_rows(path, rows)
    order = list(ALL)
    rows.sort(key=lambda r: (order.index(r["sampler"]), int(r["seed"]), int(r["trials"])))
    write_rows(path, rows)


def _settings(options: argparse.Namespace) -> Row:
    return {"table": fingerprint(options.table), "noise": options.noise, "budget": options.trials}


def regrets_of(
    sampler: str, seed: int, n_trials: int, table: Path = CPU_TABLE, noise: bool = False
) -> list[float]:
    """Return the regret after each trial of one study."""
    return best_so_far(ALL[sampler](seed), n_trials, table, seed if noise else None)


def best_so_far(
    sampler: BaseSampler, n_trials: int, table: Path = CPU_TABLE, noise_seed: int | None = None
) -> list[float]:
    """Return the regret of the best trial so far after each trial `(n_trials,)`.

    Args:
        sampler: The sampler of a new study in memory.
        n_trials: Number of trials.
        table: Table of the problem.
        noise_seed: Seed of the problem's noise; the best trial is then the one that looks best.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    problem = table_problem(table, noise_seed)
    study = optuna.create_study(sampler=sampler, pruner=NopPruner())
    study.optimize(problem, n_trials=n_trials)
    best, regret, regrets = math.inf, problem.worst_regret, []
    for trial in study.get_trials(deepcopy=False):
        if trial.value is not None and trial.value < best:
            best = trial.value
            regret = problem.regret(np.array([trial.params[name] for name in SEARCH_SPACE]))
        regrets.append(regret)
    return regrets


def _parser() -> Options:
    parser = Options("python -m benchmarks --problem fashion-mnist-table", __doc__)
    parser.add_step(run="runs what is missing and reports", report="only reports")
    parser.add("--samplers", "samplers to compare", list(ALL), nargs="+", choices=list(ALL))
    parser.add("--seeds", "number of seeds, 0 and up", 50, type=at_least(2))
    parser.add("--trials", "trials of each study", 200, type=at_least(20))
    parser.add("--processes", "worker processes", 2, type=at_least(1))
    parser.add("--table", "npz file of the table", CPU_TABLE, type=Path)
    parser.add_argument("--noise", action="store_true", help="draw among the training seeds")
    parser.add("--out", "file of rows (default: compare_DEVICE.csv in results)", type=Path)
    return parser

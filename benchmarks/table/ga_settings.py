"""The settings of the genetic algorithm: a full grid on `fashion-mnist-table`.

Every combination of population size, share of parents, mutation probability and elitism runs 200
trials with every seed; a study with fewer generations is the beginning of a longer one. Random
search and TPE run beside them with the same seeds. A row is one study, with its regrets after so
many trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks.options import Options, at_least
from benchmarks.rows import Row, environment, rows_to_continue
from benchmarks.runner import Job, Missing, run_missing
from benchmarks.samplers import SAMPLERS, Search
from benchmarks.suites.fashion_mnist_table import TableObjective
from benchmarks.suites.study import run_study
from benchmarks.table.ga_settings_report import report
from benchmarks.table.problem import fingerprint, results_on
from benchmarks.table.table import TABLE
from optuna_ga import GASampler

N_TRIALS = 200
RECORDED = (10, 20, 25, 30, 50, 100, 200)  # 10, 25, 30 and 200 are the paper's runs.


class Cell(NamedTuple):
    """A combination of settings, or another sampler by its name."""

    sampler: str
    population_size: int = 0
    parent_fraction: float = 0.0
    mutation_prob: float = 0.0
    elitism: bool = False


# Of five, 0.4 are as many parents as 0.5.
GRID = [
    Cell("ga", *settings)
    for settings in product((5, 10, 20, 40), (0.4, 0.5, 0.8), (0.0, 0.1, 0.2, 0.4), (False, True))
    if settings[:2] != (5, 0.4)
]
OTHERS = [Cell("random"), Cell("tpe")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then report; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    out = options.out or results_on(options.table, "ga_settings")
    if options.step == "run":
        settings = {"table": fingerprint(options.table)}
        rows = parser.checked(rows_to_continue, out, settings)
        jobs = [
            Job(cell._asdict() | {"seed": seed}, (cell, seed, options.table))
            for seed in range(options.seeds)
            for cell in [*OTHERS, *GRID]
        ]
        facts = settings | environment("CPU", "optuna", "commit")
        run_missing(Missing(out, rows, jobs, facts, _order), row_of, options.processes)
    parser.report(out, report)


def row_of(cell: Cell, seed: int, table: Path) -> Row:
    """Return the result columns of one study: regrets after the recorded numbers of trials."""
    sampler = SAMPLERS[cell.sampler](Search(seed))
    if cell.sampler == "ga":
        sampler = GASampler(
            cell.population_size,
            parent_fraction=cell.parent_fraction,
            mutation_prob=cell.mutation_prob,
            elitism=cell.elitism,
            seed=seed,
        )
    outcome = run_study(TableObjective(table), sampler, N_TRIALS, n_workers=1)
    return {f"regret_{n}": f"{outcome.best[n]:.5g}" for n in RECORDED}


def _order(row: Row) -> list[str]:
    return [str(row[name]) for name in (*Cell._fields, "seed")]


def _parser() -> Options:
    parser = Options("python -m benchmarks.table.ga_settings", __doc__)
    parser.add_step(run="runs what is missing and reports", report="only reports")
    parser.add("--seeds", "number of seeds, 0 and up", 50, type=at_least(2))
    parser.add("--processes", "worker processes", 2, type=at_least(1))
    parser.add("--table", "npz file of the table", TABLE, type=Path)
    parser.add("--out", "file of rows (default: ga_settings_DEVICE.csv in results)", type=Path)
    return parser


if __name__ == "__main__":
    main()

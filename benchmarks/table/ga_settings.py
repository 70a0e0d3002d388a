"""What the genetic algorithm's own settings do: a full grid on `fashion-mnist-table`.

Every combination of population size, share of parents, mutation probability and elitism runs 200
trials with every seed; a study with fewer generations is the beginning of a longer one. Beside
them random search and TPE with the same seeds. A row holds the regrets after so many trials.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks.compare import best_so_far
from benchmarks.options import Options, at_least
from benchmarks.rows import Row, environment, read_rows, rows_to_continue, write_rows
from benchmarks.runner import in_processes
from benchmarks.samplers import ALL
from benchmarks.table import ga_settings_report
from benchmarks.table.problem import CPU_TABLE, fingerprint, results_on
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
        try:
            rows = rows_to_continue(out, {"table": fingerprint(options.table)})
        except ValueError as error:
            parser.error(str(error))
        _run(options, rows, out)
    elif not out.exists():
        parser.error(f"argument --out: there is no {out.name} to report on")
    try:
        text = ga_settings_report.report(read_rows(out))
    except ValueError as error:
        parser.error(str(error))
    out.with_suffix(".md").write_text(text)
    print(text)


def _run(options: argparse.Namespace, rows: list[Row], out: Path) -> None:
    done = {(*(row[name] for name in Cell._fields), row["seed"]) for row in rows}
    jobs = [
        (cell, seed, options.table)
        for seed in range(options.seeds)
        for cell in [*OTHERS, *GRID]
        if (*map(str, cell), str(seed)) not in done
    ]
    made_by = environment("CPU")
    facts = {
        "table": fingerprint(options.table),
        "optuna": made_by["optuna"],
        "commit": made_by["commit"],
    }
    for (cell, seed, _), regrets in in_processes(regrets_of, jobs, options.processes):
        found = {f"regret_{n}": f"{regret:.5g}" for n, regret in regrets.items()}
        rows.append(cell._asdict() | {"seed": seed} | found | facts)
        if len(rows) % 100 == 0:
            write_rows(out, rows)
    write_rows(out, sorted(rows, key=lambda r: [str(r[n]) for n in (*Cell._fields, "seed")]))


def regrets_of(cell: Cell, seed: int, table: Path) -> dict[int, float]:
    """Return the regrets of one study after the recorded numbers of trials."""
    sampler = ALL[cell.sampler](seed)
    if cell.sampler == "ga":
        sampler = GASampler(
            cell.population_size,
            parent_fraction=cell.parent_fraction,
            mutation_prob=cell.mutation_prob,
            elitism=cell.elitism,
            seed=seed,
        )
    regrets = best_so_far(sampler, N_TRIALS, table)
    return {n: regrets[n - 1] for n in RECORDED}


def _parser() -> Options:
    parser = Options("python -m benchmarks.table.ga_settings", __doc__)
    parser.add_step(run="runs what is missing and reports", report="only reports")
    parser.add("--seeds", "number of seeds, 0 and up", 50, type=at_least(2))
    parser.add("--processes", "worker processes", 2, type=at_least(1))
    parser.add("--table", "npz file of the table", CPU_TABLE, type=Path)
    parser.add("--out", "file of rows (default: ga_settings_DEVICE.csv in results)", type=Path)
    return parser


if __name__ == "__main__":
    main()

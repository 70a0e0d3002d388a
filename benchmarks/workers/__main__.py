"""Counts on real servers, while many workers share a study, die and are replaced.

- `identical`: one seed, `optimize_generations` with 1 to 8 threads and processes on SQLite, a
  journal and PostgreSQL; counted are the trials that differ from those of one process in memory.
- `killed`: a sequential run and a run by generations, killed with SIGKILL at random moments and
  resumed.
- `interrupted`: a run by generations on PostgreSQL with a pool of 4 processes, interrupted thrice
  at random moments by Ctrl-C, by SIGTERM, by killing a worker, or by a database that is away for 1
  or 10 seconds, and run again until it is done; evaluations are counted.
- `swarm`: 16 processes with one seed on PostgreSQL, trials of uneven (lognormal) length, 8 of them
  killed at random and replaced; GASampler as in the paper, with elitism and, with a quarter of the
  trials, adaptive; and NSGAIISampler.
- `two-objectives`: the first two, of runs by generations, and the swarm, with two objectives.
- `adaptive`: `identical`, `killed` by generations and `interrupted` with `GASampler.adaptive` in a
  conditional space, whose running trials it has to predict.
- `faults`: 8 processes on PostgreSQL with heartbeats, whose objective fails, prunes, diverges or
  kills its process in 30 % of the trials; and a run by generations that is replaced when it dies.
- `threads`: 32 threads, one sampler object, 5 studies.
- `suggestion`: one more trial of a study of 100,000 on PostgreSQL, beside RandomSampler.

A row is one figure: its value, its bound (if it has one) and whether that holds. The servers and
the oracle that counts are those of the tests, `tests/servers.py` and `tests/oracles.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import optuna
from tqdm import tqdm

from benchmarks.options import Options
from benchmarks.rows import RESULTS, Row, environment, read_rows, write_rows
from benchmarks.workers.common import ADAPTIVE, TWO
from benchmarks.workers.free import faults, swarm
from benchmarks.workers.interrupted import interrupted
from benchmarks.workers.same_study import (
    identical,
    killed,
    killed_by_generations,
    threads,
)
from benchmarks.workers.suggestion import suggestion


def two_objectives() -> Iterator[Row]:
    """Repeat the experiments that any number of objectives can have."""
    yield from identical(problem=TWO)
    yield from killed_by_generations(problem=TWO)
    yield from swarm(problem=TWO)


def adaptive() -> Iterator[Row]:
    """Repeat the experiments by generations with the sampler that predicts running trials."""
    yield from identical(problem=ADAPTIVE)
    yield from killed_by_generations(problem=ADAPTIVE)
    yield from interrupted(problem=ADAPTIVE)


EXPERIMENTS: Mapping[str, Callable[[], Iterator[Row]]] = {
    "identical": identical,
    "killed": killed,
    "interrupted": interrupted,
    "swarm": swarm,
    "two-objectives": two_objectives,
    "adaptive": adaptive,
    "faults": faults,
    "threads": threads,
    "suggestion": suggestion,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiments and write the rows; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known, place = parser.checked(read_rows, options.out), environment("CPU")
    rows: list[Row] = []
    for name in tqdm(options.experiments, unit="experiment", disable=None):
        for row in EXPERIMENTS[name]():
            rows.append({"experiment": name, **row, **place})
            write_rows(options.out, _merged(known, rows))  # A later experiment may fail.
            verdict = {True: "holds", False: "FAILS", None: ""}[row["holds"]]
            tqdm.write(f"{name}, {row['case']}: {row['figure']}: {row['value']} {verdict}")
    sys.exit(int(any(row["holds"] is False for row in rows)))


def _merged(known: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the known rows of other experiments, in the order of experiments."""
    done = {row["experiment"] for row in rows}
    merged = [*(row for row in known if row["experiment"] not in done), *rows]
    return sorted(merged, key=lambda row: [*EXPERIMENTS].index(row["experiment"]))


def _parser() -> Options:
    parser = Options("python -m benchmarks.workers", __doc__)
    names = list(EXPERIMENTS)
    parser.add("--experiments", "experiments to run", names, nargs="+", choices=names)
    parser.add("--out", "file of rows", RESULTS / "workers.csv", type=Path)
    return parser


if __name__ == "__main__":
    main()

"""The paper's claims on `fashion-mnist-table`, with as many seeds as a verdict needs.

A study is one of the paper's five runs, or a run with another population at an equal number of
trainings, on the table with the noise of training seeds. Random search and TPE have equally many
trials, asked for a generation at a time. Its answer is the best trial of the final generation, as
the paper defines it; of the others the best trial. A row is one study: the answer's loss without
noise, which decides, and the loss that its user sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import optuna
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler

from benchmarks.options import Options, at_least
from benchmarks.paper.runs import PAPER
from benchmarks.rows import Row, environment, rows_to_continue
from benchmarks.runner import Job, Missing, run_missing
from benchmarks.samplers import SAMPLERS, Search
from benchmarks.table.claims_report import report
from benchmarks.table.problem import TableProblem, fingerprint, results_on
from benchmarks.table.table import TABLE
from benchmarks.trainings import GUESSING
from optuna_ga import GASampler, best_of_final_generation, optimize_generations
from optuna_ga.fashion_mnist import SEARCH_SPACE


class Run(NamedTuple):
    """A study's settings.

    Attributes:
        sampler: "ga", or another sampler's name.
        population_size: Trials in a generation, or asked for at a time.
        generations: Generations.
        mutation_prob: Of the genetic algorithm; 0 for the others.
    """

    sampler: str
    population_size: int
    generations: int
    mutation_prob: float = 0.0


_SIZES = sorted({(run.population_size, run.n_generations) for run in PAPER})
RUNS = dict.fromkeys(
    [
        *(Run("ga", run.population_size, run.n_generations, run.mutation_prob) for run in PAPER),
        # The same sizes with both of the paper's mutation rates.
        *(Run("ga", *size, prob) for size in _SIZES for prob in (0.1, 0.2)),
        # Other sizes with 30, 50 and 200 trainings.
        *(
            Run("ga", *size, 0.2)
            for size in ((5, 6), (15, 2), (5, 10), (10, 5), (25, 2), (10, 20), (40, 5), (50, 4))
        ),
        *(Run(name, *size) for name in ("random", "tpe") for size in _SIZES),
    ]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, then report; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    out = options.out or results_on(options.table, "claims")
    if options.step == "run":
        settings = {"table": fingerprint(options.table)}
        rows = parser.checked(rows_to_continue, out, settings)
        jobs = [
            Job(run._asdict() | {"seed": seed}, (run, seed, options.table))
            for seed in range(options.seeds)
            for run in RUNS
        ]
        facts = settings | environment("CPU", "optuna", "commit")
        run_missing(Missing(out, rows, jobs, facts, _order), row_of, options.processes)
    parser.report(out, report)


def row_of(run: Run, seed: int, table: Path) -> Row:
    """Return the result columns of one study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    problem = TableProblem(table, noise_seed=seed)
    study = optuna.create_study(sampler=_sampler(run, seed), pruner=NopPruner())
    optimize_generations(
        study,
        lambda trials: map(problem, trials),
        run.generations,
        population_size=run.population_size,
    )
    answer = best_of_final_generation(study) if run.sampler == "ga" else study.best_trial
    setting = np.array([[answer.params[name] for name in SEARCH_SPACE]])
    (losses,) = problem.losses(setting)
    seen = GUESSING if answer.value is None else min(answer.value, GUESSING)
    return {"loss": f"{min(losses[-1], GUESSING):.6g}", "seen": f"{seen:.6g}"}


def _sampler(run: Run, seed: int) -> BaseSampler:
    if run.sampler == "ga":
        return GASampler(run.population_size, mutation_prob=run.mutation_prob, seed=seed)
    return SAMPLERS[run.sampler](Search(seed, run.population_size))


def _order(row: Row) -> tuple[str, int, int, float, int]:
    return (
        row["sampler"],
        int(row["population_size"]),
        int(row["generations"]),
        float(row["mutation_prob"]),
        int(row["seed"]),
    )


def _parser() -> Options:
    parser = Options("python -m benchmarks.table.claims", __doc__)
    parser.add_step(run="runs what is missing and reports", report="only reports")
    parser.add("--seeds", "number of seeds, 0 and up", 1000, type=at_least(2))
    parser.add("--processes", "worker processes", 2, type=at_least(1))
    parser.add("--table", "npz file of the table", TABLE, type=Path)
    parser.add("--out", "file of rows (default: claims_DEVICE.csv in results)", type=Path)
    return parser


if __name__ == "__main__":
    main()

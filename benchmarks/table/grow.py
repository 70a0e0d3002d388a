"""Train the settings of an open-ended design, and add a row for each training.

The design is that of `benchmarks.table.design`: any number of settings is a table, and a larger
number adds to it. A training of setting and seed is one row, with the losses and accuracies of
the validation images after each epoch; from the epoch of divergence on they are inf and NaN. Each
process trains with one thread, which is the cheapest for this network on a CPU.

The rows are written as trainings end, so that a run that was stopped resumes, with any number of
processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import process_time

import numpy as np
import torch

from benchmarks.options import Options, at_least
from benchmarks.rows import RESULTS, Row, environment, rows_to_continue
from benchmarks.runner import Job, Missing, run_missing
from benchmarks.table.design import setting
from benchmarks.trainings import load, train_settings
from optuna_ga.fashion_mnist import SEARCH_SPACE

CPU_TRAININGS = RESULTS / "fashion_mnist_trainings_cpu.csv"
_CPU = torch.device("cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Add the trainings that are missing; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    recipe: Row = {
        "training_images": options.training_images,
        "validation_images": options.validation_images,
        "epochs": options.epochs,
    }
    parser.checked(load, "subset", _CPU, options.training_images, options.validation_images)
    rows = parser.checked(rows_to_continue, options.out, recipe)
    facts = recipe | environment("CPU", "processor", "python", "torch", "commit")
    missing = Missing(options.out, rows, list(jobs(options.settings, recipe)), facts, _order)
    run_missing(missing, train, options.processes, 60 * options.minutes)


def jobs(n_settings: int, recipe: Row) -> Iterator[Job]:
    """Yield the trainings of the first settings of the design."""
    for number in range(n_settings):
        for seed in range(setting(number).seeds):
            yield Job({"setting": number, "seed": seed}, (number, seed, *recipe.values()))


def train(number: int, seed: int, n_training: int, n_validation: int, epochs: int) -> Row:
    """Return the row of one training."""
    chosen = setting(number)
    data = load("subset", _CPU, n_training, n_validation)
    start = process_time()
    outcomes = train_settings(np.array([chosen.values]), [seed], data, epochs)
    seconds = process_time() - start
    figures = {
        f"{name}_{epoch}": float(f"{figure:.6g}")
        for name, values in outcomes._asdict().items()
        for epoch, figure in enumerate(values[0, 0], start=1)
    }
    settings = dict(zip(SEARCH_SPACE, chosen.values, strict=True))
    return {"part": chosen.part, **settings, **figures, "cpu_s": round(seconds, 2)}


def _order(row: Row) -> tuple[int, int]:
    return int(row["setting"]), int(row["seed"])


def _parser() -> Options:
    parser = Options("python -m benchmarks.table.grow", __doc__)
    parser.add("--settings", "settings of the design", 1000, type=at_least(1))
    parser.add("--training-images", "training images", 6000, type=at_least(64))
    parser.add("--validation-images", "validation images", 2000, type=at_least(64))
    parser.add("--epochs", "epochs of each training", 5, type=at_least(1))
    parser.add("--processes", "processes, each with one thread", 2, type=at_least(1))
    parser.add("--minutes", "minutes after which no training begins", float("inf"), type=float)
    parser.add("--out", "file of rows", CPU_TRAININGS, type=Path)
    return parser


if __name__ == "__main__":
    main()

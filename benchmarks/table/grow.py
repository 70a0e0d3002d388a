"""Train the settings of an open-ended design, and add a row for each training.

The design is that of `benchmarks.table.design`: any number of settings is a table, and a larger
number adds to it. A training of setting and seed is one row, with the losses and accuracies of
the validation images after each epoch; from the epoch of divergence on they are inf and NaN. Each
process trains with one thread, which is the cheapest for this network on a CPU.

The rows are written as trainings end, so that a run that was stopped resumes, with any number of
processes. The step `table` makes of the rows the npz file of `benchmarks.table.make`, which the
other commands take by `--table`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from time import process_time

import numpy as np
import torch

from benchmarks.options import Options, at_least
from benchmarks.rows import RESULTS, Row, environment, read_rows, rows_to_continue
from benchmarks.runner import Job, Missing, run_missing
from benchmarks.table.design import SEEDS, setting
from benchmarks.table.make import Recipe, Table
from benchmarks.trainings import Outcomes, load, train_settings
from optuna_ga.fashion_mnist import SEARCH_SPACE

CPU_TRAININGS = RESULTS / "fashion_mnist_trainings_cpu.csv"
_CPU = torch.device("cpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Add the trainings that are missing; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.step == "table":
        if not (rows := read_rows(options.out)):
            parser.error(f"argument --out: there are no rows in {options.out.name}")
        table_of(rows).save(options.out.with_suffix(".npz"))
        return
    recipe: Row = {
        "training_images": options.training_images,
        "validation_images": options.validation_images,
        "epochs": options.epochs,
    }
    parser.checked(load, "subset", _CPU, options.training_images, options.validation_images)
    rows = parser.checked(rows_to_continue, options.out, recipe)
    facts = recipe | environment("CPU", "device", "processor", "python", "torch", "commit")
    facts["date"] = str(date.today())
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


def table_of(rows: Sequence[Row]) -> Table:
    """Return the table of some rows; settings of which a seed is missing are left out."""
    found = {(int(row["setting"]), int(row["seed"])): row for row in rows}
    design = {number: setting(number) for number, _ in sorted(found)}
    whole = {
        number: chosen
        for number, chosen in design.items()
        if all((number, seed) in found for seed in range(chosen.seeds))
    }
    first = rows[0]
    epochs = range(1, int(first["epochs"]) + 1)
    loss, accuracy = np.full((2, len(whole), SEEDS, len(epochs)), np.nan)
    for position, (number, chosen) in enumerate(whole.items()):
        for seed in range(chosen.seeds):
            row = found[number, seed]
            loss[position, seed] = [float(row[f"loss_{epoch}"]) for epoch in epochs]
            accuracy[position, seed] = [float(row[f"accuracy_{epoch}"]) for epoch in epochs]
    n_dense = sum(chosen.seeds == SEEDS for chosen in whole.values())
    recipe = Recipe(
        data="subset",
        training_images=int(first["training_images"]),
        validation_images=int(first["validation_images"]),
        epochs=len(epochs),
        seeds=SEEDS,
        sobol=len(whole) - n_dense,
        cloud=n_dense,
        precision="float32",
        open_ended=True,
    )
    settings = np.array([chosen.values for chosen in whole.values()])
    names = ("date", "device", "processor", "python", "torch", "commit")
    parts = [dict(zip(names, part, strict=True)) for part in _parts(rows, names)]
    return Table(recipe, settings, Outcomes(loss, accuracy), parts)


def _parts(rows: Sequence[Row], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return where and when rows were made, each once, by date."""
    return sorted({tuple(row[name] for name in names) for row in rows})


def _order(row: Row) -> tuple[int, int]:
    return int(row["setting"]), int(row["seed"])


def _parser() -> Options:
    parser = Options("python -m benchmarks.table.grow", __doc__)
    parser.add_step(run="trains what is missing", table="makes the table of the rows")
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

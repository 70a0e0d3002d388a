"""Train the settings of an open-ended design, and add a row for each training.

The design is that of `benchmarks.table.design`: any number of settings is a table, and a larger
number adds to it. A training of setting and seed is one row, with the losses and accuracies of
the validation images after each epoch; from the epoch of divergence on they are inf and NaN. On a
CPU each process trains one setting after another with one thread, which is the cheapest for this
network there; a GPU trains many at once.

The rows are written as trainings end, so that a run that was stopped resumes, with any number of
processes. The step `table` makes of the rows an npz file, which the other commands take by
`--table`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path
from time import monotonic

import numpy as np

from benchmarks.options import Options, at_least
from benchmarks.rows import (
    RESULTS,
    Row,
    device_name,
    environment,
    read_rows,
    rows_to_continue,
    write_rows,
)
from benchmarks.runner import Job, Missing, left, run_missing
from benchmarks.table.design import SEEDS, setting
from benchmarks.table.table import Recipe, Table
from benchmarks.trainings import (
    PRECISIONS,
    Outcomes,
    Precision,
    default_device,
    load,
    train_settings,
)
from optuna_ga.fashion_mnist import SEARCH_SPACE

TOGETHER = 96  # Settings that a GPU trains between two writings of the file.
RECIPE = ("data", "training_images", "validation_images", "epochs", "precision")


def main(arguments: Sequence[str] | None = None) -> None:
    """Add the trainings that are missing; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    device = default_device()
    path = options.out or RESULTS / f"fashion_mnist_table_{device.type}.csv"
    if options.step == "table":
        if not (rows := parser.checked(read_rows, path)):
            parser.error(f"argument --out: there are no rows in {path.name}")
        table_of(rows).save(path.with_suffix(".npz"))
        return
    recipe: Row = {name: getattr(options, name) for name in RECIPE}
    n_images = options.training_images, options.validation_images
    parser.checked(load, options.data, device, *n_images)
    rows = parser.checked(rows_to_continue, path, recipe)
    facts = recipe | environment(
        device_name(device), "device", "processor", "python", "torch", "commit"
    )
    facts["date"] = str(date.today())
    missing = Missing(path, rows, list(jobs(options.settings, recipe)), facts, _order)
    seconds = 60 * options.minutes
    if device.type == "cuda":
        run_together(missing, seconds)
    else:
        run_missing(missing, train, options.processes, seconds)


def jobs(n_settings: int, recipe: Row) -> Iterator[Job]:
    """Yield the trainings of the first settings of the design."""
    for number in range(n_settings):
        for seed in range(setting(number).seeds):
            yield Job({"setting": number, "seed": seed}, ([number], seed, *recipe.values()))


def run_together(missing: Missing, seconds: float = math.inf) -> None:
    """Run the missing jobs in this process, many at once; write all rows after each part.

    Args:
        missing: The jobs and their file.
        seconds: No part begins later than this.
    """
    path, rows, _, facts, _ = missing
    end = monotonic() + seconds
    for _, part in groupby(sorted(left(missing), key=_part), key=_part):
        if monotonic() >= end:
            return
        together = list(part)
        numbers = [job.key["setting"] for job in together]
        found = train(numbers, *together[0].arguments[1:])
        rows += [job.key | row | facts for job, row in zip(together, found, strict=True)]
        write_rows(path, sorted(rows, key=_order))


def _part(job: Job) -> tuple[int, int]:
    """Return what the jobs that are trained together share."""
    return job.key["setting"] // TOGETHER, job.key["seed"]


def train(
    numbers: Sequence[int],
    seed: int,
    data: str,
    n_training: int,
    n_validation: int,
    epochs: int,
    precision: Precision,
) -> list[Row]:
    """Return a row for each setting, trained together; `seconds` is its share of their time."""
    chosen = [setting(number) for number in numbers]
    images = load(data, default_device(), n_training, n_validation)
    start = monotonic()
    values = np.array([each.values for each in chosen])
    outcomes = train_settings(values, [seed], images, epochs, precision)
    seconds = round((monotonic() - start) / len(numbers), 4)
    return [
        {
            "part": each.part,
            **dict(zip(SEARCH_SPACE, each.values, strict=True)),
            **{
                f"{name}_{epoch}": float(f"{figure:.6g}")
                for name, curves in outcomes._asdict().items()
                for epoch, figure in enumerate(curves[row, 0], start=1)
            },
            "seconds": seconds,
        }
        for row, each in enumerate(chosen)
    ]


def table_of(rows: Sequence[Row]) -> Table:
    """Return the table of some rows; settings of which a seed is missing are left out.

    Raises:
        ValueError: If a row has another setting than the design.
    """
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
            if tuple(float(row[name]) for name in SEARCH_SPACE) != chosen.values:
                raise ValueError(f"Setting {number} of the rows is another in today's design.")
            loss[position, seed] = [float(row[f"loss_{epoch}"]) for epoch in epochs]
            accuracy[position, seed] = [float(row[f"accuracy_{epoch}"]) for epoch in epochs]
    recipe = Recipe(
        data=first["data"],
        training_images=int(first["training_images"]),
        validation_images=int(first["validation_images"]),
        epochs=len(epochs),
        precision=first["precision"],
    )
    settings = np.array([chosen.values for chosen in whole.values()])
    used = [row for (number, _), row in found.items() if number in whole]
    names = ("date", "device", "processor", "python", "torch", "commit")
    parts = [dict(zip(names, part, strict=True)) for part in _parts(used, names)]
    return Table(recipe, settings, Outcomes(loss, accuracy), parts)


def _parts(rows: Sequence[Row], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return where and when rows were made, each once, by date."""
    return sorted({tuple(row[name] for name in names) for row in rows})


def _order(row: Row) -> tuple[int, int]:
    return int(row["setting"]), int(row["seed"])


def _parser() -> Options:
    parser = Options("python -m benchmarks.table.make", __doc__)
    parser.add_step(run="trains what is missing", table="makes the table of the rows")
    parser.add("--settings", "settings of the design", 1000, type=at_least(1))
    parser.add(
        "--data", "images, of which the first are taken", "full", choices=["subset", "full"]
    )
    parser.add("--training-images", "training images", 6000, type=at_least(64))
    parser.add("--validation-images", "validation images", 2000, type=at_least(64))
    parser.add("--epochs", "epochs of each training", 5, type=at_least(1))
    parser.add("--precision", "precision of the computations", "float32", choices=PRECISIONS)
    parser.add("--processes", "processes on a CPU, each with one thread", 2, type=at_least(1))
    parser.add("--minutes", "minutes after which no training begins", float("inf"), type=float)
    parser.add(
        "--out",
        "file of rows (default: fashion_mnist_table_DEVICE.csv in benchmarks/results)",
        type=Path,
    )
    return parser


if __name__ == "__main__":
    main()

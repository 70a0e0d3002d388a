"""Train a dense design over the paper's hyperparameters, and keep the losses of every epoch.

The design is a scrambled Sobol sequence over the search space and then, where the loss is low, a
cloud: draws from a kernel density estimate of the best tenth of the Sobol settings, over the
logarithm of the learning rate. Every setting is trained with the same training seeds. Diverged
trainings are kept.

The table is written after every batch of settings, so that a run that was stopped resumes;
`--minutes` stops it in time. It is an npz file of

- `settings` `(n, 3)`: learning rate, momentum, weight decay; the Sobol settings first;
- `loss`, `accuracy` `(n, seeds, epochs)`: of the validation images after each epoch; inf and NaN
  from the epoch on in which the training diverged; both NaN for a seed that was not trained;
- `facts`: the recipe, and where and when each part was made, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from scipy import stats
from scipy.stats import qmc
from tqdm import tqdm

from benchmarks.options import Options, at_least
from benchmarks.rows import RESULTS, device_name, environment, replacing
from benchmarks.trainings import (
    PRECISIONS,
    Outcomes,
    Precision,
    default_device,
    load,
    train_settings,
)
from optuna_ga.fashion_mnist import SEARCH_SPACE, Data

BATCH = 16  # Settings between two writings of the file.
BEST = 0.1  # Share of the Sobol settings around which the cloud lies.
LOW, HIGH = np.array([(d.low, d.high) for d in SEARCH_SPACE.values()]).T


@dataclass(frozen=True)
class Recipe:
    """The settings that decide a table's figures, but for rounding.

    Attributes:
        data: "subset" or "full".
        training_images: How many of them are trained on; None for all.
        validation_images: How many are evaluated on; None for all.
        epochs: Epochs of each training.
        seeds: Number of training seeds, 0 and up.
        sobol: Settings of the Sobol sequence.
        cloud: Settings of the cloud.
        precision: Precision of the computations.
        open_ended: Whether the design is that of `benchmarks.table.design`, whose settings are
            `sobol` over the whole space, with one seed each, and `cloud` where losses are low.
    """

    data: str
    training_images: int | None
    validation_images: int | None
    epochs: int
    seeds: int
    sobol: int
    cloud: int
    precision: Precision
    open_ended: bool = False


@dataclass
class Table:
    """A table, of whose settings the first have been trained; shapes as in the file."""

    recipe: Recipe
    settings: np.ndarray
    outcomes: Outcomes
    parts: list[dict[str, Any]]

    @property
    def trained(self) -> np.ndarray:
        """The settings that have been trained `(n_trained, 3)`."""
        return self.settings[: len(self.outcomes.loss)]

    def save(self, path: Path) -> None:
        """Replace the file."""
        facts = json.dumps({"recipe": asdict(self.recipe), "parts": self.parts})
        with replacing(path, "wb") as file:
            np.savez_compressed(
                file,
                settings=self.settings,
                loss=self.outcomes.loss.astype(np.float32),
                accuracy=self.outcomes.accuracy.astype(np.float32),
                facts=facts,
            )


def read_table(path: Path) -> Table:
    """Return the table of a file, even if it is not complete."""
    with np.load(path) as file:
        facts = json.loads(str(file["facts"]))
        outcomes = Outcomes(file["loss"].astype(float), file["accuracy"].astype(float))
        return Table(Recipe(**facts["recipe"]), file["settings"], outcomes, facts["parts"])


def sobol(n: int) -> np.ndarray:
    """Return the first n settings `(n, 3)` of a scrambled Sobol sequence."""
    return np.asarray(qmc.scale(qmc.Sobol(len(LOW), rng=0).random(n), LOW, HIGH))


def cloud(settings: np.ndarray, losses: np.ndarray, n: int) -> np.ndarray:
    """Return n settings `(n, 3)` around the settings with the lowest losses `(n_settings,)`."""
    best = settings[np.argsort(losses, kind="stable")[: max(8, int(BEST * len(settings)))]]
    rate, *others = best.T
    rate, *others = stats.gaussian_kde([np.log(rate), *others]).resample(n, seed=0)
    return np.asarray(np.clip(np.column_stack([np.exp(rate), *others]), LOW, HIGH))


def main(arguments: Sequence[str] | None = None) -> None:
    """Make a table, or resume one; see `--help`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    names = [name for name in Recipe.__dataclass_fields__ if name != "open_ended"]
    recipe = Recipe(**{name: getattr(options, name) for name in names})
    device = default_device()
    out = options.out or RESULTS / f"fashion_mnist_table_{device.type}.npz"
    empty = Outcomes(*np.empty((2, 0, recipe.seeds, recipe.epochs)))
    table = read_table(out) if out.exists() else Table(recipe, sobol(recipe.sobol), empty, [])
    if table.recipe != recipe:
        parser.error(f"argument --out: {str(out)!r} has another recipe: {table.recipe}")
    data = parser.checked(
        load, recipe.data, device, recipe.training_images, recipe.validation_images
    )
    first = len(table.trained)
    table.parts.append(
        {"first": first, "date": str(date.today()), **environment(device_name(device))}
    )
    end = monotonic() + 60 * options.minutes
    n = recipe.sobol + recipe.cloud
    with tqdm(total=n, initial=first, unit="setting", disable=None) as progress:
        while len(table.trained) < n:
            _train_batch(table, data)
            table.save(out)
            progress.update(len(table.trained) - progress.n)
            if monotonic() >= end:
                break


def _train_batch(table: Table, data: Data) -> None:
    """Train the next settings of a table; after the last of the Sobol settings add the cloud."""
    recipe, start = table.recipe, len(table.trained)
    if start == len(table.settings):
        around = cloud(table.settings, table.outcomes.loss[:, :, -1].mean(axis=1), recipe.cloud)
        table.settings = np.vstack([table.settings, around])
    batch = table.settings[start : start + BATCH]
    seeds = range(recipe.seeds)
    ended = train_settings(batch, seeds, data, recipe.epochs, recipe.precision)
    table.outcomes = Outcomes(*map(np.concatenate, zip(table.outcomes, ended, strict=True)))


def _parser() -> Options:
    parser = Options("python -m benchmarks.table.make", __doc__)
    parser.add("--data", "images", "subset", choices=["subset", "full"])
    parser.add("--training-images", "training images (default: all)", type=at_least(64))
    parser.add("--validation-images", "validation images (default: all)", type=at_least(64))
    parser.add("--epochs", "epochs of each training", 3, type=at_least(1))
    parser.add("--seeds", "training seeds", 2, type=at_least(1))
    parser.add("--sobol", "settings of the Sobol sequence", 256, type=at_least(16))
    parser.add("--cloud", "settings of the cloud", 128, type=at_least(0))
    parser.add("--precision", "precision of the computations", "float32", choices=PRECISIONS)
    parser.add("--minutes", "minutes after which no batch begins", float("inf"), type=float)
    parser.add(
        "--out", "file (default: fashion_mnist_table_DEVICE.npz in benchmarks/results)", type=Path
    )
    return parser


if __name__ == "__main__":
    main()

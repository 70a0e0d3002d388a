"""A table of trainings, kept as an npz file.

Its arrays are

- `settings` `(n, 3)`: learning rate, momentum, weight decay;
- `loss`, `accuracy` `(n, seeds, epochs)`: of the validation images after each epoch; inf and NaN
  from the epoch on in which the training diverged; both NaN for a seed that was not trained;
- `facts`: the recipe, and where and when its trainings ran, as JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import RESULTS, replacing
from benchmarks.trainings import Outcomes, Precision

TABLE = RESULTS / "fashion_mnist_table_cuda.npz"  # The committed table.


@dataclass(frozen=True)
class Recipe:
    """The settings that decide a table's figures, but for rounding.

    Attributes:
        data: "subset" or "full".
        training_images: How many of them are trained on, the first.
        validation_images: How many are evaluated on, the first.
        epochs: Epochs of each training.
        precision: Precision of the computations.
    """

    data: str
    training_images: int
    validation_images: int
    epochs: int
    precision: Precision


@dataclass
class Table:
    """A table; shapes as in the file."""

    recipe: Recipe
    settings: np.ndarray
    outcomes: Outcomes
    parts: list[dict[str, Any]]

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
    """Return the table of a file."""
    with np.load(path) as file:
        facts = json.loads(str(file["facts"]))
        outcomes = Outcomes(file["loss"].astype(float), file["accuracy"].astype(float))
        return Table(Recipe(**facts["recipe"]), file["settings"], outcomes, facts["parts"])

"""Write the subset that ships with the package: `python -m tools.fashion_mnist_subset`.

The subset has 600 training and 200 validation images of each class: the first of each class in
the full data's training and validation images, so the two parts do not overlap. Classes alternate,
so every prefix is stratified too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from optuna_ga.fashion_mnist import _data
from optuna_ga.fashion_mnist._data import Images, read_full, split

N_CLASSES = 10
TRAINING_PER_CLASS, VALIDATION_PER_CLASS = 600, 200


def draw_subset(official: Images) -> dict[str, np.ndarray]:
    """Return the subset of the 60,000 official training images, as arrays by name.

    Images are `(N, 28, 28)` uint8, labels `(N,)` uint8; N is 6,000 or 2,000.
    """
    training, validation = split(official)
    arrays = {}
    for name, part, per_class in (
        ("training", training, TRAINING_PER_CLASS),
        ("validation", validation, VALIDATION_PER_CLASS),
    ):
        chosen = part.take(_stratified(part.labels, per_class))
        arrays[f"{name}_images"] = chosen.pixels.squeeze(1).numpy()
        arrays[f"{name}_labels"] = chosen.labels.to(torch.uint8).numpy()
    return arrays


def _stratified(labels: torch.Tensor, per_class: int) -> torch.Tensor:
    """Return the positions of the first images of each class, with alternating classes."""
    positions = [torch.nonzero(labels == c).flatten()[:per_class] for c in range(N_CLASSES)]
    return torch.stack(positions, dim=1).flatten()  # (per_class * N_CLASSES,)


if __name__ == "__main__":
    path = Path(_data.__file__).with_name("subset.npz")
    np.savez_compressed(path, **draw_subset(read_full(None)[0]))  # type: ignore[arg-type]

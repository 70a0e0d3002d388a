"""Properties of an image set that its network, normalization and worst loss follow from.

Shapes: N images, C channels, H rows and W columns of pixels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from optuna_ga._checks import shown
from optuna_ga.fashion_mnist._data import MEAN, STANDARD_DEVIATION, Data, Images, normalize


class DatasetInfo(NamedTuple):
    """Properties of an image set; the defaults are FashionMNIST's.

    Attributes:
        image_shape: C, H and W.
        n_classes: Number of classes, at least 2.
        mean: Mean of all pixels, which lie in [0, 1].
        deviation: Their standard deviation, above 0.
    """

    image_shape: tuple[int, int, int] = (1, 28, 28)
    n_classes: int = 10
    mean: float = MEAN
    deviation: float = STANDARD_DEVIATION

    @property
    def diverged_loss(self) -> float:
        """Twice the loss of guessing among the classes, in nats."""
        return 2 * math.log(self.n_classes)

    def normalize(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        """Return uint8 pixels scaled to mean 0 and deviation 1 over the training images."""
        return normalize(pixels, dtype, self.mean, self.deviation)


FASHION_MNIST = DatasetInfo()


def dataset_info(data: Data) -> DatasetInfo:
    """Check an image set and return its properties, which follow from all its training images.

    The number of classes is the largest training label plus one.

    Raises:
        TypeError: If a part is not an `Images` of two tensors.
        ValueError: If pixels are not `(N, C, H, W)` uint8 or labels not `(N,)` int64; if the parts
            differ in C, H or W; if there are fewer than two classes or a label is out of range; or
            if all training pixels are equal.
    """
    for name, part in data._asdict().items():
        if part is not None or name != "test":
            _check_images(f"data.{name}", part)
    shape = tuple(data.training.pixels.shape[1:])
    n_classes = int(data.training.labels.max()) + 1
    if n_classes < 2:
        raise ValueError(
            "`data.training.labels` must have at least two classes, numbered from 0, but all "
            "are 0."
        )
    for name, part in data._asdict().items():
        if part is None:
            continue
        if tuple(part.pixels.shape[1:]) != shape:
            raise ValueError(
                f"`data.{name}.pixels` must have images of shape {shape}, that of the training "
                f"images, but {tuple(part.pixels.shape[1:])} was given."
            )
        if int(part.labels.max()) >= n_classes:
            raise ValueError(
                f"`data.{name}.labels` must be below {n_classes}, the number of classes of the "
                f"training images, but {int(part.labels.max())} was given."
            )
    n_channels, height, width = shape
    return DatasetInfo(
        (n_channels, height, width), n_classes, *_mean_and_deviation(data.training.pixels)
    )


def _check_images(name: str, images: object) -> None:
    if not isinstance(images, Images) or not all(isinstance(each, Tensor) for each in images):
        raise TypeError(
            f"`{name}` must be `Images` of two tensors, but {shown(images)} was given."
        )
    for part, tensor, n_dimensions, dtype, rule in (
        ("pixels", images.pixels, 4, torch.uint8, "(N, C, H, W) uint8"),
        ("labels", images.labels, 1, torch.int64, "(N,) int64"),
    ):
        if tensor.dim() != n_dimensions or tensor.dtype != dtype or not tensor.numel():
            raise ValueError(
                f"`{name}.{part}` must be {rule} and not empty, but {tuple(tensor.shape)} "
                f"{str(tensor.dtype).removeprefix('torch.')} was given."
            )
    n_pixels, n_labels = len(images.pixels), len(images.labels)
    if n_pixels != n_labels:
        raise ValueError(
            f"`{name}` must have a label for each image, but {n_labels} labels for {n_pixels} "
            "images were given."
        )
    if int(images.labels.min()) < 0:
        raise ValueError(
            f"`{name}.labels` must be at least 0, but {int(images.labels.min())} was given."
        )


def _mean_and_deviation(pixels: Tensor) -> tuple[float, float]:
    """Return mean and deviation of pixels in [0, 1], from exact counts of the 256 values."""
    counts = torch.bincount(pixels.flatten().cpu(), minlength=256).tolist()
    n = sum(counts)
    mean = sum(value * count for value, count in enumerate(counts)) / n
    variance = sum((value - mean) ** 2 * count for value, count in enumerate(counts)) / n
    if variance == 0:
        raise ValueError(
            f"`data.training.pixels` must not all be equal, but all are {round(mean)}."
        )
    return mean / 255, math.sqrt(variance) / 255

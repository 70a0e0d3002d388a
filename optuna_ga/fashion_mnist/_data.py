"""FashionMNIST as tensors: the full data set, or the subset that ships with the package.

A fixed permutation splits the 60,000 official training images into 50,000 for training and 10,000
for validation. The 10,000 official test images stay the test set.

Shapes: N is the number of images.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import zlib
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST

# Of the pixels of the 60,000 official training images, in [0, 1], to four digits.
MEAN, STANDARD_DEVIATION = 0.2860, 0.3530
N_TRAINING = 50_000
FOLDER_VARIABLE = "FASHION_MNIST_DIR"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

_FILES = [
    f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
]
_SPLIT_SEED = 0


class Images(NamedTuple):
    """Images and their classes.

    Attributes:
        pixels: `(N, 1, 28, 28)` uint8 in 0 to 255; see `normalize`.
        labels: `(N,)` int64 in 0 to 9.
    """

    pixels: Tensor
    labels: Tensor

    def take(self, index: Tensor | slice) -> Images:
        """Return the images at the given positions."""
        return Images(self.pixels[index], self.labels[index])

    def to(self, device: torch.device) -> Images:
        """Return the images on the given device."""
        return Images(self.pixels.to(device), self.labels.to(device))


class Data(NamedTuple):
    """A data set for tuning.

    Attributes:
        training: Images to train on.
        validation: Images whose loss is the fitness.
        test: Images for the final answer of a search; None if the data set has none.
    """

    training: Images
    validation: Images
    test: Images | None


def normalize(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Return pixels scaled to mean 0 and deviation 1 over the official training images."""
    return pixels.to(dtype).div_(255).sub_(MEAN).div_(STANDARD_DEVIATION)


@lru_cache(maxsize=4)
def load_full(folder: Path | None, device: torch.device) -> Data:
    """Return all of FashionMNIST on a device: 50,000 / 10,000 / 10,000 images.

    The result is cached, so each process loads the data once per folder and device.

    Args:
        folder: Folder to look in first, and to download to; see `read_full`.
        device: Device of the tensors.

    Raises:
        FileNotFoundError: If the files are not found and cannot be downloaded.
        ValueError: If the files are damaged.
    """
    official, test = read_full(folder)
    return Data(*(part.to(device) for part in (*split(official), test)))


@lru_cache(maxsize=4)
def load_subset(device: torch.device) -> Data:
    """Return the shipped subset on a device: 6,000 / 2,000 images, no test images; cached."""
    with (
        resources.as_file(resources.files(__package__) / "subset.npz") as path,
        np.load(path) as arrays,
    ):
        training, validation = (
            Images(
                torch.from_numpy(arrays[f"{part}_images"]).unsqueeze(1),
                torch.from_numpy(arrays[f"{part}_labels"]).long(),
            ).to(device)
            for part in ("training", "validation")
        )
    return Data(training, validation, None)


def split(official: Images) -> tuple[Images, Images]:
    """Return the 50,000 training and the 10,000 validation images of the official 60,000."""
    # NumPy guarantees RandomState's stream for ever; newer generators may change theirs.
    permutation = np.random.RandomState(_SPLIT_SEED).permutation(len(official.labels))
    order = torch.from_numpy(permutation)
    return official.take(order[:N_TRAINING]), official.take(order[N_TRAINING:])


def read_full(folder: Path | None) -> tuple[Images, Images]:
    """Return the 60,000 official training images and the 10,000 official test images.

    The four idx files, gzipped or not, are searched for in `folder`, in the folder named by the
    environment variable FASHION_MNIST_DIR, in that of Debian's package dataset-fashion-mnist, and
    in the folder of earlier downloads. If they are in none of these, torchvision downloads them
    to `folder`, else to the variable's folder, else to ~/.cache/optuna_ga.

    Raises:
        FileNotFoundError: If the files are not found and cannot be downloaded.
        ValueError: If the files are damaged.
    """
    variable = os.environ.get(FOLDER_VARIABLE)
    own = [path for path in (folder, Path(variable) if variable else None) if path is not None]
    download_folder = own[0] if own else Path.home() / ".cache" / "optuna_ga"
    for candidate in [*own, DEBIAN_FOLDER, download_folder]:
        for idx_folder in (candidate, candidate / "FashionMNIST" / "raw"):
            if all(_find(idx_folder, name) for name in _FILES):
                return _read(idx_folder)
    _download(download_folder, tried=[*own, DEBIAN_FOLDER])
    return _read(download_folder / "FashionMNIST" / "raw")


def _find(folder: Path, name: str) -> Path | None:
    """Return the path of an idx file in a folder, gzipped or not; None if there is none."""
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def _read(folder: Path) -> tuple[Images, Images]:
    # torchvision reads unpacked files from its own layout of folders only.
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root) / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        try:
            for name in _FILES:
                _unpack(_find(folder, name), raw / name)
            parts = [FashionMNIST(root, train=train) for train in (True, False)]
        except (AssertionError, EOFError, OSError, RuntimeError, ValueError, zlib.error) as error:
            raise ValueError(f"The FashionMNIST files in {folder} are damaged: {error}") from error
    for part, n in zip(parts, (60_000, 10_000), strict=True):
        if part.data.shape != (n, 28, 28) or part.targets.shape != (n,):
            raise ValueError(
                f"The FashionMNIST files in {folder} are damaged: {n} images of 28 x 28 were "
                f"expected, but the shape is {tuple(part.data.shape)}."
            )
    training, test = (Images(part.data.unsqueeze(1), part.targets) for part in parts)
    return training, test


def _unpack(source: Path | None, target: Path) -> None:
    assert source is not None
    if source.suffix != ".gz":
        shutil.copyfile(source, target)
        return
    with gzip.open(source) as packed, target.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)


def _download(folder: Path, tried: list[Path]) -> None:
    try:
        FashionMNIST(str(folder), download=True)
    except (OSError, RuntimeError) as error:
        places = ", ".join(str(path) for path in tried)
        raise FileNotFoundError(
            f"FashionMNIST was not found in {places}, and downloading it to {folder} failed: "
            f"{error}\nEither put its four idx files (.gz or unpacked) into a folder and set the "
            f"environment variable {FOLDER_VARIABLE} to it, or install Debian's package "
            'dataset-fashion-mnist, or use the subset that needs no download (data="subset").'
        ) from error

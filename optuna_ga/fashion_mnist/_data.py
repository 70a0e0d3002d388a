"""FashionMNIST as tensors: the full data set, or the subset that ships with the package.

A fixed permutation splits the 60,000 official training images into 50,000 for training and 10,000
for validation. The 10,000 official test images stay the test set.

Shapes: N images.
"""

import gzip
import hashlib
import os
import zlib
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# Of the pixels of the 60,000 official training images, in [0, 1], to four digits.
MEAN, STANDARD_DEVIATION = 0.2860, 0.3530
N_TRAINING = 50_000
FOLDER_VARIABLE = "FASHION_MNIST_DIR"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

# SHA-256 of each unpacked file. MNIST and others have files of the same names and sizes.
_DIGESTS = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
_SPLIT_SEED = 0


class Images(NamedTuple):
    """Images and their classes.

    Attributes:
        pixels: `(N, 1, 28, 28)` uint8 in 0 to 255; see `normalize`.
        labels: `(N,)` int64 in 0 to 9.
    """

    pixels: Tensor
    labels: Tensor

    def take(self, index: Tensor | slice) -> "Images":
        """Return the images at the given positions."""
        return Images(self.pixels[index], self.labels[index])

    def to(self, device: torch.device) -> "Images":
        """Return the images on the given device."""
        return Images(self.pixels.to(device), self.labels.to(device))


class Data(NamedTuple):
    """FashionMNIST, or a part of it.

    Attributes:
        training: Images to train on.
        validation: Images whose loss is the fitness.
        test: Images for the final answer of a search; None in the subset.
    """

    training: Images
    validation: Images
    test: Images | None


def normalize(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """Return uint8 pixels scaled to mean 0 and deviation 1 over the official training images.

    Args:
        pixels: The pixels, of any shape.
        dtype: Type of the result.
    """
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
    to `folder`, else to the variable's folder, else to ~/.cache/optuna_ga. A `~` at the beginning
    of a folder is the home directory.

    Raises:
        FileNotFoundError: If the files are not found and cannot be downloaded.
        ValueError: If a file is damaged, or is that of another data set.
    """
    named = [folder, os.environ.get(FOLDER_VARIABLE)]
    own = [Path(path).expanduser() for path in named if path]
    download_folder = own[0] if own else _cache_folder()
    searched = [*own, DEBIAN_FOLDER, *([download_folder] if download_folder else [])]
    for candidate in searched:
        for idx_folder in (candidate, candidate / "FashionMNIST" / "raw"):
            if all(_find(idx_folder, name) for name in _DIGESTS):
                return _read(idx_folder)
    if download_folder is None:
        raise _not_found(searched, "there is no home directory to download it to")
    _download(download_folder, [*own, DEBIAN_FOLDER])
    return _read(download_folder / "FashionMNIST" / "raw")


def _cache_folder() -> Path | None:
    try:
        return Path.home() / ".cache" / "optuna_ga"
    except RuntimeError:  # Containers may have no home directory.
        return None


def _find(folder: Path, name: str) -> Path | None:
    """Return the path of an idx file in a folder, gzipped or not; None if there is none."""
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def _read(folder: Path) -> tuple[Images, Images]:
    """Return the 60,000 and the 10,000 images of a folder with all four files."""

    def values(name: str, header: int) -> Tensor:
        return torch.frombuffer(_content(folder, name), dtype=torch.uint8, offset=header)

    training, test = (
        Images(
            values(f"{part}-images-idx3-ubyte", 16).view(-1, 1, 28, 28),
            values(f"{part}-labels-idx1-ubyte", 8).long(),
        )
        for part in ("train", "t10k")
    )
    return training, test


def _content(folder: Path, name: str) -> bytearray:
    """Return the content of an unpacked idx file.

    Raises:
        ValueError: If the file is damaged, or is that of another data set.
    """
    path = _find(folder, name)
    assert path is not None
    try:
        content = (gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged, perhaps by a download that was interrupted: {error}. Delete the "
            "file, so that it is downloaded again, or replace it."
        ) from error
    if hashlib.sha256(content).hexdigest() != _DIGESTS[name]:
        raise ValueError(
            f"{path} is not the file of FashionMNIST: it is damaged, or that of another data set, "
            "whose files have the same names. Delete or replace it."
        )
    return bytearray(content)


def _download(folder: Path, tried: list[Path]) -> None:
    from torchvision.datasets import FashionMNIST  # Slow to import, and rarely needed.

    try:
        FashionMNIST(str(folder), download=True)
    except (OSError, RuntimeError) as error:
        raise _not_found(tried, f"downloading it to {folder} failed: {error}") from error


def _not_found(searched: list[Path], why: str) -> FileNotFoundError:
    places = ", ".join(str(path) for path in searched)
    return FileNotFoundError(
        f"FashionMNIST was not found in {places}, and {why}\nEither put its four idx files (.gz "
        f"or unpacked) into a folder and set the environment variable {FOLDER_VARIABLE} to it, or "
        "install Debian's package dataset-fashion-mnist, or use the subset that needs no download "
        '(data="subset").'
    )

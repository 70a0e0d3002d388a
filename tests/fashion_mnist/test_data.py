"""FashionMNIST is found where it should be, split without overlap, and refused when damaged."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.datasets import FashionMNIST

from optuna_ga.fashion_mnist import _data
from tools.fashion_mnist_subset import draw_subset

CPU = torch.device("cpu")
SIZES = {"train": 60_000, "t10k": 10_000}


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, *arguments: object) -> None:
        """Write nothing."""


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without the data and without a network."""
    monkeypatch.delenv(_data.FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(_data, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])


@pytest.fixture
def any_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of black images pass for FashionMNIST's."""
    monkeypatch.setattr(_data, "_DIGESTS", dict.fromkeys(_data._DIGESTS, ANY))


@pytest.fixture
def official() -> _data.Images:
    """The real 60,000 training images."""
    return real_images()[0]


def real_images() -> tuple[_data.Images, _data.Images]:
    """Return the real images, or skip; where CI is set, fail instead of skipping."""
    folder = Path(os.environ.get(_data.FOLDER_VARIABLE) or _data.DEBIAN_FOLDER)
    if not folder.is_dir() and "CI" not in os.environ:
        pytest.skip("all 60,000 images are needed: install Debian's dataset-fashion-mnist")
    return _data.read_full(folder)


def write_idx_files(folder: Path, label: int, packed: bool = False) -> Path:
    """Write four idx files of the right sizes with black images of one class."""
    folder.mkdir(parents=True)
    opened = partial(gzip.open, compresslevel=1) if packed else open
    for part, n in SIZES.items():
        for kind, head, body in (
            ("images-idx3", struct.pack(">IIII", 0x803, n, 28, 28), bytes(n * 28 * 28)),
            ("labels-idx1", struct.pack(">II", 0x801, n), bytes([label]) * n),
        ):
            path = folder / f"{part}-{kind}-ubyte{'.gz' if packed else ''}"
            with opened(path, "wb") as file:
                file.write(head + body)
    return folder


def label_of(folder: Path | None) -> int:
    """Return the one class of the images that are found."""
    training, test = _data.read_full(folder)
    assert len(training.labels) == 60_000 and len(test.labels) == 10_000
    return int(training.labels.unique().item())


def fingerprints(pixels: Tensor) -> list[bytes]:
    """Return a hash of each image."""
    return [hashlib.blake2b(image.tobytes()).digest() for image in pixels.numpy()]


def test_the_given_folder_comes_before_the_named_one_and_debian(
    no_data: None, any_content: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders are tried in the order of the documentation."""
    given = write_idx_files(tmp_path / "given", 1)
    monkeypatch.setenv(_data.FOLDER_VARIABLE, str(write_idx_files(tmp_path / "named", 2)))
    write_idx_files(tmp_path / "debian", 3, packed=True)

    assert label_of(given) == 1
    assert label_of(tmp_path / "empty") == 2
    assert label_of(None) == 2
    monkeypatch.delenv(_data.FOLDER_VARIABLE)
    assert label_of(None) == 3


def test_a_folder_of_torchvision_is_read(no_data: None, any_content: None, tmp_path: Path) -> None:
    """The files may lie where torchvision puts them."""
    write_idx_files(tmp_path / "root" / "FashionMNIST" / "raw", 4)

    assert label_of(tmp_path / "root") == 4


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server on this machine from which torchvision downloads black images of class 5."""
    served = write_idx_files(tmp_path / "served", 5, packed=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(served)))
    resources = [
        (path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in served.iterdir()
    ]
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield
    server.shutdown()
    server.server_close()
    thread.join()


def test_missing_files_are_downloaded_once(
    no_data: None,
    any_content: None,
    mirror: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Torchvision downloads into the given folder, where the files are found the next time."""
    assert label_of(tmp_path / "given") == 5
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    assert label_of(tmp_path / "given") == 5


def test_no_data_anywhere_says_what_to_do(no_data: None, tmp_path: Path) -> None:
    """The error names the places tried and every remedy."""
    with pytest.raises(FileNotFoundError) as caught:
        _data.read_full(tmp_path / "given")

    for words in (str(tmp_path / "given"), "debian", "FASHION_MNIST_DIR", "dataset-fashion-mnist"):
        assert words in str(caught.value)


def test_a_truncated_file_is_named_with_its_remedy(no_data: None, tmp_path: Path) -> None:
    """A packed file that ends early is damage, not absence."""
    folder = write_idx_files(tmp_path / "given", 1, packed=True)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(ValueError, match=f"{path} is damaged.*Delete the file"):
        _data.read_full(folder)


@pytest.mark.parametrize("packed", [False, True])
def test_files_of_another_data_set_are_refused(
    no_data: None, tmp_path: Path, packed: bool
) -> None:
    """MNIST's files have the same names and sizes: the content decides."""
    folder = write_idx_files(tmp_path / "given", 1, packed)

    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\S* is not the file"):
        _data.read_full(folder)


def test_a_tilde_is_the_home_directory(
    no_data: None, any_content: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the given folder and in the variable."""
    write_idx_files(tmp_path / "home" / "given", 1)
    write_idx_files(tmp_path / "home" / "named", 2)
    monkeypatch.setenv(_data.FOLDER_VARIABLE, "~/named")

    assert label_of(Path("~/given")) == 1
    assert label_of(None) == 2


def test_without_a_home_directory_the_other_places_are_searched(
    no_data: None, any_content: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And if the data are in none of them, the error says why nothing was downloaded."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(FileNotFoundError, match="no home directory"):
        _data.read_full(None)
    write_idx_files(tmp_path / "debian", 3)

    assert label_of(None) == 3


def test_the_split_holds_every_official_image_once(official: _data.Images) -> None:
    """Training and validation parts together are the 60,000 images, in another order."""
    training, validation = _data.split(official)

    assert (len(training.labels), len(validation.labels)) == (50_000, 10_000)
    parts = fingerprints(torch.cat([training.pixels, validation.pixels]))
    assert sorted(parts) == sorted(fingerprints(official.pixels))


def test_normalization_is_fashion_mnists_own(official: _data.Images) -> None:
    """Mean and deviation are those of the 60,000 training images, to four digits."""
    pixels = official.pixels.double() / 255

    assert round(pixels.mean().item(), 4) == _data.MEAN
    assert round(pixels.std().item(), 4) == _data.STANDARD_DEVIATION


def test_the_shipped_subset_is_the_one_that_its_script_draws(official: _data.Images) -> None:
    """Redrawing from the real training set gives the shipped arrays bit for bit."""
    shipped = np.load(Path(_data.__file__).with_name("subset.npz"))
    drawn = draw_subset(official)

    assert set(shipped) == set(drawn)
    for name, array in drawn.items():
        assert array.dtype == shipped[name].dtype == np.uint8
        np.testing.assert_array_equal(shipped[name], array)


def test_the_subset_does_not_cross_the_split(official: _data.Images) -> None:
    """Its training images are among the full training images, its validation images are not."""
    shipped = np.load(Path(_data.__file__).with_name("subset.npz"))
    training, validation = (set(fingerprints(part.pixels)) for part in _data.split(official))

    assert training.issuperset(fingerprints(torch.from_numpy(shipped["training_images"])))
    assert validation.issuperset(fingerprints(torch.from_numpy(shipped["validation_images"])))


@pytest.mark.parametrize("n", [10, 3000, 6000])
def test_every_prefix_of_the_subset_is_stratified(n: int) -> None:
    """Training on fewer images keeps the classes equally frequent."""
    labels = _data.load_subset(CPU).training.labels[:n]

    assert torch.equal(labels.bincount(), torch.full((10,), n // 10))


def test_the_subset_is_small_and_representative() -> None:
    """It has 6,000 and 2,000 images, the whole set's moments, and 4 MB at most."""
    data = _data.load_subset(CPU)

    assert data.training.pixels.shape == (6000, 1, 28, 28)
    assert data.validation.pixels.shape == (2000, 1, 28, 28)
    assert data.test is None
    pixels = _data.normalize(data.training.pixels, torch.float32)
    assert abs(pixels.mean().item()) < 0.02
    assert abs(pixels.std().item() - 1) < 0.02
    assert Path(_data.__file__).with_name("subset.npz").stat().st_size <= 4_000_000


def test_data_are_loaded_once_per_process() -> None:
    """A second call returns the same tensors."""
    assert _data.load_subset(CPU).training.pixels is _data.load_subset(CPU).training.pixels

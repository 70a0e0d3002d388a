"""The images of an objective, limited in their numbers."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import torch

from optuna_ga._checks import check_choice, check_int, shown
from optuna_ga.fashion_mnist._data import Data, Images, load_full, load_subset
from optuna_ga.torch._environment import usual_settings


class ImageSource:
    """Gives the images on a device, limited to the requested numbers.

    A pickle holds no images; they are loaded once per process.

    Args:
        data: "full" or "subset".
        folder: Folder to look in first for the full data.
        n_training: Number of training images; None for all.
        n_validation: Number of validation images; None for all.
        device: Where the images are kept.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of range, or if the data are damaged.
        FileNotFoundError: If the full data are not found and cannot be downloaded.
    """

    def __init__(
        self,
        data: str,
        folder: str | Path | None,
        n_training: int | None,
        n_validation: int | None,
        device: torch.device,
    ) -> None:
        self._device = device
        self._n_images = {"training": n_training, "validation": n_validation}
        for part, n in self._n_images.items():
            if n is not None:
                self._n_images[part] = check_int(f"n_{part}_images", n, minimum=1)
        if not isinstance(folder, str | PathLike | None):
            raise TypeError(f"`folder` must be a path or None, but {shown(folder)} was given.")
        self._folder = None if folder is None else Path(folder)
        self._name = check_choice("data", data, ("full", "subset"))
        self._check_n_images()

    def data(self) -> Data:
        """Return the images, limited to the requested numbers."""
        data = self._all()
        return data._replace(
            training=data.training.take(slice(self._n_images["training"])),
            validation=data.validation.take(slice(self._n_images["validation"])),
        )

    def test_images(self) -> Images:
        """Return the test images.

        Raises:
            ValueError: If there are none.
        """
        test = self._all().test
        if test is None:
            raise ValueError('`data` must be "full" for a test score, but "subset" was given.')
        return test

    def _check_n_images(self) -> None:
        """Check the numbers of images against the data, which are loaded for it."""
        data = self._all()._asdict()
        for part, n in self._n_images.items():
            n_available = len(data[part].labels)
            if n is not None and n > n_available:
                raise ValueError(
                    f"`n_{part}_images` must be at most {n_available}, the number of {part} "
                    f'images in "{self._name}", but {shown(n)} was given.'
                )

    def _all(self) -> Data:
        """Return all images."""
        with usual_settings(self._device):
            if self._name == "full":
                return load_full(self._folder, self._device)
            return load_subset(self._device)

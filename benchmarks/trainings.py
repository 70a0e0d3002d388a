"""Train many settings of the paper's hyperparameters, each with several training seeds."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch

from optuna_ga.fashion_mnist._data import Data, load_full, load_subset
from optuna_ga.fashion_mnist._stacked import StackedTrainer
from optuna_ga.fashion_mnist._trainers import Epochs, Member, ThreadsTrainer, Trainer
from optuna_ga.fashion_mnist._training import Precision

GUESSING = math.log(10)  # Cross-entropy of ten equally likely classes.


def accuracy_or_guessing(text: str) -> float:
    """Return an accuracy from a row; that of guessing for what diverged, whose is NaN."""
    accuracy = float(text)
    return 0.1 if math.isnan(accuracy) else accuracy


class Outcomes(NamedTuple):
    """What trainings gave after each epoch, from the one in which they diverged inf and NaN.

    Attributes:
        loss: Validation losses `(n_settings, n_seeds, n_epochs)`.
        accuracy: Validation accuracies of the same shape, in [0, 1].
    """

    loss: np.ndarray
    accuracy: np.ndarray


def default_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load(
    name: str,
    device: torch.device,
    n_training: int | None = None,
    n_validation: int | None = None,
) -> Data:
    """Return the "subset" or the "full" data, or the first so many images of them.

    Raises:
        ValueError: If there are fewer images.
    """
    data = load_full(None, device) if name == "full" else load_subset(device)
    for part, n in (("training", n_training), ("validation", n_validation)):
        n_available = len(getattr(data, part).labels)
        if n is not None and n > n_available:
            raise ValueError(f"there are {n_available} {part} images, but {n} were asked for")
    return data._replace(
        training=data.training.take(slice(n_training)),
        validation=data.validation.take(slice(n_validation)),
    )


def train_settings(
    settings: np.ndarray,
    seeds: Sequence[int],
    data: Data,
    epochs: int,
    device: torch.device,
    precision: Precision = "float32",
) -> Outcomes:
    """Train every setting with every seed, all together.

    Args:
        settings: Learning rates, momenta and weight decays `(n_settings, 3)`.
        seeds: Seeds of initial weights and batches.
        data: The images to train and to evaluate on.
        epochs: Epochs of each training, at least 1.
        device: Where to train.
        precision: What to compute with.
    """
    members = [
        Member(rate, momentum, decay, seed)
        for seed in seeds
        for rate, momentum, decay in settings.tolist()
    ]
    loss = np.full((epochs, len(members)), np.inf)
    accuracy = np.full((epochs, len(members)), np.nan)
    n_epochs = 0

    def after_epoch(ended: Epochs) -> Collection[int]:
        nonlocal n_epochs
        for position, epoch in ended.items():
            if epoch is not None:
                loss[n_epochs, position] = epoch.validation_loss
                accuracy[n_epochs, position] = epoch.validation_accuracy
        n_epochs += 1
        return ()

    _trainer(device, precision).train(members, data.training, data.validation, epochs, after_epoch)
    shape = (epochs, len(seeds), len(settings))
    return Outcomes(
        *(np.moveaxis(array.reshape(shape), 0, 2).swapaxes(0, 1) for array in (loss, accuracy))
    )


@cache
def _trainer(device: torch.device, precision: Precision) -> Trainer:
    """Return a trainer, the same one each time, since it keeps its CUDA graphs."""
    trainer = StackedTrainer if device.type == "cuda" else ThreadsTrainer
    return trainer(device, precision=precision)

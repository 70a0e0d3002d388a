"""Trainings of many settings of the paper's network, and constants of its problem."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from time import perf_counter
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch

from optuna_ga.fashion_mnist import Data, load_full, load_subset, paper_trainer
from optuna_ga.torch import Member, PopulationTrainer

GUESSING = math.log(10)  # Cross-entropy of ten equally likely classes.
LEARNING_RATE_DECAY = 0.7  # The paper's factor of the learning rate after each epoch.
Precision = Literal["float32", "tf32", "bfloat16"]
PRECISIONS = get_args(Precision)
# Called as `paper_trainer`, with images, epochs and precision.
MakeTrainer = Callable[..., PopulationTrainer]


class Outcomes(NamedTuple):
    """The results of trainings after each epoch; inf and NaN from a training's divergence on.

    Attributes:
        loss: Validation losses `(n_settings, n_seeds, n_epochs)`.
        accuracy: Validation accuracies of the same shape, in [0, 1].
    """

    loss: np.ndarray
    accuracy: np.ndarray


def default_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def lower_precisions(device: torch.device) -> list[Precision]:
    """Return the precisions that the device computes faster than float32; on a CPU, if x86."""
    if device.type == "cuda":
        return ["tf32", "bfloat16"]
    # Others than processors with AVX-512 emulate it, a hundred times slower.
    return ["bfloat16"] if torch.backends.cpu.get_cpu_capability() == "AVX512" else []


@lru_cache(maxsize=4)
def load(
    name: str,
    device: torch.device,
    n_training: int | None = None,
    n_validation: int | None = None,
) -> Data:
    """Return the "subset" or the "full" data, the same tensors at every call.

    Args:
        name: Which of them.
        device: Where the images are kept.
        n_training: Number of training images, the first of them; None for all.
        n_validation: Likewise of validation images.

    Raises:
        FileNotFoundError: If the full data are nowhere to be found.
        ValueError: If there are fewer images.
    """
    data = load_full(None, device) if name == "full" else load_subset(device)
    for part, n in (("training", n_training), ("validation", n_validation)):
        n_available = len(getattr(data, part).labels)
        if n is not None and n > n_available:
            raise ValueError(f"there are {n_available} {part} images, but {n} are wanted")
    return data._replace(
        training=data.training.take(slice(n_training)),
        validation=data.validation.take(slice(n_validation)),
    )


def train_settings(
    settings: np.ndarray,
    seeds: Sequence[int],
    data: Data,
    epochs: int,
    precision: Precision = "float32",
    make_trainer: MakeTrainer = paper_trainer,
) -> Outcomes:
    """Train every setting with every seed, all together.

    Args:
        settings: Learning rates, momenta and weight decays `(n_settings, 3)`.
        seeds: Seeds of initial weights and batches.
        data: The images to train and to evaluate on.
        epochs: Epochs of each training, at least 1.
        precision: Precision of the computations.
        make_trainer: Returns the trainer of a network; by default of the paper's.
    """
    members = [
        Member(rate, momentum=momentum, weight_decay=decay, seed=seed)
        for seed in seeds
        for rate, momentum, decay in settings.tolist()
    ]
    loss = np.full((len(members), epochs), np.inf)
    accuracy = np.full((len(members), epochs), np.nan)
    trainer = _trainer(data, epochs, precision, make_trainer)
    for row, trained in enumerate(trainer.train(members)):
        for n, epoch in enumerate(trained.epochs):
            loss[row, n], accuracy[row, n] = epoch.metrics["loss"], epoch.metrics["accuracy"]
    shape = (len(seeds), len(settings), epochs)
    return Outcomes(*(array.reshape(shape).swapaxes(0, 1) for array in (loss, accuracy)))


def estimated_seconds(
    n_trainings: int,
    together: int,
    epochs: int,
    n_images: tuple[int, int],
    device: torch.device,
    precision: Precision = "float32",
    make_trainer: MakeTrainer = paper_trainer,
) -> float:
    """Return about how long trainings take of which none diverges, from two short ones.

    Args:
        n_trainings: Number of trainings.
        together: How many of them are trained together.
        epochs: Epochs of each training.
        n_images: Training images and validation images of each.
        device: Where to train.
        precision: Precision of the computations.
        make_trainer: Returns the trainer of a network; by default of the paper's.
    """
    few = load("subset", device, 512, 512)
    settings = np.tile([0.01, 0.5, 0.0], (together, 1))
    seconds = []
    for _ in range(2):  # The first call starts threads or captures graphs.
        start = perf_counter()
        train_settings(settings, [0], few, 1, precision, make_trainer)
        seconds.append(perf_counter() - start)
    per_image = seconds[-1] / together / _work(512, 512)
    return per_image * _work(*n_images) * epochs * n_trainings


def expected_time(n_trainings: int, *settings: Any, **others: Any) -> str:
    """Return `estimated_seconds` of the same arguments, as a line for the user."""
    minutes = estimated_seconds(n_trainings, *settings, **others) / 60
    time = f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
    return f"About {time} for {n_trainings} trainings, less if some diverge"


def _work(n_training: int, n_validation: int) -> float:
    """Return the images of an epoch in trained images; an evaluation has no backward pass."""
    return n_training + n_validation / 3


@lru_cache(maxsize=1)
def _trainer(
    data: Data, epochs: int, precision: Precision, make_trainer: MakeTrainer
) -> PopulationTrainer:
    """Return a trainer, the same at every call, since it keeps its CUDA graphs."""
    return make_trainer(data, epochs, precision=precision)

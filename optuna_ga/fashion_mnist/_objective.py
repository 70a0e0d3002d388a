"""The paper's fitness: the validation loss of the network after training (section 4.2)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from optuna import Trial, TrialPruned
from optuna.distributions import FloatDistribution

from optuna_ga._checks import check_bool, check_int
from optuna_ga.fashion_mnist._data import Data, load_full, load_subset
from optuna_ga.fashion_mnist._network import Network, initial_network
from optuna_ga.fashion_mnist._training import DivergedError, Epoch, evaluate, train

# Section 5: each sampled uniformly, not by its logarithm.
SEARCH_SPACE: Mapping[str, FloatDistribution] = {
    "learning_rate": FloatDistribution(1e-4, 1.0),
    "momentum": FloatDistribution(0.0, 0.9),
    "weight_decay": FloatDistribution(0.0, 0.1),
}


class Score(NamedTuple):
    """How a trained network does on images it has not seen.

    Attributes:
        loss: Mean cross-entropy; infinite if the training diverged.
        accuracy: Fraction classified correctly, in [0, 1]; NaN if the training diverged.
    """

    loss: float
    accuracy: float


class FashionMNISTObjective:
    """Objective that trains the paper's CNN on FashionMNIST and returns its validation loss.

    The value is the loss after the last epoch, not the best on the way, since section 4.2 says
    "after training". The paper does not state the number of epochs; 14 is that of PyTorch's
    MNIST example, from which its other settings come.

    A run whose loss is no longer finite ends at once and returns infinity: it takes its place
    in the generation and ranks last, and every sampler learns where training diverges, which a
    failed trial would hide.

    Every trial starts from the same weights and sees the same batches, so that trials differ by
    their hyperparameters alone; `seed_per_trial` gives each its own. Equal hyperparameters and
    seeds give equal results on the same device with the same number of threads.

    Each trial reports its validation loss after every epoch, so that pruners work, and records
    the user attributes `training_loss` (mean of the last epoch), `validation_loss`,
    `validation_accuracy` and `training_s` (seconds, validation included), or `training_s` and
    `diverged`.

    Args:
        data: "full" for all images, 50,000 / 10,000, which may be downloaded; "subset" for
            6,000 / 2,000 of them that are shipped with the package.
        epochs: Epochs of each training, at least 1.
        n_training_images: Train on the first so many images only, at least 1. None takes all.
        seed: Seed of initial weights and batches, at least 0.
        seed_per_trial: Whether trial n trains with seed + n instead.
        device: A PyTorch device. None takes the GPU if there is one, else the CPU.
        folder: Where to look for the full data first, and to download it to. After that come
            the folder that FASHION_MNIST_DIR names, and Debian's package dataset-fashion-mnist.

    Raises:
        TypeError: If an argument has the wrong type; a bool is no number.
        ValueError: If an argument is out of its range, or the data are damaged.
        FileNotFoundError: If the full data are nowhere and cannot be downloaded.
    """

    def __init__(
        self,
        data: str = "full",
        *,
        epochs: int = 14,
        n_training_images: int | None = None,
        seed: int = 0,
        seed_per_trial: bool = False,
        device: str | torch.device | None = None,
        folder: str | Path | None = None,
    ) -> None:
        if data not in ("full", "subset"):
            raise ValueError(f'`data` must be "full" or "subset", but {data!r} was given.')
        self._epochs = check_int("epochs", epochs, minimum=1)
        self._seed = check_int("seed", seed, minimum=0)
        self._seed_per_trial = check_bool("seed_per_trial", seed_per_trial)
        if n_training_images is not None:
            check_int("n_training_images", n_training_images, minimum=1)
        self._n_training_images = n_training_images
        self._device = _device(device)
        self._name = data
        self._folder = None if folder is None else Path(folder)
        n_available = len(self._data().training.labels)  # Loads: what is amiss shows up here.
        if n_training_images is not None and n_training_images > n_available:
            raise ValueError(
                f"`n_training_images` must be at most {n_available}, the training images of "
                f'"{data}", but {n_training_images!r} was given.'
            )

    @property
    def device(self) -> torch.device:
        """Where the training runs."""
        return self._device

    def __call__(self, trial: Trial) -> float:
        """Train with the trial's hyperparameters and return the validation loss.

        Raises:
            optuna.TrialPruned: If the study's pruner says so after an epoch but the last.
        """
        params = {
            name: trial.suggest_float(name, distribution.low, distribution.high)
            for name, distribution in SEARCH_SPACE.items()
        }
        seed = self._seed + trial.number if self._seed_per_trial else self._seed
        start = time.perf_counter()
        try:
            return self._report(
                trial, self._train(initial_network(seed, self._device), params, seed)
            )
        except DivergedError:
            trial.set_user_attr("diverged", True)
            return math.inf
        finally:
            trial.set_user_attr("training_s", time.perf_counter() - start)

    def test(self, params: Mapping[str, float], seed: int | None = None) -> Score:
        """Train with these hyperparameters and score the network on the official test images.

        This is for the final answer of a search. Whoever chooses by it has no test set left.

        Args:
            params: A value for each name of `SEARCH_SPACE`.
            seed: Seed of initial weights and batches. None takes the objective's.

        Raises:
            ValueError: If a name is missing or unknown, or if the data are the subset, which
                has no test images.
        """
        test = self._data().test
        if test is None:
            raise ValueError('`data` must be "full" for a test score, but "subset" was given.')
        if set(params) != set(SEARCH_SPACE):
            raise ValueError(
                f"`params` must have the names {sorted(SEARCH_SPACE)}, but {dict(params)!r} was "
                "given."
            )
        seed = self._seed if seed is None else check_int("seed", seed, minimum=0)
        network = initial_network(seed, self._device)
        try:
            for _ in self._train(network, params, seed):
                pass
            return Score(*evaluate(network, test))
        except DivergedError:
            return Score(math.inf, math.nan)

    def _data(self) -> Data:
        """Return the data, which are loaded once per process and never pickled."""
        if self._name == "full":
            data = load_full(self._folder, self._device)
        else:
            data = load_subset(self._device)
        return data._replace(training=data.training.take(slice(self._n_training_images)))

    def _train(self, network: Network, params: Mapping[str, float], seed: int) -> Iterator[Epoch]:
        data = self._data()
        return train(
            network,
            data.training,
            data.validation,
            learning_rate=params["learning_rate"],
            momentum=params["momentum"],
            weight_decay=params["weight_decay"],
            epochs=self._epochs,
            seed=seed,
        )

    def _report(self, trial: Trial, epochs: Iterator[Epoch]) -> float:
        """Report each epoch to the trial, record the last, and return its validation loss."""
        for number, epoch in enumerate(epochs, start=1):
            trial.report(epoch.validation_loss, step=number)
            pruned = number < self._epochs and trial.should_prune()
            if pruned or number == self._epochs:
                for name, value in epoch._asdict().items():
                    trial.set_user_attr(name, value)
            if pruned:
                raise TrialPruned
        return epoch.validation_loss


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (AssertionError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"`device` must be a device that PyTorch can use here, but {device!r} was given: "
            f"{error}"
        ) from error

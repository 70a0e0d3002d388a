"""A small MLP on the paper's images, in the place of the paper's CNN: a task of one's own.

Everything but the network is the paper's: the images, their normalization and order, the batches,
SGD, the schedule and the search space.

Shapes: B images in a batch, N images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch
from optuna import Trial
from optuna.trial import FrozenTrial
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.trainings import LEARNING_RATE_DECAY, Precision, default_device, load
from optuna_ga import Checkpoints, Result
from optuna_ga.fashion_mnist import (
    DIVERGED_LOSS,
    SEARCH_SPACE,
    Data,
    DivergedError,
    Images,
    Score,
    evaluate,
    normalize,
)
from optuna_ga.torch import Member, PopulationTrainer, StepDecay, TensorData

Batch = tuple[Tensor, Tensor]


class MLP:
    """Classifies images of 28 x 28 by one hidden layer; a task for `PopulationTrainer`."""

    def model(self, seed: int) -> nn.Module:
        """Return a network, whose weights PyTorch's generator draws."""
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the mean cross-entropy `()`."""
        pixels, labels = batch
        return cross_entropy(model(pixels), labels)

    def metrics(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the sum `()` of the cross-entropy, and the number of hits."""
        pixels, labels = batch
        logits = model(pixels)
        return {
            "loss": cross_entropy(logits, labels, reduction="sum"),
            "accuracy": (logits.argmax(1) == labels).sum(),
        }


class Pictures(TensorData):
    """Images, normalized batch by batch, in the orders of the paper's training."""

    def __init__(self, images: Images, batch_size: int) -> None:
        super().__init__(*images, batch_size=batch_size, transform=_normalized)

    def order(self, seed: int, epoch: int) -> Tensor:
        """Return the order `(N,)` of an epoch: one generator draws those of all epochs."""
        generator = torch.Generator().manual_seed(seed)
        for _ in range(epoch):
            torch.randperm(len(self), generator=generator)
        return torch.randperm(len(self), generator=generator)


def _normalized(batch: Batch) -> Batch:
    pixels, labels = batch
    return normalize(pixels, torch.float32), labels


def mlp_trainer(
    data: Data,
    epochs: int,
    *,
    precision: Precision = "float32",
    learning_rate_decay: float = LEARNING_RATE_DECAY,
    backend: str = "auto",
) -> PopulationTrainer:
    """Return a trainer of MLPs on the device of the images; see `paper_trainer`."""
    return PopulationTrainer(
        MLP(),
        train=Pictures(data.training, 64),
        validation=Pictures(data.validation, 1000),
        epochs=epochs,
        optimizer="sgd",
        schedule=StepDecay(learning_rate_decay),
        precision=precision,
        backend=backend,
        device=data.training.labels.device,
    )


class MLPObjective:
    """The objective of generations of MLPs on the full data; see `FashionMNISTObjective`.

    Args:
        epochs: Epochs of each training, at least 1.
        n_training_images: Images to train on.
        n_validation_images: Images to evaluate on.
        seed: Seed of initial weights and batches.
        seed_per_trial: Whether trial n trains with the seed `seed + n`.
        checkpoints: Where trials save their states, which keeps the learning rate constant; None
            trains each from scratch.

    Raises:
        FileNotFoundError: If the full data are nowhere to be found.
        ValueError: If there are fewer images.
    """

    def __init__(
        self,
        epochs: int,
        n_training_images: int,
        n_validation_images: int,
        *,
        seed: int = 0,
        seed_per_trial: bool = False,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        device = default_device()
        self._data = load("full", device, n_training_images, n_validation_images)
        self._epochs = epochs
        self._seed = seed
        self._seed_per_trial = seed_per_trial
        self._checkpoints = checkpoints
        self._precision: Precision = "bfloat16" if device.type == "cuda" else "float32"
        self._objective = self._trainer().objective(
            self._suggested, checkpoints=checkpoints, worst=DIVERGED_LOSS
        )

    def evaluate_generation(self, trials: Sequence[Trial]) -> Sequence[Result]:
        """Return the validation loss of each trial, trained together."""
        return self._objective(trials)

    def test(self, params: Mapping[str, float]) -> Score:
        """Return the score of a network trained from scratch."""
        member = self._member(params, self._seed)
        trainer = self._trainer("loop")
        (trained,) = trainer.train([member])
        if trained.state is not None:
            with suppress(DivergedError):  # Finite weights may overflow on other images.
                return self._score(trainer.model(member, trained.state))
        return Score(math.inf, math.nan)

    def test_trained(self, trial: FrozenTrial) -> Score:
        """Return the score of a trial's saved network."""
        assert self._checkpoints is not None
        state = self._checkpoints.load(trial)
        return self._score(self._trainer().model(Member(0.0, seed=state["seed"]), state))

    def _score(self, network: nn.Module) -> Score:
        test = self._data.test
        assert test is not None
        return Score(*evaluate(network.to(test.labels.device), test, self._precision))

    def _trainer(self, backend: str = "auto") -> PopulationTrainer:
        return mlp_trainer(
            self._data,
            self._epochs,
            precision=self._precision,
            learning_rate_decay=LEARNING_RATE_DECAY if self._checkpoints is None else 1.0,
            backend=backend,
        )

    def _suggested(self, trial: Trial) -> Member:
        params = {
            name: trial.suggest_float(name, each.low, each.high)
            for name, each in SEARCH_SPACE.items()
        }
        return self._member(params, self._seed + trial.number * self._seed_per_trial)

    def _member(self, params: Mapping[str, float], seed: int) -> Member:
        return Member(
            params["learning_rate"],
            momentum=params["momentum"],
            weight_decay=params["weight_decay"],
            seed=seed,
        )

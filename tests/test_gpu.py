"""What holds on a GPU: run `pytest -m gpu` where there is one."""

from __future__ import annotations

import optuna
import pytest
import torch

from optuna_ga.fashion_mnist import FashionMNISTObjective
from optuna_ga.fashion_mnist._data import load_subset
from optuna_ga.fashion_mnist._network import initial_network
from optuna_ga.fashion_mnist._training import Epoch, train

pytestmark = pytest.mark.gpu


def first_epoch(device: str) -> Epoch:
    """Return the first epoch of a float64 training on a device."""
    images = load_subset(torch.device(device)).training.take(slice(400))
    return next(
        train(
            initial_network(0, torch.device(device)).double(), images, images,
            learning_rate=0.05, momentum=0.9, weight_decay=0.01, epochs=1, seed=0,
        )
    )  # fmt: skip


def test_the_gpu_is_used_unless_told_otherwise() -> None:
    """Without a device the objective takes the GPU."""
    assert FashionMNISTObjective("subset").device.type == "cuda"


def test_gpu_and_cpu_train_alike() -> None:
    """In float64 the losses differ by rounding alone: weights and batches are the same."""
    assert first_epoch("cuda") == pytest.approx(first_epoch("cpu"), abs=1e-9)


def test_a_training_repeats_exactly_on_the_gpu() -> None:
    """Equal hyperparameters give the same value to the last bit."""
    study = optuna.create_study()
    for _ in range(2):
        study.enqueue_trial({"learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.001})
    study.optimize(FashionMNISTObjective("subset", epochs=2), n_trials=2)

    assert study.trials[0].value == study.trials[1].value

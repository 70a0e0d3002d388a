"""Fixtures of trainings small enough to test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from optuna_ga.fashion_mnist import (
    Data,
    _image_source,
    _network,
    _paper_trainer,
    _training,
    load_subset,
)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 8 rather than 64 images, so that many steps take little time."""
    for module in (_training, _paper_trainer):
        monkeypatch.setattr(module, "BATCH_SIZE", 8)


@pytest.fixture
def full_data(monkeypatch: pytest.MonkeyPatch) -> Data:
    """The subset in the place of the full data, with 200 of its training images as test images."""

    def load(folder: Path | None, device: torch.device) -> Data:
        subset = load_subset(device)
        return subset._replace(test=subset.training.take(slice(100, 300)))

    monkeypatch.setattr(_image_source, "load_full", load)
    return load(None, torch.device("cpu"))


@pytest.fixture
def narrow_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of the paper's layers with 19,000 weights."""
    monkeypatch.setattr(_network, "WIDTH", 4)


@pytest.fixture
def small_trainings(small_batches: None, narrow_network: None) -> None:
    """Batches of 8 images, and a network of the paper's layers with 19,000 weights."""

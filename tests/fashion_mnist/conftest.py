"""Fixtures of trainings small enough to test."""

from __future__ import annotations

import pytest

from optuna_ga.fashion_mnist import _network, _paper_trainer, _training


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 8 rather than 64 images, so that many steps take little time."""
    for module in (_training, _paper_trainer):
        monkeypatch.setattr(module, "BATCH_SIZE", 8)


@pytest.fixture
def narrow_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of the paper's layers with 19,000 weights."""
    monkeypatch.setattr(_network, "WIDTH", 4)


@pytest.fixture
def small_trainings(small_batches: None, narrow_network: None) -> None:
    """Batches of 8 images, and a network of the paper's layers with 19,000 weights."""

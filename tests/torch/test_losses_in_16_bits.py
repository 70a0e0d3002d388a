"""Networks that compute in 16 bits, and the losses that are shown of their training."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from optuna_ga.torch import Member, PopulationTrainer
from tests.torch.tasks import Classes, rows


class Scaled(Classes):
    """A classifier whose loss is of a given size, whatever its numbers are."""

    def __init__(self, dtype: torch.dtype, size: float) -> None:
        super().__init__(partial(nn.Linear, 6, 3), dtype)
        self._size = size

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        nothing: Tensor = model(batch[0]).sum() * 0.0
        return nothing + self._size


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
@pytest.mark.parametrize(("dtype", "size"), [(torch.float16, 80.0), (torch.bfloat16, 100.5)])
def test_the_training_loss_is_the_mean_to_the_last_digit(
    dtype: torch.dtype, size: float, backend: str
) -> None:
    """With so large a batch its sum has no place in 16 bits."""
    trainer = PopulationTrainer(
        Scaled(dtype, size),
        train=rows(1_001, dtype, batch_size=1_000),
        validation=rows(20, dtype),
        epochs=1,
        optimizer="sgd",
        backend=backend,
        device="cpu",
    )
    found = [epoch for each in trainer.train([Member(0.1), Member(0.2)]) for epoch in each.epochs]

    assert [epoch.training_loss for epoch in found] == [float(torch.tensor(size, dtype=dtype))] * 2

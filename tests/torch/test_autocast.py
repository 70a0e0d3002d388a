"""Tasks that compute with `torch.autocast` train as by PyTorch alone."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.torch.tasks import MEMBERS, Autocast, Classes, by_hand, difference, mlp, rows, trained

BACKENDS = ["loop", "threads", "vmap", "branches", "auto"]
_BEFORE = torch.autocast("cpu", torch.bfloat16)  # With a cache, as a decorator has.


class Older(nn.Module):
    """A network whose context is older than any training."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = mlp()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits `(B, 3)` of rows `(B, 6)`."""
        with _BEFORE:
            logits: Tensor = self.layers(x)
        return logits


TASKS = [Autocast(mlp, torch.float32), Classes(Older, torch.float32)]
DATA = partial(rows, dtype=torch.float32)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("task", TASKS, ids=["in the loss", "older"])
def test_autocast_trains_as_by_pytorch(task: Any, backend: str) -> None:
    """No member or step computes with weights of another, which a cache would keep."""
    ended = trained(task, DATA, backend=backend, epochs=4)

    for member, end in zip(MEMBERS, ended, strict=True):
        assert end.state is not None
        model = by_hand(task, DATA(30), member, "sgd", 4)
        for name, weights in model.named_parameters():
            # Products of all members at once round otherwise than those of each.
            rounding = 1e-2 if backend == "vmap" else 1e-6
            assert (end.state["weights"][name] - weights).abs().max().item() < rounding


def test_autocast_of_the_user_changes_no_training() -> None:
    """It is off while members train, and goes on afterwards."""
    task = Classes(mlp, torch.float32)
    before = trained(task, DATA)
    with torch.autocast("cpu", torch.bfloat16):
        within = trained(task, DATA)
        product = torch.ones(2, 2) @ torch.ones(2, 2)

    assert difference(before, within) == 0.0
    assert product.dtype == torch.bfloat16

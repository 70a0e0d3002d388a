"""Rounding is told from state that a network holds elsewhere."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optuna_ga.torch import Member
from optuna_ga.torch._networks.differences import is_within_noise
from tests.torch.tasks import Autocast, Classes, images, rows, trained

MEMBERS = [Member(0.005, seed=n) for n in range(3)]
IMAGES = partial(images, dtype=torch.float32)
ignored = pytest.mark.filterwarnings("ignore:Networks are trained separately")


def deep(layout: torch.memory_format = torch.channels_last) -> nn.Module:
    """Return a network of five convolutions for images `(B, 2, 6, 6)`."""
    layers: list[nn.Module] = [nn.Conv2d(2, 16, 3, padding=1), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 36, 3))
    return model.to(memory_format=layout)


@pytest.mark.parametrize("backend", ["loop", "threads", "branches", "vmap", "auto"])
def test_channels_last_trains_in_bfloat16(backend: str) -> None:
    """Other kernels round otherwise; the results are those of the usual layout in float32."""
    usual = partial(deep, torch.contiguous_format)
    exact = trained(Classes(usual, torch.float32), IMAGES, MEMBERS, backend="loop")
    task = Classes(deep, torch.float32)
    rough = trained(task, IMAGES, MEMBERS, backend=backend, precision="bfloat16")

    for one, other in zip(exact, rough, strict=True):
        mine, theirs = one.epochs[-1], other.epochs[-1]
        assert theirs.training_loss == pytest.approx(mine.training_loss, abs=0.1)


@pytest.mark.parametrize("backend", ["threads", "branches", "auto"])
@ignored
def test_channels_last_trains_with_autocast(backend: str) -> None:
    """As in the loop."""
    task = Autocast(deep, torch.float32)
    loop, other = (trained(task, IMAGES, MEMBERS, backend=each) for each in ("loop", backend))

    for one, two in zip(loop, other, strict=True):
        mine, theirs = one.epochs[-1], two.epochs[-1]
        assert theirs.training_loss == pytest.approx(mine.training_loss, abs=0.1)


class Held(nn.Module):
    """A network that holds a tensor in a list, too, and casts it to the type of its inputs."""

    waves: Tensor

    def __init__(self, what: str) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 6), nn.Linear(6, 3)
        self.norm = nn.BatchNorm1d(6)
        self.register_buffer("waves", torch.randn(6, 6))
        parts: dict[str, Any] = {
            "weight": self.first.weight,
            "bias": self.first.bias,
            "buffer": self.waves,
            "statistic": self.norm.running_var,
        }
        self.held = [parts[what]]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits `(B, 3)` of rows `(B, 6)`."""
        held = self.held[0].to(x.dtype)
        inner = x @ held if held.dim() == 2 else self.norm(self.first(x)) * held
        logits: Tensor = self.head(inner.tanh())
        return logits


@pytest.mark.parametrize("backend", ["branches", "vmap"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("what", ["weight", "bias", "buffer", "statistic"])
def test_what_is_held_elsewhere_is_found_in_each_precision(
    what: str, precision: str, backend: str
) -> None:
    """A statistic changes a gradient by a few hundredths only, as rounding does."""
    task = Classes(partial(Held, what), torch.float32)
    data = partial(rows, dtype=torch.float32)
    with pytest.raises(ValueError, match="that they hold elsewhere"):
        trained(task, data, backend=backend, precision=precision)


class HeldInLast(nn.Module):
    """A network in another layout, a weight of which is in a list, too."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = deep()
        self.held = [self.layers[0].weight]  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits `(B, 3)` of images `(B, 2, 6, 6)`."""
        logits: Tensor = self.layers(x) * self.held[0].to(x.dtype).square().sum()
        return logits


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_layout_hides_nothing_that_is_held_elsewhere(precision: str) -> None:
    """What is held stays the network's own."""
    with pytest.raises(ValueError, match="that they hold elsewhere"):
        trained(
            Classes(HeldInLast, torch.float32), IMAGES, backend="branches", precision=precision
        )


@pytest.mark.parametrize(("other", "agrees"), [(1.03, True), (1.1, False), (2.0, False)])
def test_runs_that_differ_by_chance_set_the_measure(other: float, agrees: bool) -> None:
    """Here by one in a hundred, as by atomic sums; another run may differ five times as much."""
    one, again, third = (torch.tensor([each]) for each in (1.0, 1.01, other))

    assert is_within_noise([one], [again], [third]) == agrees
    assert is_within_noise([one], [one], [third]) is False

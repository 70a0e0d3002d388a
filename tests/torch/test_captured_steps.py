"""Steps that are captured once and repeated train as the loop does.

The graphs are emulated on the CPU; `test_gpu.py` has those of CUDA.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optuna_ga.torch import Cosine, PopulationTrainer, TensorData, Trained
from optuna_ga.torch._backends.cuda_graph import Capturer
from tests.torch.emulated_graphs import Graphs
from tests.torch.tasks import MEMBERS, Classes, Encoder, cnn, difference, images, mlp, rows, tokens
from tests.torch.test_randomness import DrawingMetrics

CAPTURED = ["vmap", "branches"]


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Graphs:
    """Have all steps captured."""
    found = Graphs()
    monkeypatch.setattr(Capturer, "capture", lambda self, *arguments: found.capture(*arguments))
    return found


def trainer(
    task: Any, data: Callable[..., Any], backend: str, **options: Any
) -> PopulationTrainer:
    """Return a trainer on 30 examples, the last batch of which has six."""
    settings = {"epochs": 3, "optimizer": "sgd", "device": "cpu", **options}
    return PopulationTrainer(
        task, train=data(30), validation=data(20), backend=backend, **settings
    )


NETWORKS: list[tuple[Callable[..., nn.Module], Callable[..., TensorData], str]] = [
    *((partial(mlp, dropout=0.3), rows, each) for each in ("sgd", "nesterov", "adam", "adamw")),
    (partial(cnn, dropout=0.2), images, "sgd"),
    (partial(cnn, dropout=0.2), images, "adamw"),
    # Not by Adam: the keys' bias has a gradient of rounding errors alone.
    (partial(Encoder, dropout=0.1), tokens, "nesterov"),
]


@pytest.mark.parametrize("backend", CAPTURED)
@pytest.mark.parametrize(("network", "data", "optimizer"), NETWORKS)
def test_captured_steps_train_as_the_loop(
    network: Callable[..., nn.Module],
    data: Callable[..., TensorData],
    optimizer: str,
    backend: str,
    graphs: Graphs,
) -> None:
    """Rates, momenta, clipping, masks and statistics change from replay to replay."""
    members = [replace(each, momentum=each.momentum or 0.1) for each in MEMBERS]
    options: Any = {"optimizer": optimizer, "schedule": Cosine(warm_up=0.3)}
    loop, captured = (
        trainer(Classes(network), data, each, **options).train(members)
        for each in ("loop", backend)
    )

    assert graphs.n_captures == 4  # Of two lengths, in training and in evaluation.
    assert graphs.n_replays == 3 * (4 + 3)
    assert difference(loop, captured) < 1e-9


@pytest.mark.parametrize("backend", CAPTURED)
def test_a_captured_evaluation_draws_as_the_loop(backend: str, graphs: Graphs) -> None:
    """Each batch draws its own numbers."""
    loop, captured = (
        trainer(DrawingMetrics(), rows, by).train(MEMBERS) for by in ("loop", backend)
    )

    assert graphs.n_captures == 4
    assert difference(loop, captured) < 1e-12


@pytest.mark.parametrize("backend", CAPTURED)
def test_other_members_take_the_places_of_a_graph(backend: str, graphs: Graphs) -> None:
    """Members are resumed in another order, and settings of their own change."""

    def ended(backend: str) -> list[Trained]:
        subject = trainer(Classes(partial(mlp, dropout=0.3)), rows, backend, optimizer="adam")
        first = subject.train(MEMBERS)
        resumed = [replace(each, learning_rate=0.003, seed=9) for each in MEMBERS[::-1]]
        return [*first, *subject.train(resumed, states=[each.state for each in first[::-1]])]

    assert difference(ended("loop"), ended(backend)) < 1e-10
    assert graphs.n_captures == 4


@pytest.mark.parametrize("backend", CAPTURED)
def test_the_batches_of_a_loader_are_copied_to_a_graph(backend: str, graphs: Graphs) -> None:
    """A loader may keep its batches, even on the device: they stay what they are."""

    def ended(backend: str) -> list[Trained]:
        batches = list(rows(30).batches(8))
        options: Any = {"epochs": 3, "device": "cpu", "backend": backend}
        subject = PopulationTrainer(Classes(mlp), train=batches, validation=batches, **options)
        result = subject.train(MEMBERS)
        for batch, given in zip(batches, rows(30).batches(8), strict=True):
            assert all(map(torch.equal, batch, given))
        return result

    assert difference(ended("loop"), ended(backend)) < 1e-10
    assert graphs.n_captures == 4


def test_the_emulation_repeats_what_was_recorded() -> None:
    """What Python decides is decided once, and what a step made is lost after a replay."""
    total, n = torch.zeros(()), 0
    made: list[Tensor] = []

    def step() -> None:
        nonlocal n
        n += 1
        made.append(total + n)
        total.copy_(made[-1])

    replay = Graphs().capture(step, lambda: None)
    before = total.item()
    for _ in range(2):
        replay()

    assert (before, n) == (1 + 2 + 3, 4)
    assert total.item() == before + 2 * 4
    assert made[-1].item() != total.item()


@pytest.mark.usefixtures("graphs")
def test_a_step_that_waits_for_the_device_is_not_captured() -> None:
    """It is refused where its backend was asked for."""

    class Waits(Classes):
        def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            x, y = batch
            return super().loss(model, (x / max(1.0, float(x.detach().max())), y))

    with pytest.raises(RuntimeError, match="capturing"):
        trainer(Waits(mlp), rows, "branches").train(MEMBERS)

"""Weight decay of some parameters equals parameter groups of PyTorch's optimizers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from optuna_ga.torch import Member, PopulationTrainer
from optuna_ga.torch._backends.cuda_graph import Capturer
from tests.torch.emulated_graphs import Graphs
from tests.torch.tasks import KINDS, Classes, difference, mlp, rows, trained

MEMBERS = [
    Member(0.02, momentum=0.9, weight_decay=0.3, seed=0),
    Member(0.05, momentum=0.1, betas=(0.8, 0.99), seed=1),
    Member(0.02, momentum=0.5, weight_decay=0.9, clip_norm=0.5, seed=2),
]


class Sparing(Classes):
    """A task in which biases and norms do not decay."""

    def decays(self, name: str, parameter: Tensor) -> bool:
        """Return whether a parameter decays."""
        assert isinstance(parameter, nn.Parameter)
        return parameter.dim() > 1


def normed() -> nn.Module:
    """Return a network with a norm for rows `(B, 6)`."""
    return nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), nn.ReLU(), nn.Linear(9, 3))


def by_groups(task: Any, data: Any, member: Member, optimizer: str) -> nn.Module:
    """Train a network by PyTorch with two parameter groups for two epochs."""
    torch.manual_seed(member.seed)
    model: nn.Module = task.model(member.seed)
    parts = [[p for p in model.parameters() if (p.dim() > 1) is it] for it in (True, False)]
    groups: Any = [{"params": parts[0]}, {"params": parts[1], "weight_decay": 0.0}]
    steps = KINDS[optimizer](groups, member)
    for epoch in range(2):
        for index in data.order(member.seed, epoch).split(data.batch_size):
            steps.zero_grad()
            task.loss(model, data.take(index)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), member.clip_norm)
            steps.step()
    return model


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
@pytest.mark.parametrize("optimizer", KINDS)
def test_decay_is_that_of_parameter_groups(optimizer: str, backend: str) -> None:
    """By every optimizer and backend, also with clipping."""
    task = Sparing(normed)
    ended = trained(task, rows, MEMBERS, optimizer=optimizer, backend=backend)
    for member, each in zip(MEMBERS, ended, strict=True):
        expected = by_groups(task, rows(30), member, optimizer)

        assert each.state is not None
        for name, parameter in expected.named_parameters():
            assert (each.state["weights"][name] - parameter).abs().max().item() < 1e-12


def test_captured_steps_decay_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The places that decay stay where the graph reads them."""
    loop = trained(Sparing(mlp), rows, MEMBERS, optimizer="adamw", backend="loop")
    monkeypatch.setattr(Capturer, "capture", Graphs().capture)
    vmap = trained(Sparing(mlp), rows, MEMBERS, optimizer="adamw", backend="vmap")

    assert difference(loop, vmap) < 1e-12


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_members_without_decay_are_the_same_by_groups(optimizer: str) -> None:
    """And those with some are not."""
    plain, sparing = (
        trained(task, rows, MEMBERS, optimizer=optimizer, backend="vmap")
        for task in (Classes(mlp), Sparing(mlp))
    )

    assert difference(plain[1:2], sparing[1:2]) < 1e-12 < difference(plain, sparing)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_decay_in_short_types_is_that_of_the_loop(precision: str) -> None:
    """Within rounding."""
    task = Sparing(mlp, torch.float32)
    options: Any = {"precision": precision, "optimizer": "adamw"}
    members = [replace(each, learning_rate=0.01) for each in MEMBERS]
    data = lambda n: rows(n, torch.float32)  # noqa: E731
    loop, vmap = (trained(task, data, members, backend=b, **options) for b in ("loop", "vmap"))

    assert difference(loop, vmap) < (1e-5 if precision == "float32" else 0.1)


class Nothing(Sparing):
    def decays(self, name: str, parameter: Tensor) -> bool:
        return False


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_nothing_may_decay(backend: str) -> None:
    """As without decay."""
    members = [replace(each, weight_decay=0.0) for each in MEMBERS]
    one = trained(Nothing(mlp), rows, MEMBERS, backend=backend)

    assert difference(one, trained(Classes(mlp), rows, members, backend=backend)) < 1e-12


class Wordy(Sparing):
    def decays(self, name: str, parameter: Tensor) -> Any:
        return "weight" in name and "yes"


class Named(Classes):
    decays = "weights"


@pytest.mark.parametrize(
    ("task", "match"),
    [
        (Wordy(mlp), r"`task\.decays` must return a bool, but for '0\.weight' it returned 'yes'"),
        (Named(mlp), r"`task\.decays` must be a method, but it is 'weights'"),
    ],
)
def test_wrong_methods_are_refused(task: Any, match: str) -> None:
    """Before anything trains."""
    with pytest.raises(TypeError, match=match):
        PopulationTrainer(task, train=rows(30), validation=rows(20), epochs=1).train(MEMBERS)

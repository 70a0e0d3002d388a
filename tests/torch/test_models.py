"""The network of a member, with the numbers of a state."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga.torch import Member, PopulationTrainer, Trained
from tests.torch.tasks import MEMBERS, Classes, by_hand, cnn, images, mlp, rows


class Tied(nn.Module):
    """A network with tied weights, frozen ones, and buffers of both kinds."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.first = nn.Linear(6, width)
        self.second = nn.Linear(width, 6)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.norm = nn.BatchNorm1d(6)
        self.head = nn.Linear(6, 3)
        self.seen: Tensor
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits `(B, 3)` of rows `(B, 6)`."""
        if self.training:
            self.seen += len(x)
        hidden = self.norm(self.second(self.first(x).relu()) + self.frozen(x))
        logits: Tensor = self.head(hidden.relu())
        return logits


def trainer(network: Any, data: Any = rows, **options: Any) -> PopulationTrainer:
    """Return a trainer on the CPU."""
    settings = {"optimizer": "adamw", "device": "cpu", "epochs": 2, **options}
    return PopulationTrainer(Classes(network), train=data(30), validation=data(20), **settings)


def check_is_network_of(trained: Trained, model: nn.Module, data: Any = rows) -> None:
    """Check that a model's loss is that of the last epoch."""
    x, y = data(20).take(torch.arange(20))
    with torch.no_grad():
        loss = F.cross_entropy(model(x), y).item()

    assert loss == pytest.approx(trained.epochs[-1].metrics["loss"], abs=1e-12)
    assert {each.device.type for each in model.state_dict().values()} == {"cpu"}
    assert not model.training


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
def test_a_model_has_what_was_trained(backend: str) -> None:
    """Weights that are tied, frozen parameters, and buffers."""
    subject = trainer(Tied, backend=backend)
    for member, trained in zip(MEMBERS, subject.train(MEMBERS), strict=True):
        model: Any = subject.model(member, trained.state)

        check_is_network_of(trained, model)
        assert model.first.weight is model.second.weight
        assert not model.frozen.weight.requires_grad
        assert model.seen == 60


def test_a_model_is_the_one_trained_by_hand() -> None:
    """With all of its state."""
    data, member = images(30), MEMBERS[0]
    subject = trainer(cnn, images, optimizer="sgd")
    (trained,) = subject.train([member])
    model, expected = subject.model(member, trained.state), by_hand(
        Classes(cnn), data, member, "sgd", 2
    )  # fmt: skip

    check_is_network_of(trained, model, images)
    for name, tensor in expected.state_dict().items():
        assert torch.allclose(model.state_dict()[name], tensor, atol=1e-12)


def test_states_and_models_can_be_saved(tmp_path: Path) -> None:
    """PyTorch loads both without pickled code."""
    subject = trainer(Tied)
    (trained,) = subject.train(MEMBERS[:1])
    torch.save(trained.state, tmp_path / "state.pt")
    model = subject.model(MEMBERS[0], torch.load(tmp_path / "state.pt", weights_only=True))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    loaded = subject.model(Member(0.1, seed=9))
    loaded.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))

    check_is_network_of(trained, model)
    check_is_network_of(trained, loaded)


def test_a_model_without_a_state_is_the_initial_one() -> None:
    """That of the member's seed."""
    model = trainer(mlp).model(Member(0.1, seed=3))
    torch.manual_seed(3)
    expected = Classes(mlp).model(3)

    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_a_model_is_nothing_that_trains() -> None:
    """Changing it changes no training."""
    subject = trainer(Tied)
    (trained,) = subject.train(MEMBERS[:1])
    for parameter in subject.model(MEMBERS[0], trained.state).parameters():
        nn.init.zeros_(parameter)
    for parameter in subject.model(MEMBERS[0]).parameters():
        nn.init.zeros_(parameter)
    (again,) = subject.train(MEMBERS[:1])

    assert again.epochs == trained.epochs
    check_is_network_of(trained, subject.model(MEMBERS[0], trained.state))


def test_a_state_of_another_network_is_refused() -> None:
    """The error names the part."""
    subject = trainer(partial(mlp))
    wide = Member(0.1, model={"width": 24})
    (trained,) = subject.train([wide])
    with pytest.raises(ValueError, match=r"`weights\.0\.weight` of the state"):
        subject.model(Member(0.1), trained.state)
    with pytest.raises(TypeError, match=r"`state` must be a `Trained\.state`"):
        subject.model(wide, trained)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`member` must be a `Member`"):
        subject.model(trained.state)  # type: ignore[arg-type]

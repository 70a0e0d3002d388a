"""Products are counted without computing a weight again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from optuna_ga.torch import Member, PopulationTrainer
from tests.torch.tasks import MEMBERS, Classes, Recurrent, images, rows, tokens


def spectral() -> nn.Module:
    """Return a network whose weights have a spectral norm, estimated anew at each use."""
    layer = parametrizations.spectral_norm(nn.Linear(6, 16))
    return nn.Sequential(layer, nn.Tanh(), parametrizations.orthogonal(nn.Linear(16, 4)),
                         parametrizations.weight_norm(nn.Linear(4, 3)))  # fmt: skip


def by_hand(member: Member) -> nn.Module:
    """Train such a network for an epoch as any user of PyTorch would."""
    data, task = rows(30), Classes(spectral)
    torch.manual_seed(member.seed)
    model = task.model(member.seed)
    steps = torch.optim.SGD(model.parameters(), member.learning_rate)
    for index in data.order(member.seed, 0).split(data.batch_size):
        steps.zero_grad()
        task.loss(model, data.take(index)).backward()
        steps.step()
    return model


@pytest.mark.parametrize("backend", ["auto", "loop", "threads", "branches"])
@pytest.mark.filterwarnings("ignore:Networks are trained separately")
def test_parametrized_weights_train_as_by_pytorch(backend: str) -> None:
    """Spectral, weight and orthogonal norms; the first changes its buffers at each use."""
    members = [Member(0.1, seed=each.seed) for each in MEMBERS]
    options = {"train": rows(30), "validation": rows(20), "epochs": 1, "backend": backend}
    subject = PopulationTrainer(Classes(spectral), optimizer="sgd", device="cpu", **options)  # type: ignore[arg-type]

    for member, ended in zip(members, subject.train(members), strict=True):
        assert ended.state is not None
        found = {**ended.state["weights"], **ended.state["buffers"]}
        expected = by_hand(member).state_dict()
        assert found.keys() == expected.keys()
        assert all((found[n] - each).abs().max() < 1e-9 for n, each in expected.items())


@pytest.mark.parametrize(
    ("layer", "width", "products"),
    [
        (lambda: nn.Conv2d(2, 4, 3, groups=2), 4 * 16, 4 * 16 * 9),
        (lambda: nn.ConvTranspose2d(2, 4, 3, stride=2), 4 * 169, 2 * 36 * 4 * 9),
        (lambda: nn.ConvTranspose2d(2, 4, 3, groups=2), 4 * 64, 2 * 36 * 2 * 9),
    ],
)
def test_products_of_each_kind_of_convolution_are_counted(
    layer: Callable[[], nn.Module], width: int, products: int
) -> None:
    """A transposed one takes each of the 2 x 36 inputs times its part of the filters."""
    task = Classes(lambda: nn.Sequential(layer(), nn.Flatten(), nn.Linear(width, 3)))
    data = {"train": images(30), "validation": images(20)}
    subject = PopulationTrainer(task, epochs=1, device="cpu", **data)  # type: ignore[arg-type]
    (facts,) = subject._engine._maker._facts.values()
    assert facts.verdict is not None

    assert facts.verdict.convolution == products
    assert facts.verdict.products == products + 3 * width


class Attending(nn.Module):
    """A layer of attention over the five embedded tokens of an example."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits `(B, 3)` of tokens `(B, 5)`."""
        hidden = self.embed(tokens)
        logits: Tensor = self.head(self.attention(hidden, hidden, hidden)[0].mean(1))
        return logits


@pytest.mark.parametrize(
    ("network", "products"),
    [
        (Attending, 5 * 4 * 8 * 8),
        (partial(Recurrent, partial(nn.RNN, bias=False)), 5 * 2 * 8 * 8),
        (partial(Recurrent, partial(nn.GRU, bias=False)), 5 * 6 * 8 * 8),
        (partial(Recurrent, partial(nn.LSTM, bias=False)), 5 * 8 * 8 * 8),
    ],
)
def test_products_of_attention_and_recurrent_layers_are_counted(
    network: Callable[[], nn.Module], products: int
) -> None:
    """Each of the five tokens meets all matrices of 8 x 8, and their mean the last layer."""
    data = {"train": tokens(30), "validation": tokens(20)}
    subject = PopulationTrainer(Classes(network), epochs=1, device="cpu", **data)  # type: ignore[arg-type]
    (facts,) = subject._engine._maker._facts.values()
    assert facts.verdict is not None

    assert facts.verdict.convolution == 0
    assert facts.verdict.products == products + 3 * 8

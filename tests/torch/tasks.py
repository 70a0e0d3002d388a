"""Small networks of every kind, their data, and a training by PyTorch alone to compare with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.nn.utils import clip_grad_norm_

from optuna_ga.torch import Epoch, Member, PopulationTrainer, TensorData, Trained

CPU = torch.device("cpu")


class Classes:
    """A classifier of three classes, in float64 by default."""

    def __init__(self, network: Callable[..., nn.Module], dtype: torch.dtype = torch.float64):
        self._network = network
        self._dtype = dtype

    def model(self, seed: int, **settings: Any) -> nn.Module:
        return self._network(**settings).to(self._dtype)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return F.cross_entropy(model(x), y)

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        x, y = batch
        logits = model(x)
        return {
            "loss": F.cross_entropy(logits, y, reduction="sum"),
            "accuracy": (logits.argmax(-1) == y).sum(),
        }


class Autocast(Classes):
    """A classifier that computes in bfloat16 by a context of its own."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().loss(model, batch)

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return super().metrics(model, batch)


def mlp(width: int = 16, dropout: float = 0.0) -> nn.Module:
    """Return a network of two layers for rows `(B, 6)`."""
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 3))


def cnn(dropout: float = 0.0) -> nn.Module:
    """Return a convolutional network with normalisation for images `(B, 2, 6, 6)`."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(dropout),
        nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip


class Encoder(nn.Module):
    """Token embeddings, two layers of attention, and the mean over tokens."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits `(B, 3)` of tokens `(B, T)`."""
        logits: Tensor = self.head(self.layers(self.embed(tokens)).mean(1))
        return logits


class Recurrent(nn.Module):
    """A recurrent network over tokens."""

    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.cells = kind(8, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits `(B, 3)` of tokens `(B, T)`."""
        logits: Tensor = self.head(self.cells(self.embed(tokens))[0][:, -1])
        return logits


def rows(n: int, dtype: torch.dtype = torch.float64, batch_size: int = 8) -> TensorData:
    """Return `n` rows of six numbers and their classes."""
    generator = torch.Generator("cpu").manual_seed(n)
    x = torch.randn(n, 6, generator=generator, dtype=torch.float64, device=CPU).to(dtype)
    return TensorData(x, x[:, :3].argmax(1), batch_size=batch_size)


def images(n: int, dtype: torch.dtype = torch.float64, batch_size: int = 8) -> TensorData:
    """Return `n` images of two channels and their classes."""
    generator = torch.Generator("cpu").manual_seed(n)
    x = torch.randn(n, 2, 6, 6, generator=generator, dtype=torch.float64).to(dtype)
    return TensorData(x, x[:, 0, 0, :3].argmax(1), batch_size=batch_size)


def tokens(n: int, batch_size: int = 8) -> TensorData:
    """Return `n` sentences of five tokens and their classes."""
    generator = torch.Generator("cpu").manual_seed(n)
    x = torch.randint(11, (n, 5), generator=generator)
    return TensorData(x, x[:, 0] % 3, batch_size=batch_size)


MEMBERS = [
    Member(0.01, momentum=0.9, weight_decay=0.01, seed=0),
    Member(0.05, betas=(0.8, 0.99), seed=1),
    Member(0.02, momentum=0.5, weight_decay=0.1, clip_norm=0.5, seed=2),
]

FOUR = [*MEMBERS, Member(0.03, momentum=0.5, seed=3)]  # Enough for `vmap` by "auto".


KINDS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p, m: torch.optim.SGD(
        p, m.learning_rate, momentum=m.momentum, weight_decay=m.weight_decay
    ),
    "nesterov": lambda p, m: torch.optim.SGD(
        p, m.learning_rate, momentum=m.momentum, weight_decay=m.weight_decay, nesterov=True
    ),
    "adam": lambda p, m: torch.optim.Adam(
        p, m.learning_rate, betas=m.betas, weight_decay=m.weight_decay
    ),
    "adamw": lambda p, m: torch.optim.AdamW(
        p, m.learning_rate, betas=m.betas, weight_decay=m.weight_decay
    ),
}


def by_hand(task: Any, data: TensorData, member: Member, optimizer: str, epochs: int) -> nn.Module:
    """Train a network as any user of PyTorch would."""
    torch.manual_seed(member.seed)
    model: nn.Module = task.model(member.seed)
    steps = KINDS[optimizer](model.parameters(), member)
    for epoch in range(epochs):
        for index in data.order(member.seed, epoch).split(data.batch_size):
            steps.zero_grad()
            task.loss(model, data.take(index)).backward()
            clip_grad_norm_(model.parameters(), member.clip_norm)
            steps.step()
    return model


def trained(
    task: Any, data: Callable[..., TensorData], members: list[Member] = MEMBERS, **options: Any
) -> list[Trained]:
    """Train on 30 examples, so that the last batch of eight has six."""
    settings = {"epochs": 2, "optimizer": "sgd", "device": "cpu", **options}
    trainer = PopulationTrainer(task, train=data(30), validation=data(20), **settings)
    return trainer.train(members)


def difference(one: list[Trained], other: list[Trained]) -> float:
    """Return the largest difference of any number of two trainings of the same members."""
    assert len(one) == len(other)
    found = [0.0]
    for a, b in zip(one, other, strict=True):
        assert a.state is not None
        assert b.state is not None
        for mine, theirs in zip(flat(a.state), flat(b.state), strict=True):
            found.append((mine.double().cpu() - theirs.double().cpu()).abs().max().item())
        found += [abs(x - y) for x, y in zip(curve(a.epochs), curve(b.epochs), strict=True)]
    return max(found)


def flat(state: Any) -> list[Tensor]:
    """Return the tensors of a state."""
    if isinstance(state, dict):
        return [tensor for each in state.values() for tensor in flat(each)]
    return [state] if isinstance(state, Tensor) else []


def curve(epochs: list[Epoch]) -> list[float]:
    """Return the losses and metrics of all epochs."""
    return [number for e in epochs for number in (e.training_loss, *e.metrics.values())]

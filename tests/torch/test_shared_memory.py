"""Another tensor in the memory of a weight changes with it, which copies of a network undo."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, spectral_norm

from optuna_ga.torch import Member, PopulationTrainer
from tests.torch.tasks import MEMBERS, Classes, Recurrent, mlp, rows, tokens, trained
from tests.torch.test_own_parameters import check_as_by_hand


def sharing(how: str) -> nn.Module:
    """Return a network in whose first weights another tensor is."""
    network: Any = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3))
    network.double()  # Beforehand, since another type has its own memory.
    weight = network[0].weight
    if how == "tied":
        network[2].weight.data = weight.data
    elif how == "buffer":
        network.register_buffer("held", weight.data)
    elif how == "frozen":
        network[2].weight = nn.Parameter(weight.data, requires_grad=False)
    elif how == "part":
        network.register_buffer("held", weight.data[2:4, 1])
    elif how == "attribute":
        network.held = weight.data
    elif how == "list":
        network.held = [weight.detach()]
    else:
        network.held = partial(lambda kept, x: x @ kept, weight.data)
    return network  # type: ignore[no-any-return]


HOW = {
    "tied": "`0.weight` and `2.weight`",
    "buffer": "`0.weight` and `held`",
    "frozen": "`0.weight` and `2.weight`",
    "part": "`0.weight` and `held`",
    "attribute": "`0.weight` and `network.held`",
    "list": r"`0.weight` and `network.held\[0\]`",
    "function": "`0.weight` and `network.held.*`",
}


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches", "auto"])
@pytest.mark.parametrize("how", HOW)
def test_a_tensor_in_the_memory_of_a_weight_is_refused(how: str, backend: str) -> None:
    """When the trainer is made, with both names."""
    data = rows(30)
    task = Classes(partial(sharing, how))
    with pytest.raises(ValueError, match=f"share their memory .*{HOW[how]}"):
        PopulationTrainer(
            task, train=data, validation=data, epochs=1, backend=backend, device="cpu"
        )


class Columns(nn.Module):
    """A network whose weights are columns of one matrix, and whose masks share memory."""

    mask: Tensor
    first: Tensor

    def __init__(self) -> None:
        super().__init__()
        left, right = torch.randn(6, 6, dtype=torch.float64).split(3, 1)
        self.left, self.right = nn.Parameter(left), nn.Parameter(right)
        self.register_buffer("mask", torch.arange(3.0).expand(2, 3))
        self.register_buffer("first", self.mask[0])
        self.latest = self.left.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        self.latest = self.left.detach()
        return x @ self.left * self.first + (x @ self.right).tanh() * self.mask[1]


def tied() -> nn.Module:
    """Return a network of which two layers have one parameter."""
    network = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 3))
    network[2].weight = network[0].weight
    return network


NO_FAULT: dict[str, Callable[[], nn.Module]] = {
    "columns": Columns,
    "tied": tied,
    "weight norm": lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 3))),
    "orthogonal": lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 3))),
    "spectral norm": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 3))),
    "plain": mlp,
}


@pytest.mark.parametrize("make", NO_FAULT.values(), ids=NO_FAULT)
@pytest.mark.filterwarnings("ignore:.*train in .* groups, one after the other")
def test_what_modules_of_pytorch_hold_twice_is_no_fault(make: Callable[[], nn.Module]) -> None:
    """Nor one parameter in two places, nor numbers beside those of others."""
    check_as_by_hand(Classes(make), trained(Classes(make), rows, backend="loop"), MEMBERS)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.GRUCell])
def test_recurrent_networks_hold_lists_of_their_weights(kind: Any) -> None:
    """Which are the parameters themselves."""
    if kind is nn.GRUCell:
        ended = trained(Classes(lambda: nn.Sequential(nn.GRUCell(6, 3))), rows)
    else:
        ended = trained(Classes(partial(Recurrent, kind)), tokens)

    assert all(len(each.epochs) == 2 for each in ended)


def test_the_older_spectral_norm_holds_its_weight_until_it_is_called() -> None:
    """Each call sets another one."""
    data = rows(30)
    task = Classes(lambda: nn.Sequential(spectral_norm(nn.Linear(6, 3)).double()))
    PopulationTrainer(task, train=data, validation=data, epochs=1, backend="loop", device="cpu")


class _Auxiliary(nn.Module):
    """A network with a layer that training does not call."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = mlp()
        self.auxiliary = spectral_norm(nn.Linear(16, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits `(B, 3)` of rows `(B, 6)`."""
        logits: Tensor = self.layers(x)
        return logits


@pytest.mark.filterwarnings("ignore:.*train in .* groups, one after the other")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_an_old_norm_sets_anew_is_no_other_tensor() -> None:
    """It is the weight's own data until the first call."""
    members = [Member(0.1, seed=1), Member(0.2, seed=2)]
    task = Classes(_Auxiliary, torch.float32)  # Another type would have its own memory.
    ended = trained(task, partial(rows, dtype=torch.float32), members, backend="loop")

    assert [len(each.epochs) for each in ended] == [2, 2]

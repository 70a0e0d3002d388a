"""A task may keep what it computes, but not where members that train at once would share it."""

from __future__ import annotations

import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga.torch import Member, PopulationTrainer, TensorData
from tests.torch.tasks import FOUR, MEMBERS, Classes, difference, mlp, rows, trained
from tests.torch.test_own_parameters import check_as_by_hand

_kept: Any = None


class Focal(Classes):
    """A task that weighs examples by what it keeps of them meanwhile."""

    shared: Any = SimpleNamespace(number=0)

    def __init__(self, how: str, network: Callable[..., nn.Module] = mlp) -> None:
        super().__init__(network)
        self.how = how
        self.held: Any = {
            "attribute": None,
            "dictionary": defaultdict(list),
            "list": [None],
            "tensor": torch.zeros(8, dtype=torch.float64),
            "array": np.zeros(8),
            "object": SimpleNamespace(),
            "thread": threading.local(),
        }.get(how)

    def keep(self, value: Tensor) -> None:
        """Keep a value in a place of some kind."""
        global _kept
        if self.how == "attribute":
            self.held = value
        elif self.how in ("dictionary", "list"):
            self.held[0] = value
        elif self.how in ("tensor", "array"):
            self.held[: len(value)] = value if self.how == "tensor" else value.numpy()
        elif self.how in ("object", "thread"):
            self.held.value = value
        elif self.how == "class":
            type(self).shared = value
        else:
            _kept = value

    def kept(self, n: int) -> Tensor:
        """Return what was kept, of `n` examples."""
        time.sleep(0.001)  # Another member's turn.
        if self.how in ("dictionary", "list"):
            return torch.as_tensor(self.held[0])
        if self.how in ("object", "thread"):
            return torch.as_tensor(self.held.value)
        if self.how == "class":
            return torch.as_tensor(self.shared)
        return torch.as_tensor(_kept if self.how == "global" else self.held)[:n]

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        self.keep((1 - model(x).detach().softmax(-1).gather(1, y[:, None])[:, 0]).square())
        each = F.cross_entropy(model(x), y, reduction="none")
        return (each * self.kept(len(x))).mean()


PLACES = ["attribute", "dictionary", "list", "tensor", "array", "object", "class", "global"]


@pytest.mark.parametrize("how", PLACES)
@pytest.mark.filterwarnings("ignore:Networks are trained separately")
def test_members_do_not_see_what_a_task_keeps_of_others(how: str) -> None:
    """Threads, which share the task, are refused, and "auto" takes none."""
    with pytest.raises(ValueError, match=r"calls change `task.*, which threads share"):
        trained(Focal(how), rows, FOUR, backend="threads")
    for members in (FOUR[:2], FOUR):
        check_as_by_hand(Focal(how), trained(Focal(how), rows, members), members)


def test_what_a_task_keeps_for_each_thread_is_no_fault() -> None:
    """As `threading.local` does."""
    ended = trained(Focal("thread"), rows, FOUR, backend="threads")
    check_as_by_hand(Focal("thread"), ended, FOUR)


class Sized(Classes):
    """A task that keeps the number of examples, or the way that it is called."""

    def __init__(self, kept: str) -> None:
        super().__init__(mlp)
        self._kept = kept

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        self.now = len(batch[0]) if self._kept == "size" else "training"
        return super().loss(model, batch)

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        self.now = self.now if self._kept == "size" else "evaluation"
        return super().metrics(model, batch)


@pytest.mark.parametrize("kept", ["size", "phase"])
def test_what_some_calls_set_otherwise_is_found(kept: str) -> None:
    """The last batch is smaller, and metrics follow."""
    with pytest.raises(ValueError, match=r"calls change `task\.now`"):
        trained(Sized(kept), rows, backend="threads")


class Scaling:
    """A transform that keeps the scale of its batch."""

    def __call__(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        self.scale = 2 * torch.ones(6, dtype=torch.float64)
        return batch[0] * self.scale, batch[1]


class Shuffled(TensorData):
    """Examples that keep their order."""

    def order(self, seed: int, epoch: int) -> Tensor:
        self.latest = super().order(seed, epoch)
        return self.latest


@pytest.mark.parametrize("what", ["transform", "order"])
def test_what_data_keep_is_found(what: str) -> None:
    """All members read the same ones."""

    def data(n: int) -> TensorData:
        x, y = rows(n).take(torch.arange(n))
        transformed = TensorData(x, y, batch_size=8, transform=Scaling())
        return transformed if what == "transform" else Shuffled(x, y, batch_size=8)

    with pytest.raises(ValueError, match="calls change `train"):
        trained(Classes(mlp), data, backend="threads")


class Caching(Classes):
    """A task that keeps a constant for each number of examples."""

    def __init__(self) -> None:
        super().__init__(mlp)
        self.constants: dict[int, Tensor] = {}

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        ones = self.constants.setdefault(len(batch[0]), torch.ones(3, dtype=torch.float64))
        return F.cross_entropy(model(batch[0]) * ones, batch[1])


def test_what_a_task_sets_once_is_no_fault() -> None:
    """Once for each number of examples."""
    check_as_by_hand(Caching(), trained(Caching(), rows, backend="threads"), MEMBERS)


def noted(found: dict[str, Tensor]) -> nn.Module:
    """Return a network with a function that keeps activations in a dictionary."""
    network = mlp()
    network[1].register_forward_hook(  # type: ignore[index]
        lambda module, inputs, outputs: found.update(hidden=outputs)
    )
    return network


def test_what_all_networks_keep_in_one_place_is_found() -> None:
    """A copy of a network has the functions of the network, and what these enclose."""
    found: dict[str, Tensor] = {}
    with pytest.raises(ValueError, match=r"calls change `.*hidden"):
        trained(Classes(lambda: noted(found)), rows, backend="threads")


def test_the_generators_of_the_user_stay_as_they_are() -> None:
    """While the order of an epoch is tried."""

    class Drawing(TensorData):
        """Examples in an order by NumPy's generator."""

        def order(self, seed: int, epoch: int) -> Tensor:
            return torch.from_numpy(np.random.permutation(len(self)))

    data = Drawing(*rows(30).take(torch.arange(30)))
    before: Any = np.random.get_state()
    PopulationTrainer(Classes(mlp), train=data, validation=data, epochs=1, device="cpu")
    after: Any = np.random.get_state()

    assert np.array_equal(before[1], after[1])


class Watching(Classes):
    """A task whose networks have its own method as a hook, which keeps activations."""

    def __init__(self) -> None:
        super().__init__(mlp)
        self.activations: dict[str, Tensor] = {}

    def model(self, seed: int, **settings: Any) -> nn.Module:
        network = super().model(seed)
        network[1].register_forward_hook(self.keep)  # type: ignore[index]
        return network

    def keep(self, module: nn.Module, inputs: Any, outputs: Tensor) -> None:
        """Keep what a module has computed."""
        self.activations["hidden"] = outputs

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return super().loss(model, batch) + 0.1 * self.activations["hidden"].square().mean()


@pytest.mark.parametrize("backend", ["loop", "vmap", "branches", "auto"])
@pytest.mark.filterwarnings("ignore:Networks are trained separately")
def test_a_hook_may_be_a_method_of_the_task(backend: str) -> None:
    """The task, of which no copy is made."""
    check_as_by_hand(Watching(), trained(Watching(), rows, FOUR, backend=backend), FOUR)


def test_threads_do_not_share_what_a_hook_keeps() -> None:
    """They are refused."""
    with pytest.raises(ValueError, match=r"calls change `task\.activations\['hidden'\]`"):
        trained(Watching(), rows, FOUR, backend="threads")


class Moving(Classes):
    """A task that moves its weights of the classes to where the batches are."""

    def __init__(self) -> None:
        super().__init__(mlp)
        self.weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        self.weights = self.weights.to(x)
        return F.cross_entropy(model(x), y, self.weights)


class Wide(Classes):
    """A task whose networks need a setting, so that they are examined in training."""

    trainer: PopulationTrainer

    def model(self, seed: int, *, width: int) -> nn.Module:  # type: ignore[override]
        return super().model(seed, width=width)


class _Any:
    """An object that has whatever it is asked for."""

    __slots__ = ("unset",)

    def __getattr__(self, name: str) -> int:
        return 1


class _Closed:
    """An object whose attributes raise."""

    __slots__ = ("held",)

    def __getattr__(self, name: str) -> int:
        raise KeyError(name)


class _Attributes(dict[str, Any]):
    """A dictionary whose items are attributes, too."""

    __slots__ = ()
    __getattr__ = dict.__getitem__


class Holding(Classes):
    """A task that holds what is odd to look at."""

    def __init__(self) -> None:
        super().__init__(mlp)
        homeless = type("Homeless", (), {"__module__": None})()
        dead = weakref.proxy(Classes(mlp))
        lazy = nn.LazyLinear(3)
        self.held = [_Any(), _Closed(), _Attributes(a=1), homeless, dead, lazy]


@pytest.mark.parametrize("make", [Moving, Holding])
def test_what_calls_leave_as_it_is_trains_in_threads(make: Callable[[], Classes]) -> None:
    """Whatever the task holds."""
    loop, ended = (trained(make(), rows, FOUR, backend=backend) for backend in ("loop", "threads"))

    assert difference(loop, ended) == 0.0


def test_a_task_may_know_its_trainer() -> None:
    """Whose own state changes as it looks at networks."""
    task, data = Wide(mlp), rows(20)
    task.trainer = PopulationTrainer(
        task, train=data, validation=data, epochs=1, optimizer="sgd", backend="threads"
    )
    ended = task.trainer.train([Member(0.1, seed=n, model={"width": 8}) for n in range(2)])

    assert [len(each.epochs) for each in ended] == [1, 1]

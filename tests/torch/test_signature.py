"""Which networks count as equal: those that differ in the numbers of their tensors alone."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from optuna_ga.torch import Member, PopulationTrainer, _maker
from optuna_ga.torch._networks.signature import changed_attributes, signature
from tests.torch.tasks import Classes, difference, mlp, rows, trained
from tests.torch.test_own_parameters import check_as_by_hand


def scale(x: Tensor, factor: float) -> Tensor:
    """Return a multiple."""
    return x * factor


class Config:
    """A setting, and a function made of it."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.act: Any = lambda x: scale(x, factor)

    def __call__(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.act(x)
        return outputs


class Holding(nn.Module):
    """A linear layer, and a function after it."""

    def __init__(self, after: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        """Return the function of the layer's outputs."""
        outputs: Tensor = self.after(self.layer(x))
        return outputs


@pytest.mark.parametrize(
    "make",
    [
        lambda factor=1.0: Holding(Config(factor)),
        lambda factor=1.0: Holding(partial(lambda x, k: scale(x, k), k=factor)),
    ],
    ids=["object", "partial"],
)
@pytest.mark.parametrize("backend", ["loop", "threads", "vmap"])
def test_networks_with_other_functions_are_not_mixed_up(backend: str, make: Any) -> None:
    """Functions that are gone by now leave their addresses to those of other members."""
    members = [Member(0.1, model={"factor": float(k)}) for k in range(20)]
    together = trained(Classes(make), rows, members, backend=backend)

    for member, ended in zip(members, together, strict=True):
        network = partial(make, **member.model)
        alone = trained(Classes(network), rows, [Member(0.1)], backend="loop")
        assert difference([ended], alone) < 1e-12


EQUAL: dict[str, Callable[[], Any]] = {
    "partial": lambda: partial(scale, factor=2.0),
    "tensor": lambda: torch.arange(3.0),
    "number tensor": lambda: torch.tensor(1.0, dtype=torch.bfloat16),
    "set": lambda: {"a", "b", 3},
    "items": lambda: deque([1, 2]),
    "function": lambda: scale,
    "NaN": lambda: float("nan"),
}


@pytest.mark.parametrize("make", EQUAL.values(), ids=EQUAL)
def test_attributes_of_equal_content_are_equal(make: Callable[[], Any]) -> None:
    """So their networks train as one, in every run."""
    kept = [torch.arange(float(n)) for n in range(9)]  # So that addresses differ.

    assert signature(Holding(make())) == signature(Holding(make()))
    assert len(kept) == 9


DIFFERENT: dict[str, tuple[Any, Any]] = {
    "partial": (partial(scale, factor=2.0), partial(scale, factor=3.0)),
    "tensor": (torch.zeros(3), torch.ones(3)),
    "type": (1, True),
    "zero": (0.0, -0.0),
    "items": (deque([1, 2]), deque([1, 3])),
    "function": (lambda x: x, lambda x: 2 * x),
    "lock": (threading.Lock(), threading.Lock()),
}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_attributes_of_other_content_differ(pair: tuple[Any, Any]) -> None:
    """What cannot be compared equals itself alone."""
    one, other = map(Holding, pair)

    assert signature(one) == signature(one)
    assert signature(one) != signature(other)


def test_an_object_that_holds_itself_has_a_key() -> None:
    """As does a module that lists its own parts."""

    def network() -> nn.Module:
        model = Holding(config := Config(1.0))
        config.act = config
        model.parts = [model, model.layer]  # type: ignore[assignment]
        return model

    assert signature(network()) == signature(network())


def test_networks_with_equal_hooks_are_equal() -> None:
    """PyTorch numbers hooks."""

    def network(factor: float) -> nn.Module:
        model = Holding(nn.ReLU())
        model.register_forward_pre_hook(partial(noted, factor=factor))
        return model

    def noted(module: nn.Module, inputs: Any, factor: float) -> None:
        """Do nothing."""

    assert signature(network(1.0)) == signature(network(1.0)) != signature(network(2.0))


def test_parametrized_networks_train_as_one() -> None:
    """PyTorch makes a class for each of them."""

    def network() -> nn.Module:
        return nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 8)), nn.Linear(8, 3))

    members = [Member(0.1, momentum=0.9, seed=seed) for seed in range(3)]
    loop, branches = (
        trained(Classes(network), rows, members, backend=each) for each in ("loop", "branches")
    )

    assert signature(network()) == signature(network())
    assert difference(loop, branches) < 1e-12


def test_settings_of_another_type_make_another_network() -> None:
    """`True`, `1` and `1.0` are equal in Python, also as the keys of a dictionary."""

    def network(width: float = 1.0) -> nn.Module:
        return mlp(4 if width is True else 5 if isinstance(width, int) else 6)

    data = rows(30)
    subject = PopulationTrainer(Classes(network), train=data, validation=data, epochs=1)
    widths = [True, 1, 1.0]
    ended = subject.train([Member(0.1, model={"width": width}) for width in widths])

    assert [len((each.state or {})["weights"]["0.bias"]) for each in ended] == [4, 5, 6]
    assert len({subject.multiply_adds(Member(0.1, model={"width": w})) for w in widths}) == 3


def test_the_largest_seed_trains() -> None:
    """A network with settings is examined beside one of the next seed, which there is not."""
    (ended,) = trained(Classes(mlp), rows, [Member(0.1, seed=2**63 - 1, model={"width": 4})])

    assert len(ended.epochs) == 2


def multiplying(factor: float, default: float = 1.0) -> Any:
    """Return a function of its own that holds a factor, and a default."""

    def multiply(x: Tensor, by: float = default) -> Tensor:
        return x * factor * by

    return multiply


def test_functions_made_for_each_network_are_equal_if_they_hold_the_same() -> None:
    """By their code, what they enclose, and their defaults."""
    equal = [signature(Holding(multiplying(2.0))) for _ in range(2)]
    others = [Holding(multiplying(3.0)), Holding(multiplying(2.0, 0.5)), Holding(lambda x: x)]
    found = {equal[0], *map(signature, others)}

    assert equal[0] == equal[1]
    assert len(found) == 4


class OfItself(nn.Module):
    """A network that holds a function that encloses the network."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.act: Any = lambda x: x.relu() if self.training else x

    def forward(self, x: Tensor) -> Tensor:
        """Return the function of the layer's outputs."""
        outputs: Tensor = self.act(self.layer(x))
        return outputs


def test_a_trainer_does_not_keep_the_networks_that_it_has_made() -> None:
    """Though a function of theirs encloses them: they are trained as one, and forgotten."""
    made: list[weakref.ref[nn.Module]] = []

    def make() -> nn.Module:
        network = OfItself()
        made.append(weakref.ref(network))
        return network

    data = rows(30)
    subject = PopulationTrainer(Classes(make), train=data, validation=data, epochs=1)
    subject.train([Member(0.1, seed=seed) for seed in range(6)])
    gc.collect()

    assert len(made) >= 6
    assert sum(each() is not None for each in made) <= 1


@pytest.mark.parametrize(
    ("change", "roughly", "found"),
    [(1e-7, False, ["kept"]), (1e-7, True, []), (0.1, True, ["kept"]), (0.0, False, [])],
)
def test_what_a_gpu_computes_again_is_no_change(
    change: float, roughly: bool, found: list[str]
) -> None:
    """Its sums may have another order each time; true changes are larger."""
    model = nn.Linear(2, 3)
    model.kept = torch.ones(4)
    before = signature(model, roughly=roughly)
    model.kept += change

    assert changed_attributes(before, signature(model, roughly=roughly)) == found


class Forgetful:
    """A factor that copies lose."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __reduce__(self) -> Any:
        return Forgetful, (1.0,)


class Scaled(nn.Module):
    """A linear layer and a factor, in a place of some kind."""

    __slots__ = ("slot",)

    def __init__(self, place: str, factor: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.place = place
        setattr(self, place, Forgetful(factor) if place == "reduced" else factor)

    def forward(self, x: Tensor) -> Tensor:
        """Return multiples of the layer's outputs."""
        held: Any = getattr(self, self.place)
        outputs: Tensor = self.layer(x) * (held.factor if self.place == "reduced" else held)
        return outputs


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches", "auto"])
@pytest.mark.parametrize("place", ["initial_state_dict", "_state_dict_of", "slot", "reduced"])
def test_each_network_has_its_own_attributes(place: str, backend: str) -> None:
    """Whatever their names, in slots, and where copies lose them."""
    members = [Member(0.1, model={"factor": factor}) for factor in (1.0, 5.0)]
    ended = trained(Classes(partial(Scaled, place)), rows, members, backend=backend)

    check_as_by_hand(Classes(lambda: Scaled(place, 5.0)), ended[1:], [Member(0.1)])


class Alone:
    """An object that equals itself alone."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError

    def __deepcopy__(self, memo: Any) -> Alone:
        return self


@pytest.mark.filterwarnings("ignore:.*train in .* groups, one after the other")
def test_what_a_trainer_knows_of_networks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps nothing of networks that are gone, though each is another one."""
    monkeypatch.setattr(_maker, "MAX_KNOWN", 5)
    made: list[weakref.ref[Any]] = []

    class Odd(nn.Linear):
        """A network of its own."""

        def __init__(self) -> None:
            super().__init__(6, 3)
            self.held = Alone()
            made.append(weakref.ref(self.held))

    data = rows(30)
    subject = PopulationTrainer(Classes(Odd), train=data, validation=data, epochs=1)
    ended = subject.train([Member(0.1, seed=seed) for seed in range(20)])
    again = subject.train([Member(0.1, seed=0)])
    gc.collect()

    assert difference(again, ended[:1]) == 0.0
    assert len(subject._engine._maker._facts) == 5
    assert sum(each() is not None for each in made) <= 5


class Decaying(Classes):
    """A task whose metrics change weights."""

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        next(model.parameters()).mul_(0.5)
        return super().metrics(model, batch)


@pytest.mark.filterwarnings("ignore:Networks are trained separately")
def test_what_is_known_of_a_network_outlives_it() -> None:
    """Such as that metrics change its weights, which are restored."""
    task, data = Decaying(mlp), rows(30)
    subject = PopulationTrainer(task, train=data, validation=data, epochs=2)
    one, other = Member(0.1, model={"width": 4}), Member(0.1, model={"width": 5})
    first = subject.train([one])
    subject.train([other])
    gc.collect()

    assert difference(first, subject.train([one])) == 0.0

"""Networks that compute with more than `vmap` and `branches` replace train as by PyTorch."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from optuna_ga.torch import Member, PopulationTrainer, Trained
from tests.torch.tasks import FOUR, MEMBERS, Classes, by_hand, difference, mlp, rows, trained

ignored = pytest.mark.filterwarnings("ignore:Networks are trained separately")


def check_as_by_hand(task: Any, ended: list[Trained], members: list[Member]) -> None:
    """Check weights, buffers and losses of two epochs, within 1e-9."""
    for member, end in zip(members, ended, strict=True):
        assert end.state is not None
        model = by_hand(task, rows(30), member, "sgd", 2).eval()
        expected = copy.deepcopy(model.state_dict())
        with torch.no_grad():
            loss = task.metrics(model, rows(20).take(torch.arange(20)))["loss"].item() / 20
        assert end.epochs[-1].metrics["loss"] == pytest.approx(loss, abs=1e-9)
        for name, tensor in {**end.state["weights"], **end.state["buffers"]}.items():
            assert torch.allclose(tensor, expected[name], rtol=0, atol=1e-9)


class Held(nn.Module):
    """A network that reaches some of its parts by functions, hooks or a list."""

    waves: Tensor

    def __init__(self, how: str) -> None:
        super().__init__()
        double: Any = {"dtype": torch.float64}  # At once, since later it makes other tensors.
        self.first = nn.Linear(6, 6, **double)
        self.register_buffer("waves", torch.randn(6, 6, **double))
        self.norm = nn.BatchNorm1d(6, **double)
        self.head = nn.Linear(6, 3, **double)
        self.held: Any = None
        if how == "buffer in a function":
            self.held = lambda x: (x @ self.waves).cos()
        elif how == "layers in a function":
            self.held = lambda x: self.first(x).tanh()
        elif how == "hook":
            self.first.register_forward_hook(lambda module, args, out: self.norm(out) @ self.waves)
            self.held = self.first
        elif how == "buffer in a list":
            kept = [self.waves]
            self.held = lambda x: (x @ kept[0]).cos()
        elif how == "statistic in a list":  # It is the same in all networks, at first.
            statistics: Any = [self.norm.running_var]
            self.held = lambda x: self.norm(self.first(x)) * statistics[0]
        else:
            weight = self.first.weight  # No part of what `vmap` replaces.
            self.held = lambda x: (x @ weight).tanh()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.head(self.held(x))
        return logits


BY_THEMSELVES = ["buffer in a function", "layers in a function", "hook"]
ELSEWHERE = ["buffer in a list", "statistic in a list", "weight in a function"]


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches", "auto"])
@pytest.mark.parametrize("how", [*BY_THEMSELVES, *ELSEWHERE])
@ignored
def test_a_network_that_holds_parts_elsewhere_has_its_own(how: str, backend: str) -> None:
    """Not those of the first network; who cannot do that says so."""
    task = Classes(partial(Held, how))
    if how in ELSEWHERE and backend in ("vmap", "branches"):
        with pytest.raises(ValueError, match="that they hold elsewhere"):
            trained(task, rows, FOUR, backend=backend)
    else:
        check_as_by_hand(task, trained(task, rows, FOUR, backend=backend), FOUR)


def test_auto_says_that_parts_are_held_elsewhere() -> None:
    """In a warning, as of all that is not trained as one."""
    with pytest.warns(RuntimeWarning, match="trained separately: they compute with.*elsewhere"):
        trained(Classes(partial(Held, "buffer in a list")), rows, FOUR)


class Hooked(Classes):
    """A task of networks with hooks on a parameter."""

    def __init__(self, kind: str) -> None:
        super().__init__(mlp)
        self._kind = kind

    def model(self, seed: int, **settings: Any) -> nn.Module:
        model = super().model(seed)
        weight = next(model.parameters())
        mask = torch.arange(16).remainder(2).view(16, 1).double()
        if self._kind == "gradient":
            weight.register_hook(lambda gradient: gradient * mask)
            return model

        def leave_out(parameter: Tensor) -> None:
            assert parameter.grad is not None
            parameter.grad.mul_(mask)

        weight.register_post_accumulate_grad_hook(leave_out)
        return model


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches", "auto"])
@pytest.mark.parametrize("kind", ["gradient", "accumulated gradient"])
@ignored
def test_hooks_on_parameters_are_called(kind: str, backend: str) -> None:
    """In each member's network; `vmap` and `branches` refuse them."""
    task = Hooked(kind)
    if backend in ("vmap", "branches"):
        with pytest.raises(ValueError, match="their parameters have hooks"):
            trained(task, rows, backend=backend)
    else:
        check_as_by_hand(task, trained(task, rows, backend=backend), MEMBERS)


class Keeping(nn.Module):
    """A network that keeps a penalty, always or in training alone."""

    penalty: Tensor

    def __init__(self, always: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 8), nn.Linear(8, 3)])
        self.always = always

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        hidden = self.layers[0](x).tanh()
        if self.always or self.training:
            self.penalty = hidden.square().mean()
        logits: Tensor = self.layers[1](hidden)
        return logits


class Penalised(Classes):
    """A task that reads the penalty which a network keeps."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = super().loss(model, batch)
        assert isinstance(model.penalty, Tensor)
        return loss + 0.1 * model.penalty


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches", "auto"])
@pytest.mark.parametrize("always", [True, False])
def test_a_network_may_keep_what_it_computes(always: bool, backend: str) -> None:
    """Also if another backend takes over, since members drop out."""
    task, data = Penalised(partial(Keeping, always)), rows(30)
    options: Any = {"epochs": 2, "optimizer": "sgd", "device": "cpu", "backend": backend}
    trainer = PopulationTrainer(task, train=data, validation=rows(20), **options)
    ended = trainer.train(FOUR, after_epoch=lambda epoch, results: [3])

    check_as_by_hand(task, ended[:3], MEMBERS)
    assert [len(each.epochs) for each in ended] == [2, 2, 2, 1]


class Orthogonal(Classes):
    """A task that computes an orthogonal weight once."""

    def __init__(self) -> None:
        super().__init__(lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 3))))

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        with parametrize.cached():
            return super().loss(model, batch)


@pytest.mark.parametrize("backend", ["loop", "threads", "auto", "vmap"])
@pytest.mark.parametrize("n", [3, 4])
@ignored
def test_the_cache_of_parametrizations_is_not_shared_by_threads(n: int, backend: str) -> None:
    """It belongs to the process."""
    task, members = Orthogonal(), FOUR[:n]
    if backend == "threads":
        with pytest.raises(ValueError, match="one cache for all threads"):
            trained(task, rows, members, backend=backend)
    elif backend != "vmap" or not _vmap_refuses(task):
        check_as_by_hand(task, trained(task, rows, members, backend=backend), members)


def _vmap_refuses(task: Any) -> bool:
    try:
        trained(task, rows, backend="vmap")
    except ValueError:
        return True
    return False


class Decaying(Classes):
    """A task whose metrics ask which parameters are trained."""

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        found = super().metrics(model, batch)
        penalty = sum(
            (p.square().sum() for p in model.parameters() if p.requires_grad), 0 * found["loss"]
        )
        return {**found, "loss": found["loss"] + len(batch[0]) * penalty}


@pytest.mark.parametrize("backend", ["loop", "threads", "branches", "auto", "vmap"])
@ignored
def test_metrics_see_which_parameters_are_trained(backend: str) -> None:
    """But by `vmap`, which then says so."""

    def network() -> nn.Module:
        model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
        model[0].requires_grad_(False)
        return model

    task = Decaying(network)
    if backend == "vmap":
        with pytest.raises(ValueError, match="hides from metrics which parameters are trained"):
            trained(task, rows, FOUR, backend=backend)
    else:
        check_as_by_hand(task, trained(task, rows, FOUR, backend=backend), FOUR)


class Renormed(nn.Module):
    """A layer, and then an embedding whose weights are kept short."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 4))
        self.embed = nn.Embedding(2, 4, max_norm=0.8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        hidden = torch.cat([self.first(x), self.embed((x[:, 0] > 0).long())], 1)
        logits: Tensor = self.head(hidden)
        return logits


class Clamped(Classes):
    """A task that bounds weights, before or after the forward pass, in place or by `.data`."""

    def __init__(self, when: str) -> None:
        super().__init__(mlp)
        self._when = when

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        before = self._when == "before" and self._clamp(model)
        loss = super().loss(model, batch)
        if not before:
            self._clamp(model)
        return loss

    def _clamp(self, model: nn.Module) -> bool:
        for parameter in islice(model.parameters(), 1 if self._when == "after" else None):
            if self._when == "data":
                parameter.data = parameter.data.clamp(-0.41, 0.41)  # Not yet an initial weight.
            else:
                with torch.no_grad():
                    parameter.clamp_(-0.41, 0.41)
        return True


IN_PLACE = {"embedding": Classes(Renormed), **{w: Clamped(w) for w in ("before", "after", "data")}}


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches", "auto"])
@pytest.mark.parametrize("how", IN_PLACE)
@ignored
def test_changes_of_weights_in_place_are_kept(how: str, backend: str) -> None:
    """By those that can; the others refuse."""
    members = [Member(0.5, momentum=0.9, seed=seed) for seed in range(4)]
    is_refused = backend == "vmap" or (backend == "branches" and how != "before")
    with pytest.raises(ValueError, match="`backend` must not") if is_refused else nullcontext():
        check_as_by_hand(
            IN_PLACE[how], trained(IN_PLACE[how], rows, members, backend=backend), members
        )


@pytest.mark.parametrize("backend", ["loop", "vmap", "branches", "auto"])
@pytest.mark.parametrize("how", IN_PLACE)
def test_changes_of_weights_in_place_are_refused_in_bfloat16(how: str, backend: str) -> None:
    """The task sees casts of the weights."""
    task = copy.copy(IN_PLACE[how])
    task._dtype = torch.float32
    data = partial(rows, dtype=torch.float32)
    with pytest.raises(ValueError, match="must not change the parameters to train itself"):
        trained(task, data, backend=backend, precision="bfloat16")


class Late(nn.Module):
    """A network with a number that has an effect after a dozen steps."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.n = 0

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        self.n += self.training
        logits: Tensor = self.layer(x)
        return logits * 2 if self.n > 12 else logits


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches", "auto"])
def test_an_attribute_that_changes_with_each_call_is_refused(backend: str) -> None:
    """Before it has an effect, by its name."""
    with pytest.raises(ValueError, match=r"keep all of a network's state.*attribute `1\.n`"):
        trained(Classes(lambda: nn.Sequential(nn.Identity(), Late())), rows, backend=backend)


class Drawing(Classes):
    """A task that leaves out its inputs by chance."""

    def __init__(self, draw: Callable[[], float]) -> None:
        super().__init__(mlp)
        self._draw = draw

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return super().loss(model, (x * (self._draw() < 0.9), y))


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches", "auto"])
@pytest.mark.parametrize("draw", [random.random, np.random.rand])
def test_draws_that_no_seed_determines_are_refused(draw: Any, backend: str) -> None:
    """The user's generators stay as they are."""
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    with pytest.raises(ValueError, match="must draw random numbers by PyTorch"):
        trained(Drawing(draw), rows, backend=backend)

    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore


def test_what_another_thread_draws_is_no_matter_of_the_network() -> None:
    """Neither by PyTorch nor by Python."""
    stops = threading.Event()

    def draw() -> None:
        while not stops.is_set():
            torch.rand(3)
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        ended = trained(Classes(mlp), rows, backend="vmap")
    finally:
        stops.set()
        thread.join()

    assert all(each.state is not None for each in ended)


class Backbone(Classes):
    """A task whose networks share a frozen part, and may hold a function of themselves."""

    def __init__(self, holds: bool = False) -> None:
        super().__init__(mlp)
        self.shared = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).double()
        self.shared.requires_grad_(False)
        self._holds = holds

    def model(self, seed: int, **settings: Any) -> nn.Module:
        model = nn.Sequential(self.shared, nn.Linear(4, 3).double())
        if self._holds:
            model[1].register_forward_hook(lambda module, args, out: out + model[1].bias)
        return model


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
def test_parts_that_a_task_shares_stay_as_they_are(backend: str) -> None:
    """Each member has its own statistics."""
    task = Backbone()
    before = copy.deepcopy(task.shared.state_dict())
    together = trained(task, rows, backend=backend)
    alone = [trained(task, rows, [each])[0] for each in MEMBERS]

    assert difference(together, alone) < 1e-12
    assert all(torch.equal(before[name], each) for name, each in task.shared.state_dict().items())


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches", "auto"])
def test_shared_parts_in_networks_that_cannot_be_copied_are_refused(backend: str) -> None:
    """Members would compute with the statistics of others."""
    with pytest.raises(ValueError, match="must return a network of new parts"):
        trained(Backbone(holds=True), rows, backend=backend)


class Fixed(nn.Module):
    """A layer of waves that are no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.waves = [torch.randn(6, 6, dtype=torch.float64)]
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.head((x @ self.waves[0]).cos())
        return logits


@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_a_child_has_all_of_its_parents_network(backend: str) -> None:
    """Also what is by the seed and no part of the state."""
    whole, task = trained(Classes(Fixed), rows, MEMBERS[:1], backend=backend), Classes(Fixed)
    half = trained(task, rows, MEMBERS[:1], backend=backend, epochs=1)
    trainer = PopulationTrainer(
        task, train=rows(30), validation=rows(20), epochs=1, optimizer="sgd", device="cpu"
    )
    child = Member(MEMBERS[0].learning_rate, momentum=0.9, weight_decay=0.01, seed=5)
    (ended,) = trainer.train([child], states=[half[0].state])

    assert ended.epochs[0].metrics["loss"] == pytest.approx(whole[0].epochs[1].metrics["loss"])

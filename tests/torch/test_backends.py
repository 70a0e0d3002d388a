"""Every backend trains each network as PyTorch alone does."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any
from weakref import WeakSet

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from optuna_ga.torch import Constant, Cosine, Member, PopulationTrainer, StepDecay, TensorData
from tests.torch.tasks import (
    KINDS,
    MEMBERS,
    Classes,
    Encoder,
    Recurrent,
    by_hand,
    cnn,
    difference,
    images,
    mlp,
    rows,
    tokens,
    trained,
)

NETWORKS: dict[str, tuple[Callable[..., nn.Module], Callable[..., TensorData]]] = {
    "mlp": (partial(mlp, dropout=0.3), rows),
    "convolutions and normalisation": (partial(cnn, dropout=0.2), images),
    "attention and embeddings": (partial(Encoder, dropout=0.1), tokens),
    "GRU": (partial(Recurrent, nn.GRU), tokens),
}


@pytest.mark.parametrize("backend", ["loop", "vmap"])
@pytest.mark.parametrize("optimizer", KINDS)
def test_each_optimizer_equals_that_of_pytorch(optimizer: str, backend: str) -> None:
    """Thirty-two steps in float64, each member with settings of its own: within 1e-9."""
    members = [replace(each, momentum=each.momentum or 0.1) for each in MEMBERS]
    options = {"optimizer": optimizer, "epochs": 8, "backend": backend}
    ended = trained(Classes(mlp), rows, members, **options)

    for member, end in zip(members, ended, strict=True):
        assert end.state is not None
        model = by_hand(Classes(mlp), rows(30), member, optimizer, 8)
        for name, weights in model.named_parameters():
            assert (end.state["weights"][name] - weights).abs().max().item() < 1e-9


class Scaled(nn.Module):
    """A layer with a learnt temperature, and a parameter without numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.nothing = nn.Parameter(torch.empty(0, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled outputs."""
        outputs: Tensor = self.layer(x) * self.scale + self.nothing.sum()
        return outputs


class Shared(nn.Module):
    """Layers that several names share, and a statistic that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.again = self.first
        self.norms = nn.ModuleList([nn.BatchNorm1d(6), nn.BatchNorm1d(6)])
        self.norms[1].running_mean = self.norms[0].running_mean
        self.norm = self.norms[0]
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        hidden = self.norms[1](self.norms[0](self.again(self.first(x).tanh())))
        logits: Tensor = self.head(self.norm(hidden))
        return logits


class Positioned(nn.Module):
    """A layer whose positions the first call makes."""

    def __init__(self, is_buffer: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.is_buffer = is_buffer
        self.made: Any = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        if self.made is None:
            made = torch.linspace(0, 1, 6).to(x)
            if self.is_buffer:
                del self.made
                self.register_buffer("made", made)
            else:
                self.made = made
        positions: Any = self.made
        logits: Tensor = self.layer(x + positions)
        return logits


class Named(nn.Module):
    """Layers that are called by names of arguments, and one that returns a pair."""

    class Pair(nn.Linear):
        """A layer that returns its regularisation, too."""

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            """Return the outputs, and the weights' square."""
            return super().forward(x), self.weight.square().sum()

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(2, 4, batch_first=True)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = self.Pair(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        hidden = self.cells(input=x.view(-1, 3, 2))[0]
        hidden = self.attention(query=hidden, key=hidden, value=hidden, need_weights=False)[0]
        logits, penalty = self.head(hidden[:, -1])
        result: Tensor = logits + penalty
        return result


class Counted(nn.Module):
    """A layer that counts its calls, and averages its inputs, in evaluation, too."""

    calls: Tensor
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("mean", torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        logits: Tensor = self.layer(x - self.mean) * (1 + 0.1 * self.calls)
        return logits


class Averaged(nn.Module):
    """A layer with a frozen parameter that follows its inputs' mean, in evaluation, too."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.mean = nn.Parameter(torch.zeros(6), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        with torch.no_grad():
            self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        logits: Tensor = self.layer(x - self.mean)
        return logits


UNUSUAL: dict[str, Callable[[], nn.Module]] = {
    "scalar parameter": Scaled,
    "shared layers": Shared,
    "arguments by name": Named,
    "buffers that every call changes": Counted,
    "frozen parameter that every call changes": Averaged,
    "attribute of a first call": partial(Positioned, False),
    "buffer of a first call": partial(Positioned, True),
}


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches", "auto"])
@pytest.mark.parametrize("network", UNUSUAL)
def test_an_unusual_network_trains_as_by_pytorch(network: str, backend: str) -> None:
    """Weights, buffers and losses are those of a plain loop whose evaluation changes nothing."""
    task = Classes(UNUSUAL[network])
    ended = trained(task, rows, backend=backend)

    for member, end in zip(MEMBERS, ended, strict=True):
        assert end.state is not None
        model = by_hand(task, rows(30), member, "sgd", 2).eval()
        expected = copy.deepcopy(model.state_dict())
        losses = [task.metrics(copy.deepcopy(model), b)["loss"] for b in rows(20).batches(8)]
        loss = torch.stack(losses).sum().item() / 20
        assert end.epochs[-1].metrics["loss"] == pytest.approx(loss, abs=1e-9)
        for name, tensor in {**end.state["weights"], **end.state["buffers"]}.items():
            assert torch.allclose(tensor, expected[name], rtol=0, atol=1e-9)


class Checkpointed(nn.Module):
    """A network of which a part may be computed again for its gradient."""

    def __init__(self, is_again: bool = True, dropout: float = 0.0, reentrant: bool = False):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.part = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh())
        self.part.append(nn.Dropout(dropout) if dropout else nn.Identity())
        self.head = nn.Linear(8, 3)
        self.is_again, self.reentrant = is_again, reentrant

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        hidden = self.first(x)
        if self.is_again and self.training:
            hidden = checkpoint(self.part, hidden, use_reentrant=self.reentrant)
        else:
            hidden = self.part(hidden)
        logits: Tensor = self.head(hidden)
        return logits


class Packed(nn.Module):
    """A recurrent network over packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.LSTM(2, 4, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        lengths = torch.arange(len(x)) % 3 + 1
        packed = nn.utils.rnn.pack_padded_sequence(x.view(-1, 3, 2), lengths, True, False)
        logits: Tensor = self.head(self.cells(packed)[1][0][-1])
        return logits


@pytest.mark.parametrize("network", [Checkpointed, Packed])
@pytest.mark.parametrize("backend", ["loop", "threads", "branches", "auto"])
@pytest.mark.filterwarnings("ignore:Networks are trained separately")
def test_a_network_that_vmap_refuses_trains_as_by_pytorch(network: Any, backend: str) -> None:
    """What is computed again for gradients has the member's numbers, not another network's."""
    task = Classes(network)
    ended = trained(task, rows, backend=backend)

    for member, end in zip(MEMBERS, ended, strict=True):
        assert end.state is not None
        model = by_hand(task, rows(30), member, "sgd", 2)
        for name, weights in model.named_parameters():
            assert (end.state["weights"][name] - weights).abs().max().item() < 1e-9


@pytest.mark.parametrize("backend", ["loop", "threads", "branches"])
def test_a_checkpointed_network_trains_in_bfloat16(backend: str) -> None:
    """To the bit as without checkpoints."""

    class Unnormalised(Checkpointed):
        def __init__(self, is_again: bool) -> None:
            super().__init__(is_again)
            self.part[1] = nn.Identity()

    again, once = (
        trained(
            Classes(partial(Unnormalised, is_again), torch.float32),
            partial(rows, dtype=torch.float32),
            backend=backend,
            precision="bfloat16",
        )
        for is_again in (True, False)
    )

    assert difference(again, once) == 0.0


@pytest.mark.parametrize("backend", ["loop", "threads", "branches", "auto"])
@pytest.mark.parametrize(
    ("options", "words"),
    [({"dropout": 0.5}, "must not use.*dropout"), ({"reentrant": True}, "use_reentrant=False")],
)
def test_a_checkpoint_that_would_compute_otherwise_is_refused(
    options: Any, words: str, backend: str
) -> None:
    """With dropout the second computation would draw other numbers."""
    with pytest.raises(ValueError, match=words):
        trained(Classes(partial(Checkpointed, **options)), rows, backend=backend)


class Waves(nn.Module):
    """Two layers of complex numbers."""

    turn: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(6, 8, dtype=torch.complex128) / 3)
        self.second = nn.Parameter(torch.randn(8, 3, dtype=torch.complex128) / 3)
        self.register_buffer("turn", torch.tensor(1j, dtype=torch.complex128))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        hidden = (x.to(torch.complex128) @ self.first).tanh().conj() * self.turn
        return (hidden @ self.second).abs()


@pytest.mark.parametrize("backend", ["loop", "vmap", "branches"])
@pytest.mark.parametrize("optimizer", KINDS)
@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_complex_weights_train_as_by_pytorch(optimizer: str, backend: str) -> None:
    """Their real and imaginary parts have moments of their own: within 1e-9."""
    members = [replace(each, momentum=each.momentum or 0.1) for each in MEMBERS]
    task = Classes(Waves, torch.complex128)
    ended = trained(task, rows, members, optimizer=optimizer, epochs=3, backend=backend)

    for member, end in zip(members, ended, strict=True):
        assert end.state is not None
        model = by_hand(task, rows(30), member, optimizer, 3)
        for name, weights in model.named_parameters():
            assert (end.state["weights"][name] - weights).abs().max().item() < 1e-9


@pytest.mark.parametrize("network", NETWORKS)
def test_each_backend_equals_the_loop(network: str) -> None:
    """In float64 weights, running statistics, momenta and losses agree within 1e-12."""
    make, data = NETWORKS[network]
    loop = trained(Classes(make), data, backend="loop")
    found = {
        backend: difference(loop, trained(Classes(make), data, backend=backend))
        for backend in ("threads", "vmap", "branches")
    }

    assert max(found.values()) < 1e-12, found


@pytest.mark.parametrize("optimizer", KINDS)
def test_bfloat16_weights_train_as_in_the_loop(optimizer: str) -> None:
    """Adam's corrections are not 0, as they would be in bfloat16."""
    task, data = Classes(mlp, torch.bfloat16), partial(rows, dtype=torch.bfloat16)
    members = [replace(each, clip_norm=math.inf) for each in MEMBERS]
    options: Any = {"optimizer": optimizer, "epochs": 3}
    loop, vmap = (trained(task, data, members, backend=b, **options) for b in ("loop", "vmap"))

    assert difference(loop, vmap) < 0.15


def test_betas_close_to_one_train_in_float32() -> None:
    """In float32 the square of such a beta is 1."""
    task, data = Classes(mlp, torch.float32), partial(rows, dtype=torch.float32)
    members = [Member(0.01, betas=(0.9, 1 - 1e-9))]
    options: Any = {"optimizer": "adam", "epochs": 3}
    loop, vmap = (trained(task, data, members, backend=b, **options) for b in ("loop", "vmap"))

    assert difference(loop, vmap) < 1e-4


@pytest.mark.parametrize("backend", ["vmap", "branches"])
def test_a_member_without_clipping_is_untouched_by_one_with(backend: str) -> None:
    """Also where the norm of its gradient is infinite, though no number is."""

    class Steep(Classes):
        def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            return super().loss(model, batch) * 1e22

    task, data = Steep(mlp, torch.float32), partial(rows, dtype=torch.float32)
    free, clipped = Member(1e-23), Member(1e-3, clip_norm=1.0)
    alone = trained(task, data, [free, free], backend=backend)
    beside = trained(task, data, [free, clipped], backend=backend)

    assert difference(alone[:1], beside[:1]) == 0.0


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
def test_betas_may_be_integers(backend: str) -> None:
    """PyTorch refuses a mixture with floats; the members are those of floats."""
    integer, decimal = (Member(0.01, betas=(beta, 0.999)) for beta in (0, 0.0))
    one, other = (trained(Classes(mlp), rows, [m], backend=backend) for m in (integer, decimal))

    assert difference(one, other) == 0.0


class PartlyUsed(nn.Module):
    """Layers of which one is for evaluation, and one for short batches and evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.always = nn.Linear(6, 3)
        self.never = nn.Linear(6, 3)
        self.shortly = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the layers in use."""
        outputs: Tensor = self.always(x)
        if not self.training:
            outputs = outputs + self.never(x)
        return outputs if self.training and len(x) == 8 else outputs + self.shortly(x)


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
@pytest.mark.parametrize(
    ("n_examples", "optimizer"), [*product([6], KINDS), (30, "sgd"), (30, "nesterov")]
)
def test_parameters_without_a_gradient_are_left_alone(
    n_examples: int, optimizer: str, backend: str
) -> None:
    """As by PyTorch's optimizers, they neither decay nor go on by their momentum.

    Thirty examples have a short batch, which trains a parameter that others leave alone. Adam's
    steps would be its own, but are those of the whole training.
    """
    members = [replace(each, momentum=0.9, weight_decay=0.1, batch_size=8) for each in MEMBERS]
    task, data = Classes(PartlyUsed), rows(n_examples)
    options: Any = {"epochs": 2, "optimizer": optimizer, "backend": backend}
    trainer = PopulationTrainer(task, train=data, validation=data, **options)

    for member, end in zip(members, trainer.train(members), strict=True):
        assert end.state is not None
        model = by_hand(task, data, member, optimizer, 2)
        for name, weights in model.named_parameters():
            assert (end.state["weights"][name] - weights).abs().max().item() < 1e-9


def test_normalisation_keeps_statistics_of_its_own() -> None:
    """Members that learn nothing differ in their running means, since their filters differ."""
    members = [Member(0.0, seed=0), Member(0.0, seed=1)]
    one, other = trained(Classes(cnn), images, members, backend="vmap")

    assert one.state is not None
    assert other.state is not None
    assert int(one.state["buffers"]["1.num_batches_tracked"]) == 8
    assert not torch.equal(
        one.state["buffers"]["1.running_mean"], other.state["buffers"]["1.running_mean"]
    )


@pytest.mark.parametrize("schedule", [Constant(), StepDecay(0.5), Cosine(warm_up=0.5)])
@pytest.mark.parametrize("backend", ["vmap", "branches"])
def test_schedules_act_before_every_step(schedule: Any, backend: str) -> None:
    """Both the trainer's schedule and a member's own act alike in every backend."""
    members = [MEMBERS[0], replace(MEMBERS[1], schedule=StepDecay(0.1))]
    options = {"schedule": schedule, "optimizer": "adamw"}
    loop, other = (
        trained(Classes(mlp), rows, members, backend=each, **options) for each in ("loop", backend)
    )

    assert difference(loop, other) < 1e-12


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
def test_a_diverging_member_changes_no_other(backend: str) -> None:
    """The other members equal, to the bit, those of a population where none diverges."""
    options = {"backend": backend, "epochs": 3}
    good = trained(Classes(cnn), images, [MEMBERS[0], MEMBERS[1], MEMBERS[2]], **options)
    for bad in (Member(1e200), Member(math.inf)):
        mixed = trained(Classes(cnn), images, [MEMBERS[0], bad, MEMBERS[2]], **options)

        assert mixed[1].state is None
        assert difference([good[0], good[2]], [mixed[0], mixed[2]]) == 0.0


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
def test_a_result_does_not_depend_on_place_or_company(backend: str) -> None:
    """This holds with dropout, too, since masks depend on a member's seed alone."""
    task = Classes(partial(mlp, dropout=0.5))
    members = [replace(each, seed=5) for each in MEMBERS]
    forward = trained(task, rows, members, backend=backend)
    backward = trained(task, rows, members[::-1], backend=backend)
    alone = trained(task, rows, members[:1], backend=backend)

    assert difference(forward, backward[::-1]) < 1e-14
    assert difference(forward[:1], alone) < 1e-14


def test_dropout_differs_between_seeds_and_not_between_equals() -> None:
    """Two members of one seed share their masks; a member of another seed has its own."""
    task = Classes(partial(mlp, dropout=0.5))
    members = [Member(0.1), Member(0.1), Member(0.1, seed=1)]
    one, equal, other = trained(task, rows, members, backend="vmap")

    assert difference([one], [equal]) == 0.0
    assert difference([one], [other]) > 0.01


@pytest.mark.parametrize("backend", ["loop", "vmap", "branches"])
@pytest.mark.parametrize("make", [partial(mlp, dropout=0.1), cnn])
def test_bfloat16_trains_alike(make: Any, backend: str) -> None:
    """Results differ by rounding; weights and statistics stay in float32."""
    data = images if make is cnn else rows
    data = partial(data, dtype=torch.float32)
    task = Classes(make, torch.float32)
    exact, rough = (
        trained(task, data, backend=backend, precision=p) for p in ("float32", "bfloat16")
    )

    assert 0 < difference(exact, rough) < 0.3
    assert rough[0].state is not None
    assert {t.dtype for t in rough[0].state["weights"].values()} == {torch.float32}


def test_members_may_differ_in_shape_and_batches() -> None:
    """Members of a group train as each would alone."""
    members = [
        Member(0.1, model={"width": 4}),
        Member(0.1, model={"width": 8}, batch_size=5),
        Member(0.2, model={"width": 4}),
    ]
    together = trained(Classes(mlp), rows, members, backend="vmap")
    alone = [trained(Classes(mlp), rows, [each], backend="loop")[0] for each in members]

    assert difference(together, alone) < 1e-12


class Watching(Classes):
    """A task that counts the networks that are in memory while one of them trains."""

    def __init__(self) -> None:
        super().__init__(mlp)
        self.networks: WeakSet[nn.Module] = WeakSet()
        self.most = 0

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        self.networks.add(model)
        self.most = max(self.most, len(self.networks))
        return super().loss(model, batch)


def test_the_loop_has_one_network_in_memory_at_a_time() -> None:
    """The next member takes its place."""
    task, data = Watching(), rows(30)
    subject = PopulationTrainer(task, train=data, validation=data, epochs=2, backend="loop")
    task.networks.clear()
    task.most = 0
    subject.train(MEMBERS)

    assert task.most == 1

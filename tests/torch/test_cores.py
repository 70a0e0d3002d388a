"""Members, and stacks of members, side by side on the cores of a CPU."""

from __future__ import annotations

import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from optuna_ga.torch import Member, PopulationTrainer, TensorData, Trained
from optuna_ga.torch._backends import cores
from optuna_ga.torch._backends.cores import CoresBackend
from optuna_ga.torch._backends.stack import StackBackend
from optuna_ga.torch._networks.structure import Structure
from optuna_ga.torch._training import Epoch, Training
from tests.torch.tasks import Classes, Encoder, cnn, difference, images, mlp, rows, tokens, trained

MEMBERS = [Member(0.01 * (1 + n), momentum=0.9, seed=n) for n in range(5)]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of members of all stacks that train for an epoch."""
    train_epoch, found = StackBackend.train_epoch, []

    def noted(self: StackBackend, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        found.append(len(members))
        return train_epoch(self, members)

    monkeypatch.setattr(StackBackend, "train_epoch", noted)
    return found


@pytest.fixture
def three_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small generations split, too, on any machine."""
    monkeypatch.setattr(cores, "_PRODUCTS", 1)
    monkeypatch.setattr(cores, "n_cores", lambda: 3)


@pytest.mark.usefixtures("three_stacks")
@pytest.mark.parametrize(
    ("network", "data"),
    [
        (partial(mlp, dropout=0.3), rows),
        (partial(cnn, dropout=0.2), images),
        (partial(Encoder, dropout=0.1), tokens),
    ],
)
def test_stacks_train_as_separate_networks(
    network: Callable[..., nn.Module], data: Callable[..., TensorData], sizes: list[int]
) -> None:
    """Stacks have masks and statistics of their own: within 1e-12 after two epochs."""
    together = trained(Classes(network), data, MEMBERS, backend="vmap")
    separate = trained(Classes(network), data, MEMBERS, backend="loop")

    assert sorted(sizes) == [1, 1, 2, 2, 2, 2]
    assert difference(together, separate) < 1e-12


@pytest.mark.usefixtures("three_stacks")
def test_a_smaller_generation_takes_fewer_stacks() -> None:
    """A trainer's second generation of two members, and a third of five, go on as they should."""

    def generations(backend: str) -> list[Trained]:
        trainer = PopulationTrainer(
            Classes(mlp), train=rows(30), validation=rows(20), epochs=1, optimizer="adam",
            device="cpu", backend=backend,
        )  # fmt: skip
        first = trainer.train(MEMBERS)
        states = [each.state for each in first]
        second = trainer.train(MEMBERS[3:], states=states[3:])
        return [*first, *second, *trainer.train(MEMBERS, states=states)]

    assert difference(generations("vmap"), generations("loop")) < 1e-12


@pytest.mark.usefixtures("three_stacks")
def test_a_failure_in_one_stack_ends_the_others() -> None:
    """The error is that of the generation, long before the end of the epoch."""
    steps: dict[int, int] = {}

    class Fails(Classes):
        def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            if (thread := threading.current_thread()) is not threading.main_thread():
                steps[thread.native_id or 0] = steps.get(thread.native_id or 0, 0) + 1
                if len(steps) == 3 and steps[thread.native_id or 0] == 5:
                    raise RuntimeError("in a thread")
            return super().loss(model, batch)

    trainer = PopulationTrainer(
        Fails(mlp), train=rows(3_000, batch_size=1), validation=rows(20), epochs=1,
        optimizer="sgd", device="cpu", backend="vmap",
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="in a thread"):
        trainer.train(MEMBERS)
    assert max(steps.values()) < 1_500
    (alone,) = trainer.train(MEMBERS[:1])
    assert alone.state is not None


@pytest.mark.usefixtures("three_stacks", "heeded_sigint")
@pytest.mark.parametrize("backend", ["threads", "vmap"])
def test_an_interruption_ends_the_epoch(backend: str) -> None:
    """Ctrl-C waits for a batch, not for the trainings; the trainer may be used again."""
    steps = count(1)

    class Interrupted(Classes):
        def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            in_thread = threading.current_thread() is not threading.main_thread()
            if in_thread and next(steps) == 10:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            return super().loss(model, batch)

    trainer = PopulationTrainer(
        Interrupted(mlp), train=rows(3_000, batch_size=1), validation=rows(20), epochs=1,
        optimizer="sgd", device="cpu", backend=backend,
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        trainer.train(MEMBERS)
    assert 10 < next(steps) < 1_500
    (alone,) = trainer.train(MEMBERS[:1])
    assert alone.state is not None


@pytest.mark.usefixtures("three_stacks")
def test_networks_in_turn_keep_their_stacks(sizes: list[int]) -> None:
    """Another structure costs neither a new examination nor the memory of new stacks."""
    widths = [replace(each, model={"width": 8 + n % 2}) for n, each in enumerate(MEMBERS * 2)]
    trainer = PopulationTrainer(
        Classes(mlp), train=rows(30), validation=rows(20), epochs=1, optimizer="sgd",
        device="cpu", backend="vmap",
    )  # fmt: skip
    for _ in range(3):
        trainer.train(widths)
    (backend,) = trainer._engine._dispatcher._backends.values()

    assert len(sizes) == 3 * 2 * 3
    assert isinstance(backend, CoresBackend)
    assert [len(stack._stacks) for stack in backend._stacks] == [2, 2, 2]


class Keeps(nn.Module):
    """A network that keeps what it has computed, which `copy.deepcopy` refuses or not."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.logits = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        self.logits = self.layer(x)
        return self.logits


@pytest.mark.usefixtures("three_stacks")
@pytest.mark.parametrize("can_be_copied", [True, False])
def test_a_network_that_keeps_what_it_computes_trains(
    can_be_copied: bool, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one stack, if it cannot be copied."""
    if not can_be_copied:
        monkeypatch.setattr(Structure, "copied", lambda structure: structure.refuses)
    data = rows(30, batch_size=10)

    def ended(network: Callable[..., nn.Module], backend: str) -> list[Trained]:
        trainer = PopulationTrainer(
            Classes(network), train=data, validation=data, epochs=2, optimizer="sgd",
            device="cpu", backend=backend,
        )  # fmt: skip
        return trainer.train(MEMBERS)

    def plain() -> nn.Module:
        return nn.Sequential(OrderedDict(layer=nn.Linear(6, 3)))

    together = ended(Keeps, "vmap")

    assert sorted(sizes) == ([1, 1, 2, 2, 2, 2] if can_be_copied else [5, 5])
    assert difference(together, ended(plain, "loop")) < 1e-12


@pytest.mark.usefixtures("three_stacks")
def test_a_loader_is_read_once_for_all(sizes: list[int]) -> None:
    """Members see the batches of one pass, so they train as one stack."""
    data = TensorDataset(*rows(30).take(torch.arange(30)))
    trainer = PopulationTrainer(
        Classes(mlp), train=DataLoader(data, batch_size=8, shuffle=True), validation=rows(20),
        epochs=2, optimizer="sgd", device="cpu", backend="vmap",
    )  # fmt: skip
    trainer.train(MEMBERS)

    assert sizes == [5, 5]


@pytest.mark.usefixtures("three_stacks")
def test_the_users_kernels_of_attention_are_restored() -> None:
    """Threads that leave one after the other do not restore each other's choice."""
    before = torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()
    torch.backends.cuda.enable_math_sdp(False)
    try:
        trained(Classes(Encoder), tokens, MEMBERS, backend="vmap")
        after = torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()
    finally:
        torch.backends.cuda.enable_math_sdp(before[1])

    assert after == (before[0], False)


@pytest.mark.parametrize(
    ("n_members", "batch_size", "stacks"), [(20, 64, 2), (5, 64, 1), (5, 256, 2), (1, 4096, 1)]
)
def test_stacks_are_as_many_as_have_enough_work(
    n_members: int,
    batch_size: int,
    stacks: int,
    sizes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On two cores: by members, examples of a batch and products of an example."""
    monkeypatch.setattr(cores, "n_cores", lambda: 2)
    task = Classes(lambda: nn.Sequential(nn.Linear(6, 3000), nn.ReLU(), nn.Linear(3000, 3)))
    members = [replace(MEMBERS[0], seed=n) for n in range(n_members)]
    data = rows(batch_size, batch_size=batch_size)
    PopulationTrainer(
        task, train=data, validation=data, epochs=1, optimizer="sgd", device="cpu", backend="vmap"
    ).train(members)

    assert len(sizes) == stacks
    assert sum(sizes) == n_members


def test_stacks_of_convolutions_have_the_work_of_their_products(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which are many more than their weights."""
    monkeypatch.setattr(cores, "n_cores", lambda: 2)
    task = Classes(
        lambda: nn.Sequential(
            nn.Conv2d(2, 256, 3, padding=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(256, 3),
        )
    )
    data, members = images(32, batch_size=32), [replace(MEMBERS[0], seed=n) for n in range(5)]
    PopulationTrainer(
        task, train=data, validation=data, epochs=1, optimizer="sgd", device="cpu", backend="vmap"
    ).train(members)

    assert sorted(sizes) == [2, 3]

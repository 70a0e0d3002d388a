"""The examination calls the task, and leaves no traces of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from types import CellType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor, is_gradtrackingtensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga.torch import Member, PopulationTrainer
from tests.torch.tasks import FOUR, MEMBERS, Classes, by_hand, mlp, rows
from tests.torch.test_own_parameters import check_as_by_hand


class Log(list[float]):
    """A list that counts what was appended."""

    n = 0

    def append(self, value: float) -> None:
        super().append(value)
        self.n += 1


_seen = 0
_history: list[Tensor] = []


class Noting(Classes):
    """A task that notes its calls in a place of each kind."""

    calls = 0

    def __init__(self) -> None:
        super().__init__(mlp)
        self.n = 0
        self.history: list[Tensor] = []
        self.by_phase: dict[tuple[str], float] = {}
        self.by_name: dict[str, float] = {}
        self.by_step: dict[int, float] = {}
        self.least = float("inf")
        self.trail = b""
        self.latest: deque[float] = deque(maxlen=3)
        self.log = Log()
        self.long = [0.0] * 20_001
        self.given = partial(list[float].append, list[float]())
        self.lengths: set[int] = set()
        self.total = torch.zeros((), dtype=torch.float64)
        self.sums = np.zeros(2)
        self.nested = SimpleNamespace(n=0, deeper=[[]])
        self.teacher = nn.BatchNorm1d(6).double()
        enclosed, first = 0, 0
        del first

        def note() -> int:
            nonlocal enclosed, first
            enclosed += 1
            first = enclosed
            return enclosed

        self.note = note

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        global _seen
        loss = super().loss(model, batch)
        self.teacher(batch[0])
        with torch.no_grad():
            self.total += float(loss)
        _seen += 1
        _history.append(loss.detach())
        self.n += 1
        type(self).calls += 1
        self.history.append(loss.detach())
        self.by_phase["loss",] = self.n
        self.by_name["loss"] = self.n
        if not is_batchedtensor(loss) and not is_gradtrackingtensor(loss):
            self.least = min(self.least, float(loss.detach()))
        self.trail += b"."
        self.by_step[self.n] = 1.0
        self.latest.append(1.0)
        self.log.append(1.0)
        self.long.append(1.0)
        self.given(1.0)
        self.lengths.add(self.n)
        self.sums[0] += 1
        self.nested.n += 1
        self.nested.deeper[0].append(loss)
        self.late = getattr(self, "late", [])
        self.late.append(loss.detach())
        self.note()
        return loss

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        self.size = float(len(batch[0]))
        return super().metrics(model, batch)


def state_of(task: Noting) -> list[Any]:
    """Return all that the task has noted."""
    return [
        _seen, len(_history), Noting.calls, task.n, len(task.history), dict(task.by_phase),
        dict(task.by_name), [*task.latest], {*task.lengths}, task.total.item(), task.sums.tolist(),
        task.nested.n, len(task.nested.deeper[0]), len(getattr(task, "late", "")),
        [cell == CellType() for cell in task.note.__closure__ or ()], task.note(),
        dict(task.by_step), task.least, task.trail, [*task.log], task.log.n, len(task.long),
        hasattr(task, "size"), [*task.given.args[0]],
        {name: tensor.tolist() for name, tensor in task.teacher.state_dict().items()},
    ]  # fmt: skip


def trainer(task: Any, **options: Any) -> PopulationTrainer:
    """Return a trainer for two epochs."""
    data: Any = {"train": rows(30), "validation": rows(20)}
    return PopulationTrainer(task, **data, epochs=2, optimizer="sgd", device="cpu", **options)


@pytest.mark.parametrize("backend", ["auto", "loop", "branches"])
def test_an_examination_leaves_no_traces(backend: str) -> None:
    """Neither in the task nor in what it reaches, nor in classes, functions or globals."""
    task = Noting()
    expected = state_of(Noting())
    held = task.history, task.nested, task.total
    trainer(task, backend=backend)

    assert state_of(task) == expected
    assert [*map(id, held)] == [*map(id, (task.history, task.nested, task.total))]


def test_a_history_is_that_of_the_loop() -> None:
    """As that of a user who trains one network after the other, also for other batch sizes."""
    task, expected = Noting(), Noting()
    trainer(task, backend="loop").train([*MEMBERS, Member(0.1, batch_size=5)])
    for member in MEMBERS:
        by_hand(expected, rows(30), member, "sgd", 2)
    n = len(expected.history)

    assert n == 3 * 2 * 4
    assert len(task.history) == n + 2 * 6
    assert torch.allclose(numbers_of(task.history[:n]), numbers_of(expected.history))


def numbers_of(history: list[Tensor]) -> Tensor:
    """Return numbers in their order, since members take turns after each epoch."""
    return torch.stack(history).sort().values


class Recording(Classes):
    """A task that keeps its losses."""

    def __init__(self) -> None:
        super().__init__(mlp)
        self.history: list[Tensor] = []

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = super().loss(model, batch)
        self.history.append(loss.detach())
        return loss


def test_auto_leaves_tensors_that_have_numbers() -> None:
    """By the loop, of which a warning tells."""
    task = Recording()
    with pytest.warns(RuntimeWarning, match=r"separately: calls keep a tensor in `task\.history"):
        trainer(task).train(FOUR)
    expected = Recording()
    for member in FOUR:
        by_hand(expected, rows(30), member, "sgd", 2)

    assert torch.allclose(numbers_of(task.history), numbers_of(expected.history))


class Masked(Classes):
    """A task that makes a mask for each length."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        self.mask = torch.linspace(0, 1, len(x), dtype=torch.float64)
        return (F.cross_entropy(model(x), y, reduction="none") * self.mask).sum()


def test_kept_tensors_that_have_numbers_cost_no_vmap() -> None:
    """Nothing is warned of."""
    task = Masked(mlp)
    check_as_by_hand(Masked(mlp), trainer(task).train(FOUR), FOUR)

    assert task.mask.tolist() == torch.linspace(0, 1, 6, dtype=torch.float64).tolist()


class Averaged(Classes):
    """A task that averages losses in an object, which metrics may note, and reset."""

    def __init__(self, *, notes: bool = True) -> None:
        super().__init__(mlp)
        self.notes = notes
        self.mean = SimpleNamespace(total=torch.zeros(()), n=0)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = super().loss(model, batch)
        self.mean.total = self.mean.total + loss.detach()
        self.mean.n += 1
        return loss

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        if self.notes:
            self.latest = self.mean.total / max(self.mean.n, 1)
        self.mean.total, self.mean.n = torch.zeros(()), 0
        return super().metrics(model, batch)


@pytest.mark.filterwarnings("ignore:Networks are trained separately")
@pytest.mark.parametrize("backend", ["auto", "loop", "branches"])
def test_what_vmap_leaves_in_an_examination_is_nobodys(backend: str) -> None:
    """Other calls could not compute with it."""
    task = Averaged()
    subject = trainer(task, backend=backend)
    assert (task.mean.total.item(), task.mean.n) == (0, 0)
    assert not hasattr(task, "latest")

    check_as_by_hand(Averaged(), subject.train(FOUR), FOUR)


def test_what_metrics_reset_is_kept_between_steps() -> None:
    """So the next step would fail by `vmap`."""
    with pytest.warns(RuntimeWarning, match=r"calls keep a tensor in `task\.mean\.total`"):
        ended = trainer(Averaged(notes=False)).train(FOUR)

    check_as_by_hand(Averaged(notes=False), ended, FOUR)


class Scaled(Classes):
    """A task that counts, and makes a constant of the batch's type in its first call."""

    def __init__(self) -> None:
        super().__init__(mlp)
        self.n, self.constants = 0, dict[str, Tensor]()

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        self.n += 1
        logits = model(x)
        if "scale" not in self.constants:
            self.constants["scale"] = torch.ones_like(logits[0]) / 2
        return F.cross_entropy(logits * self.constants["scale"], y)

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"loss": F.cross_entropy(model(batch[0]), batch[1], reduction="sum")}


@pytest.mark.parametrize("backend", ["auto", "loop", "vmap"])
def test_what_only_the_first_call_sets_is_kept(backend: str) -> None:
    """`vmap` may take it, but could not make it."""
    task = Scaled()
    subject = trainer(task, backend=backend)
    assert task.n == 0
    assert task.constants["scale"].tolist() == [0.5, 0.5, 0.5]

    check_as_by_hand(Scaled(), subject.train(FOUR), FOUR)


class Counting(Classes):
    """A task that counts its calls."""

    def __init__(self, network: Callable[..., nn.Module] = mlp) -> None:
        super().__init__(network)
        self.n = 0

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        self.n += 1
        return super().loss(model, batch)


def test_multiply_adds_leave_no_traces() -> None:
    """Nor tensors without numbers."""
    task = Counting()
    subject = trainer(task, backend="loop")
    subject.multiply_adds(Member(0.1))

    assert task.n == 0

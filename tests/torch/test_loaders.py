"""Members that train on the batches of a loader."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from optuna_ga.torch import Capturer, Member, PopulationTrainer, TensorData, Trained
from tests.torch.tasks import MEMBERS, Classes, difference, mlp, rows

BACKENDS = ["loop", "threads", "vmap", "branches"]
Batch = tuple[Tensor, Tensor]


def dataset(n: int = 30) -> TensorDataset:
    """Return rows and their classes."""
    return TensorDataset(*rows(n).take(torch.arange(n)))


def shuffled(n: int = 30, **options: Any) -> DataLoader[Any]:
    """Return a loader of eight rows a batch, the last one smaller."""
    return DataLoader(dataset(n), batch_size=8, shuffle=True, **options)


def batches(n: int = 30) -> list[Batch]:
    """Return the batches of a loader as a list."""
    return [(x, y) for x, y in DataLoader(dataset(n), batch_size=8)]


class Loader:
    """Batches, counted as they are read."""

    def __init__(self, make: Callable[[], Sequence[Batch]], length: int = 4) -> None:
        self._make = make
        self._length = length
        self.epochs: list[list[Batch]] = []

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        self.epochs.append([])
        for batch in self._make():
            self.epochs[-1].append(batch)
            yield batch


def trainer(train: Any, validation: Any = None, **options: Any) -> PopulationTrainer:
    """Return a trainer of small networks with dropout, for two epochs on the CPU."""
    settings = {"epochs": 2, "optimizer": "sgd", "device": "cpu", "backend": "loop", **options}
    task = Classes(partial(mlp, dropout=settings.pop("dropout", 0.3)))
    validation = rows(20) if validation is None else validation
    return PopulationTrainer(task, train=train, validation=validation, **settings)


@pytest.mark.parametrize("backend", BACKENDS)
def test_members_train_on_the_batches_as_the_loader_gives_them(backend: str) -> None:
    """A loader with a generator of its own is read once an epoch; float64 agrees within 1e-12."""
    loader = Loader(partial(list, shuffled(generator=torch.Generator().manual_seed(3))))
    ended = trainer(loader, backend=backend, dropout=0.0).train(MEMBERS)
    given = loader.epochs[-2:]

    assert len(loader.epochs) == 3  # The first batch was taken before, to examine the task.
    for member, end in zip(MEMBERS, ended, strict=True):
        torch.manual_seed(member.seed)
        model = Classes(mlp).model(member.seed)
        optimizer = torch.optim.SGD(
            model.parameters(), member.learning_rate, momentum=member.momentum,
            weight_decay=member.weight_decay,
        )  # fmt: skip
        for batch in [each for epoch in given for each in epoch]:
            optimizer.zero_grad()
            Classes(mlp).loss(model, batch).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), member.clip_norm)
            optimizer.step()
        assert end.state is not None
        for name, weights in model.named_parameters():
            assert (end.state["weights"][name] - weights).abs().max().item() < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loader_trains_as_the_same_examples_in_tensors(backend: str) -> None:
    """Losses, metrics and schedules are those of `TensorData` in the loader's order."""
    in_order = rows(30)
    in_order.order = lambda seed, epoch: torch.arange(30)  # type: ignore[method-assign]
    options: Any = {"backend": backend, "schedule": lambda epoch, epochs: 1 / (1 + epoch)}
    expected = trainer(in_order, **options).train(MEMBERS)

    for train, validation in (
        (batches(30), DataLoader(dataset(20), batch_size=7)),
        (batches(30), rows(20)),
        (in_order, batches(20)),
    ):
        assert difference(trainer(train, validation, **options).train(MEMBERS), expected) < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_shuffled_loader_repeats_itself_by_the_epoch(backend: str) -> None:
    """Its orders depend on neither user nor backend, and a resumed training goes on with them."""
    whole = trainer(shuffled(), epochs=3).train(MEMBERS)
    torch.manual_seed(77)
    begun = trainer(shuffled(), epochs=1, backend=backend).train(MEMBERS)
    state = torch.get_rng_state()
    ended = trainer(shuffled(), backend=backend).train(MEMBERS, states=[e.state for e in begun])

    assert torch.equal(torch.get_rng_state(), state)
    assert difference([replace(each, epochs=each.epochs[1:]) for each in whole], ended) < 1e-12


def test_epochs_of_a_shuffled_loader_have_orders_of_their_own() -> None:
    """So have the epochs of `DataLoader` without this trainer."""
    loader = Loader(partial(list, shuffled()))
    trainer(loader).train(MEMBERS)
    first, second = (torch.cat([x for x, _ in epoch]) for epoch in loader.epochs[-2:])

    assert not torch.equal(first, second)
    assert torch.equal(first.sort(0).values, second.sort(0).values)


def test_members_of_different_age_read_the_epochs_of_their_age() -> None:
    """They train in groups, and each as it would alone."""
    options: Any = {"backend": "vmap", "epochs": 1}
    (old,) = trainer(shuffled(), **options).train(MEMBERS[:1])
    states = [old.state, None]
    mixed = trainer(shuffled(), **options).train([MEMBERS[0], MEMBERS[0]], states=states)
    alone = [
        trainer(shuffled(), **options).train(MEMBERS[:1], states=[each])[0] for each in states
    ]

    assert difference(mixed, alone) < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_few_batches_are_held_at_a_time(backend: str) -> None:
    """Of 25 batches at most four exist: the first, the last, the current and the next."""
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def fresh() -> Iterator[Batch]:
        nonlocal most
        for x, y in batches(200):
            x = x.clone()
            alive.append(weakref.ref(x))
            most = max(most, sum(each() is not None for each in alive))
            yield x, y

    loader = Loader(fresh, 25)  # type: ignore[arg-type]
    loader.epochs = Forgetful()
    trainer(loader, backend=backend).train(MEMBERS)

    assert len(alive) == 1 + 2 * 25
    assert most <= 4


class Forgetful(list[Any]):
    """A list that keeps nothing of what is appended to its last element."""

    def __getitem__(self, place: Any) -> Any:
        return []


def tried(self: Capturer, step: Callable[[], None], reset: Callable[[], object]) -> Any:
    """Stand in for `Capturer.capture`: warm up as on a GPU, and return the step."""
    for _ in range(3):
        reset()
        step()
    return step


@pytest.mark.parametrize("train", [shuffled, partial(rows, 30)], ids=["loader", "tensors"])
def test_trying_a_step_before_it_is_captured_changes_nothing(
    train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, momenta, statistics, counters and sums are restored."""
    options: Any = {"backend": "vmap", "optimizer": "adamw"}
    expected = trainer(train(), batches(20), **options).train(MEMBERS)
    monkeypatch.setattr(Capturer, "capture", tried)

    assert difference(trainer(train(), batches(20), **options).train(MEMBERS), expected) == 0.0


class Stream(IterableDataset[Any]):
    """A data set that does not know its length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(dataset())


X = torch.zeros(8, 6, dtype=torch.float64)
Y = torch.zeros(8, dtype=torch.int64)


@pytest.mark.parametrize(
    ("loader", "error", "words"),
    [
        (X, TypeError, "`train` must be a `TensorData` or an iterable of batches"),
        (3, TypeError, "`train` must be a `TensorData` or an iterable of batches"),
        (iter(batches()), TypeError, "`train` must be iterable once an epoch"),
        (DataLoader(Stream(), batch_size=8), TypeError, "`train` must have a length"),
        ([], ValueError, "`train` must have a length.* at least 1"),
        ([(X, ["a"] * 8)], TypeError, "must yield batches of tensors, but batch 1 has 'a'"),
        ([(X, Y[:5])], ValueError, "a row for each example, but batch 1 has"),
        ([(X, torch.tensor(1))], ValueError, "a row for each example, but batch 1 has"),
    ],
)
def test_an_unfit_loader_is_refused_at_once(
    loader: Any, error: type[Exception], words: str
) -> None:
    """The error names the argument, the rule and what was given."""
    with pytest.raises(error, match=words):
        trainer(loader)


@pytest.mark.parametrize(
    ("given", "length", "words"),
    [
        ([(X, Y), (X[:4], Y[:4]), (X, Y)], 3, "only the last may have fewer rows, but batch 3"),
        ([(X[:4], Y[:4]), (X, Y)], 2, "only the last may have fewer rows, but batch 2"),
        ([(X, Y), (X[:, :5], Y)], 2, r"batch 2 has \(8, 5\) torch.float64"),
        ([(X, Y), (X.float(), Y)], 2, "batch 2 has .* torch.float32"),
        ([(X, Y), [X, Y]], 2, "batches of one shape"),
        ([(X, Y)], 2, "it yielded only 1 of 2"),
        ([(X, Y)] * 3, 2, "it yielded more than 2"),
    ],
)
@pytest.mark.parametrize("backend", ["loop", "vmap"])
def test_an_unfit_batch_is_named_when_it_comes(
    given: Any, length: int, words: str, backend: str
) -> None:
    """It is known only in the course of an epoch."""
    loader = Loader(lambda: given, length)
    with pytest.raises(ValueError, match=words):
        trainer(loader, backend=backend).train(MEMBERS)


def test_a_member_cannot_change_the_batches_of_a_loader() -> None:
    """A batch size of its own is refused, as are those of a wrong type by `Member`."""
    with pytest.raises(ValueError, match="`batch_size` of a member must be None where `train`"):
        trainer(batches()).train([Member(0.1, batch_size=4)])


def test_worker_processes_give_the_same_batches() -> None:
    """The order does not depend on the number of workers."""
    ended: list[list[Trained]] = [
        trainer(shuffled(num_workers=n), epochs=1).train(MEMBERS) for n in (0, 1)
    ]

    assert difference(*ended) == 0.0


class Doubled(Classes):
    """A task that changes its batches in place."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return super().loss(model, (batch[0].mul_(2), batch[1]))

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return super().metrics(model, (batch[0].mul_(2), batch[1]))


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
def test_a_task_that_changes_its_batch_leaves_the_users_tensors(backend: str) -> None:
    """It trains as on doubled tensors."""

    def ended(task: Classes, factor: int) -> tuple[list[Trained], list[Any]]:
        batches = [(factor * x, y) for x, y in rows(30).batches(8)]
        trainer = PopulationTrainer(
            task, train=batches, validation=batches, epochs=2, backend=backend, device="cpu"
        )
        return trainer.train(MEMBERS), batches

    changed, given = ended(Doubled(mlp), 1)

    assert difference(changed, ended(Classes(mlp), 2)[0]) < 1e-12
    assert all(torch.equal(x, y[0]) for (x, _), y in zip(given, rows(30).batches(8), strict=True))


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
def test_batches_made_in_inference_mode_train_as_others(backend: str) -> None:
    """Though PyTorch takes no gradients of such tensors."""

    def ended(batches: list[Any]) -> list[Trained]:
        trainer = PopulationTrainer(
            Classes(mlp), train=batches, validation=batches, epochs=2, backend=backend
        )
        return trainer.train(MEMBERS)

    with torch.inference_mode():
        inferred = list(rows(30).batches(8))

    assert difference(ended(inferred), ended(list(rows(30).batches(8)))) == 0.0


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
def test_data_with_a_graph_train_as_others(backend: str) -> None:
    """Those of tensors and of loaders, which an encoder may have computed."""
    plain = rows(30)._examples
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    encoded = plain[0] * scale, plain[1]
    found = [
        trainer(data, batches(), backend=backend).train(MEMBERS)
        for data in (
            TensorData(*plain, batch_size=8),
            TensorData(*encoded, batch_size=8),
            list(TensorData(*plain).batches(8)),
            [(encoded[0][i : i + 8], encoded[1][i : i + 8]) for i in range(0, 30, 8)],
        )
    ]

    assert difference(*found[:2]) == 0.0
    assert difference(*found[2:]) == 0.0
    assert scale.grad is None


class Penalised(Classes):
    """A task whose loss has gradients by its inputs."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch[0].requires_grad_(), batch[1]
        (slopes,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return super().loss(model, (x, y)) + slopes.square().mean()


@pytest.mark.parametrize("backend", ["threads", "branches"])
def test_a_loss_may_have_gradients_by_a_loaders_batches(backend: str) -> None:
    """Each batch is without the gradients of the batch before."""

    def ended(backend: str) -> list[Trained]:
        batches = list(rows(30).batches(8))
        trainer = PopulationTrainer(
            Penalised(mlp), train=batches, validation=batches, epochs=2, backend=backend,
            device="cpu",
        )  # fmt: skip
        return trainer.train(MEMBERS)

    assert difference(ended("loop"), ended(backend)) < 1e-12


class Flipping(Classes):
    """A task that turns the signs of some batches, in place and by chance."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        if torch.rand(()) < 0.3:
            batch[0].neg_()
        return super().loss(model, batch)


@pytest.mark.filterwarnings("ignore:Networks are trained separately")
def test_members_that_change_batches_by_chance_change_them_for_themselves() -> None:
    """Not those of others, nor the user's, whatever the first batch shows."""
    own = batches()
    options: Any = {"train": own, "validation": rows(20), "epochs": 3, "device": "cpu"}
    together = PopulationTrainer(Flipping(mlp), **options).train(MEMBERS)
    options["train"] = batches()
    alone = [PopulationTrainer(Flipping(mlp), **options).train([each])[0] for each in MEMBERS]

    assert difference(together, alone) == 0.0
    assert all(torch.equal(x, y) for (x, _), (y, _) in zip(own, batches(), strict=True))

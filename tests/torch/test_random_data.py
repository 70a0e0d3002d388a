"""Data that draw random numbers, as for augmentation: an epoch repeats itself."""

from __future__ import annotations

import pickle
import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from optuna_ga import GASampler, optimize_generations
from optuna_ga.torch import Member, PopulationTrainer, TensorData
from tests.torch.tasks import Classes, curve, mlp, rows

ALONE = Member(0.1, seed=1)
WIDER = Member(0.1, seed=2, model={"width": 24})  # Of another group, which reads the epoch again.


def by_torch() -> float:
    """Return a number drawn by PyTorch."""
    return float(torch.rand(()))


def by_numpy() -> float:
    """Return a number drawn by NumPy."""
    return float(np.random.rand())


DRAWS = [by_torch, by_numpy, random.random]


class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Examples that are moved by a number, drawn each time they are read."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self._x, self._y = rows(20).take(torch.arange(20))
        self._draw = draw

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, n: int) -> tuple[Tensor, Tensor]:
        return self._x[n] + self._draw(), self._y[n]


def trainer(train: Any) -> PopulationTrainer:
    """Return a trainer of networks of several widths for three epochs."""
    task = Classes(mlp)
    return PopulationTrainer(
        task, train=train, validation=rows(20), epochs=3, optimizer="sgd", device="cpu"
    )


@pytest.mark.parametrize("n_workers", [0, 1])
@pytest.mark.parametrize("draw", DRAWS)
def test_a_loader_draws_the_same_whoever_trains(draw: Callable[[], float], n_workers: int) -> None:
    """By each of the generators that augmentations use; those of the user stay as they are."""
    loader = DataLoader(Augmented(draw), batch_size=8, shuffle=True, num_workers=n_workers)
    subject = trainer(loader)
    before = random.getstate(), pickle.dumps(np.random.get_state())
    (alone,) = subject.train([ALONE])
    _, beside = subject.train([WIDER, ALONE])
    (again,) = subject.train([ALONE])

    assert curve(alone.epochs) == curve(beside.epochs) == curve(again.epochs)
    assert before == (random.getstate(), pickle.dumps(np.random.get_state()))


def test_epochs_of_a_loader_draw_different_numbers() -> None:
    """The numbers depend on the epoch."""
    read: list[float] = []

    def drawn() -> float:
        read.append(random.random())
        return read[-1]

    trainer(DataLoader(Augmented(drawn), batch_size=20)).train([ALONE])

    epochs = [tuple(read[n : n + 20]) for n in range(0, len(read), 20)]
    assert len({*epochs}) == 3
    assert len({number for epoch in epochs for number in epoch}) == 60


def test_workers_that_live_on_and_draw_are_warned_of() -> None:
    """Their generators cannot be seeded by the epoch."""
    loader = DataLoader(Augmented(by_torch), batch_size=8, num_workers=1, persistent_workers=True)

    with pytest.warns(RuntimeWarning, match="`train` should not have `persistent_workers=True`"):
        trainer(loader)


def test_workers_that_live_on_and_do_not_draw_are_fine() -> None:
    """An epoch has the same batches each time."""
    data = Augmented(lambda: 0.5)
    loader = DataLoader(data, batch_size=8, shuffle=True, num_workers=1, persistent_workers=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subject = trainer(loader)
    (alone,) = subject.train([ALONE])
    _, beside = subject.train([WIDER, ALONE])

    assert curve(alone.epochs) == curve(beside.epochs)


@pytest.mark.parametrize("draw", [by_numpy, random.random])
def test_a_transform_that_draws_elsewhere_is_refused(draw: Callable[[], float]) -> None:
    """A member's seed determines what PyTorch draws alone."""

    def moved(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return batch[0] + draw(), batch[1]

    data = TensorData(*rows(20).take(torch.arange(20)), batch_size=8, transform=moved)
    with pytest.raises(ValueError, match="`transform` must draw random numbers by PyTorch"):
        trainer(data)


class Broken(Augmented):
    """Examples of which one cannot be read from the second epoch on."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)
        self.n_read = 0

    def __getitem__(self, n: int) -> tuple[Tensor, Tensor]:
        self.n_read += 1
        if self.n_read > 50:
            raise OSError("The disk is gone.")
        return super().__getitem__(n)


def test_an_error_of_the_data_is_that_of_all_members() -> None:
    """They fail together after the epoch was read once more, not each after another time."""
    data = Broken()
    subject = trainer(DataLoader(data, batch_size=8))
    study = optuna.create_study(sampler=GASampler(population_size=6, seed=0))
    objective = subject.objective(lambda trial: Member(0.1, seed=trial.number))
    optimize_generations(study, objective, n_generations=1, catch=OSError)

    assert [trial.state.name for trial in study.trials] == ["FAIL"] * 6
    assert data.n_read == 52


@pytest.mark.parametrize("owner", ["loader", "sampler", "batches"])
def test_a_generator_of_the_loader_is_not_taken_for_that_of_its_workers(owner: str) -> None:
    """It goes on from epoch to epoch, as it does without workers."""
    generator, data = torch.Generator().manual_seed(0), Augmented(lambda: 0.5)
    given: dict[str, dict[str, Any]] = {
        "loader": {"shuffle": True, "generator": generator},
        "sampler": {"sampler": RandomSampler(data, generator=generator)},
        "batches": {
            "batch_size": 1,  # The loader's default: the sampler's counts.
            "batch_sampler": BatchSampler(RandomSampler(data, generator=generator), 8, False),
        },
    }
    options: Any = {"batch_size": 8, "num_workers": 1, "persistent_workers": True}
    loader = DataLoader(data, **options | given[owner])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer(loader)


def test_a_transform_may_draw_in_its_first_call() -> None:
    """As a table that is made once does."""
    table: list[float] = []

    def moved(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        if not table:
            table.append(random.random())
        return batch[0] + table[0], batch[1]

    data = TensorData(*rows(20).take(torch.arange(20)), batch_size=8, transform=moved)
    trainer(data).train([ALONE])

    assert len(table) == 1

"""What schedules return is checked before anything trains."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from torch import Tensor, nn

from optuna_ga.torch import Cosine, Member, PopulationTrainer, StepDecay
from tests.torch.tasks import Classes, mlp, rows

WRONG = [math.nan, math.inf, 10**400, -0.5, None, "0.5", 1j, True, torch.tensor(0.5)]


class Noting(Classes):
    """A task that counts the losses it computes."""

    n_losses = 0

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        self.n_losses += 1
        return super().loss(model, batch)


def trainer(task: Any = None, **options: Any) -> PopulationTrainer:
    """Return a trainer for three epochs."""
    data = rows(20)
    settings = {"train": data, "validation": data, "epochs": 3, "device": "cpu", **options}
    return PopulationTrainer(task or Classes(mlp), **settings)


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_factor_that_cannot_scale_a_learning_rate_is_refused(value: Any) -> None:
    """Before the first loss, though it is that of the last epoch, of a trainer or a member."""
    task = Noting(mlp)
    wrong = lambda epoch, epochs: value if epoch == 2 else 1.0  # noqa: E731
    words = r"^`schedule` must return a finite number of at least 0, .* for epoch 2 of 3\.$"
    with pytest.raises((TypeError, ValueError), match=words):
        trainer(task, schedule=wrong)
    assert task.n_losses == 0
    subject = trainer(task)
    n_before = task.n_losses
    with pytest.raises((TypeError, ValueError), match=words):
        subject.train([Member(0.1, schedule=wrong)])

    assert task.n_losses == n_before


def test_a_factor_within_an_epoch_is_checked_as_it_is_used() -> None:
    """Then the epoch is no whole number."""
    wrong = lambda epoch, epochs: -1.0 if epoch == 0.4 else 1.0  # noqa: E731
    with pytest.raises(ValueError, match=r"returned -1\.0 for epoch 0\.4 of 3"):
        trainer(train=rows(40)).train([Member(0.1, schedule=wrong)])


def test_a_resumed_training_has_the_factors_of_its_age_checked() -> None:
    """Those of earlier epochs do not matter any more."""
    subject = trainer()
    state = subject.train([Member(0.1)])[0].state
    late = lambda epoch, epochs: -1.0 if epoch == 5 else 1.0  # noqa: E731
    early = lambda epoch, epochs: -1.0 if epoch < 3 else 1.0  # noqa: E731

    with pytest.raises(ValueError, match=r"returned -1\.0 for epoch 5 of 3"):
        subject.train([Member(0.1, schedule=late)], states=[state])
    (ended,) = subject.train([Member(0.1, schedule=early)], states=[state])
    assert len(ended.epochs) == 3


@pytest.mark.parametrize("make", [lambda s: trainer(schedule=s), lambda s: Member(1, schedule=s)])
@pytest.mark.parametrize("schedule", [lambda epoch: 1.0, lambda: 1.0, lambda a, b, c: 1.0])
def test_a_schedule_of_other_arguments_is_refused(schedule: Any, make: Any) -> None:
    """As the trainer or the member is made."""
    with pytest.raises(TypeError, match=r"^`schedule` must be .* with epoch and epochs"):
        make(schedule)


def test_a_trial_whose_schedule_is_wrong_fails_alone() -> None:
    """The others train."""
    study = optuna.create_study()
    wrong = lambda epoch, epochs: math.nan  # noqa: E731
    objective = trainer().objective(
        lambda trial: Member(0.1, schedule=wrong if trial.number == 1 else None)
    )
    results = objective([study.ask() for _ in range(3)])

    assert [isinstance(each, ValueError) for each in results] == [False, True, False]


def test_a_schedule_may_return_numbers_of_numpy_and_have_optional_arguments() -> None:
    """It trains as one of Python's numbers."""
    subject = trainer(backend="loop")
    halving: Any = lambda epoch, epochs, by=0.5: np.float32(by ** int(epoch))  # noqa: E731
    one, other = subject.train(
        [Member(0.1, schedule=halving), Member(0.1, schedule=StepDecay(0.5))]
    )

    assert one.epochs == other.epochs


@pytest.mark.parametrize("is_members", [False, True])
@pytest.mark.parametrize(
    ("age", "epochs", "n_idle"), [(1, 3, 1), (2, 3, 2), (3, 3, 3), (5, 3, 3), (1, 1, 1)]
)
def test_epochs_in_which_a_resumed_training_learns_nothing_are_warned_of(
    age: int, epochs: int, n_idle: int, is_members: bool
) -> None:
    """A cosine over these epochs has ended before the last ones of them."""
    (old,) = trainer(epochs=age, backend="loop").train([Member(0.1)])
    subject = trainer(epochs=epochs, backend="loop", schedule=None if is_members else Cosine())
    member = Member(0.1, schedule=Cosine() if is_members else None)
    words = rf"Cosine\(.* has 0 in the last {n_idle} of {epochs}: networks of age {age} learn"
    with pytest.warns(RuntimeWarning, match=words) as caught:
        subject.train([member, member], states=[old.state] * 2)

    assert len(caught) == 1


def test_trainings_that_may_learn_nothing_are_not_warned_of() -> None:
    """New ones, those without a learning rate, and those whose last epoch has a rate."""
    zero = lambda epoch, epochs: 0.0  # noqa: E731
    late = lambda epoch, epochs: float(epoch >= 5)  # noqa: E731
    subject = trainer(backend="loop", schedule=Cosine())
    (old,) = trainer(backend="loop").train([Member(0.1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subject.train([Member(0.1), Member(0.1, schedule=zero)])
        subject.train([Member(0.0), Member(0.1, schedule=late)], states=[old.state] * 2)


def test_a_decay_beyond_all_floats_is_refused() -> None:
    """As any other factor that is infinite."""
    with pytest.raises(
        ValueError, match=r"must return a finite number .* returned inf for epoch 2"
    ):
        trainer(schedule=StepDecay(1e200))


@pytest.mark.parametrize("warm_up", [0.0, 3.0, 10.0, 20.0])
def test_a_cosine_is_0_once_the_epochs_are_over(warm_up: float) -> None:
    """Also while it still would rise."""
    assert [Cosine(warm_up)(epoch, 10) for epoch in (10.0, 10.1, 25.0)] == [0.0] * 3
    assert Cosine(warm_up)(9.0, 10) > 0.0

"""Warnings name the line of the user's program, however deep in the trainer they arise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
import pytest
import torch
from torch import nn

from optuna_ga import optimize_generations
from optuna_ga.torch import Cosine, Epoch, Member
from optuna_ga.torch._backends.loop import LoopBackend
from optuna_ga.torch._training import Training
from tests.torch.tasks import Classes, mlp
from tests.torch.test_trainer import trainer


class Numbered(Classes):
    """A task whose networks have their seeds as attributes."""

    def model(self, seed: int, **settings: Any) -> nn.Module:
        model = super().model(seed, **settings)
        model.number = seed  # type: ignore[assignment]
        return model


class Narrow(LoopBackend):
    """Has memory for a single network."""

    def train_epoch(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Train a member."""
        if len(members) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return super().train_epoch(members)


def splits() -> None:
    """Train networks that cannot train as one."""
    trainer(Numbered(mlp)).train([Member(0.1, seed=seed) for seed in range(3)])


def idles() -> None:
    """Resume a training whose schedule is over."""
    (old,) = trainer(schedule=Cosine()).train([Member(0.1)])
    trainer(schedule=Cosine()).train([Member(0.1)], states=[old.state])


def shrinks() -> None:
    """Train two networks where there is memory for a single one."""
    trainer(backend=Narrow).train([Member(0.1)] * 2)


def clips() -> None:
    """Search with a worst value that is better than all others."""
    objective = trainer().objective(lambda trial: Member(0.1, seed=trial.number), worst=1e-9)
    optimize_generations(optuna.create_study(), objective, 1, population_size=3)


@pytest.mark.parametrize("warned", [splits, idles, shrinks, clips])
def test_a_warning_names_the_users_line(warned: Callable[[], None]) -> None:
    """It is the last line of the function, which is in this file."""
    with pytest.warns(RuntimeWarning) as caught:
        warned()

    last = max(line for *_, line in warned.__code__.co_lines() if line is not None)
    assert [(each.filename, each.lineno) for each in caught] == [(__file__, last)]

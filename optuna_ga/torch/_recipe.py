"""The settings that all members of a trainer share."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch

from optuna_ga.torch._data.loader_data import Data, LoaderData
from optuna_ga.torch._environment import Precision
from optuna_ga.torch._optimizers import Optimizer
from optuna_ga.torch._schedules import Schedule
from optuna_ga.torch._task import Member, Task
from optuna_ga.torch._training import Training


class Recipe(NamedTuple):
    """The settings that all members share.

    Attributes:
        task: The networks and their losses.
        train: The data to train on, on the device.
        validation: The data to evaluate on, on the device.
        epochs: Epochs of a training, unless a member has its own.
        optimizer: The optimizer.
        schedule: Factors of the learning rates, unless a member has its own.
        precision: The precision of computing.
        device: Where to compute.
    """

    task: Task
    train: Data
    validation: Data
    epochs: int
    optimizer: Optimizer
    schedule: Schedule
    precision: Precision
    device: torch.device

    @property
    def reads_loader(self) -> bool:
        """Whether a loader makes the batches to train on or to evaluate on."""
        return any(isinstance(data, LoaderData) for data in (self.train, self.validation))

    def batch_size(self, member: Member) -> int:
        """Return the number of examples in a member's batches."""
        return member.batch_size or self.train.batch_size

    def n_epochs(self, member: Member) -> int:
        """Return the number of epochs of a member's training."""
        return member.epochs or self.epochs

    def shares_batches(self, members: Sequence[Training]) -> bool:
        """Return whether members see the same batches in the same order."""
        reads_same = isinstance(self.train, LoaderData)
        return reads_same or len({(each.member.seed, each.n_epochs) for each in members}) == 1

    def group(self, training: Training) -> tuple[Hashable, ...]:
        """Return a key that is equal for members that can train as one."""
        age = training.n_epochs if self.reads_loader else None  # A loader's epoch is that of all.
        return training.structure, self.batch_size(training.member), age

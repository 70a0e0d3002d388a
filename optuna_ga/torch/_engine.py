"""What a trainer and its objectives have in common: members are started, and trained."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from optuna_ga.torch._arguments import takes_any_settings
from optuna_ga.torch._dispatcher import Dispatcher, MakeBackend
from optuna_ga.torch._environment import computing, usual_settings
from optuna_ga.torch._examination.examiner import Examiner
from optuna_ga.torch._groups import AfterEpoch, Fail, Groups, Trained
from optuna_ga.torch._maker import Maker
from optuna_ga.torch._multiply_adds import MultiplyAdds
from optuna_ga.torch._networks.network import Network
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._task import Member
from optuna_ga.torch._training import Training


class Engine:
    """Starts members and trains them.

    Args:
        recipe: The settings that all members share.
        backend: Name of the backend, "auto", or a function that makes a backend for networks that
            need no examination.
        shows_progress: Whether to show the epochs and the time left.

    Attributes:
        recipe: These settings.
    """

    def __init__(self, recipe: Recipe, backend: str | MakeBackend, shows_progress: bool) -> None:
        self.recipe = recipe
        self._maker = Maker(recipe)
        self._examiner = Examiner(recipe, self._maker)
        self._dispatcher = Dispatcher(recipe, self._examiner, backend)
        self._multiply_adds = MultiplyAdds(recipe, self._maker.model)
        self._groups = Groups(recipe, self._dispatcher, shows_progress)

    @property
    def metric_names(self) -> Collection[str] | None:
        """The names of the task's metrics; None if they are not known yet."""
        return self._examiner.metric_names

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """Have PyTorch's settings be those of the recipe; the user's are restored afterwards."""
        device = self.recipe.device
        with usual_settings(device), computing(self.recipe.precision, device):
            yield

    def examine_default(self) -> None:
        """Examine the network that needs but a seed, unless its task forwards more settings."""
        with self._settings():
            try:
                start = self._maker.start(Member(0.0))
            except (KeyError, TypeError):
                if takes_any_settings(self.recipe.task.model):
                    return  # A setting is missing, so the first members show the network.
                raise
            self._examiner.verdict(start)

    def start(self, member: Member, state: Mapping[str, Any] | None = None) -> Training:
        """Return a member that can be trained, new or resumed.

        Args:
            member: Its settings.
            state: The `Trained.state` to resume; None begins anew.

        Raises:
            Exception: Whatever keeps this member alone from being trained.
        """
        with self._settings():
            training = self._maker.start(member, state)
            self._dispatcher.check(training)
            return training

    def train(
        self, starts: Sequence[Training], after_epoch: AfterEpoch | None, fail: Fail | None = None
    ) -> list[Trained]:
        """Train members that have been started; see `PopulationTrainer.train`.

        Args:
            starts: The members.
            after_epoch: Called after each epoch of a group.
            fail: Called with the position of a member whose training fails, and the exception;
                the others train on. None raises the exception.
        """
        with self._settings():
            return self._groups.train(starts, after_epoch, fail)

    def network(self, member: Member, state: Mapping[str, Any] | None) -> nn.Module:
        """Return a member's network for evaluation; see `PopulationTrainer.model`."""
        with self._settings():
            training = self._maker.start(member, state)
            network = Network(training.structure, self._maker.model(training.member))
            network.load(training.weights, training.buffers)
            return network.module.eval()

    def multiply_adds(self, member: Member) -> int:
        """Return those of a member's training; see `PopulationTrainer.multiply_adds`."""
        with self._settings():
            return self._multiply_adds.of_training(member)

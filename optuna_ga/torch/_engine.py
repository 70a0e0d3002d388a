"""What a trainer and its objectives have in common: members are started, and trained."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from optuna_ga.torch._dispatcher import Dispatcher, MakeBackend
from optuna_ga.torch._environment import computing, usual_settings
from optuna_ga.torch._examination.examiner import Examiner
from optuna_ga.torch._groups import AfterEpoch, Fail, Groups, Trained
from optuna_ga.torch._maker import Maker
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
        maker: Makes members and their networks.
        examiner: Finds how these can be trained.
    """

    def __init__(self, recipe: Recipe, backend: str | MakeBackend, shows_progress: bool) -> None:
        self.recipe = recipe
        self.maker = Maker(recipe)
        self.examiner = Examiner(recipe, self.maker)
        self._dispatcher = Dispatcher(recipe, self.examiner, backend)
        self._groups = Groups(recipe, self._dispatcher, shows_progress)

    @property
    def metric_names(self) -> Collection[str] | None:
        """The names of the task's metrics; None if they are not known yet."""
        return self.examiner.metric_names

    @contextmanager
    def settings(self) -> Iterator[None]:
        """Have PyTorch's settings be those of the recipe; the user's are restored afterwards."""
        device = self.recipe.device
        with usual_settings(device), computing(self.recipe.precision, device):
            yield

    def start(self, member: Member, state: Mapping[str, Any] | None = None) -> Training:
        """Return a member that can be trained, new or resumed.

        Args:
            member: Its settings.
            state: The `Trained.state` to resume; None begins anew.

        Raises:
            Exception: Whatever keeps this member alone from being trained.
        """
        with self.settings():
            training = self.maker.start(member, state)
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
        with self.settings():
            return self._groups.train(starts, after_epoch, fail)

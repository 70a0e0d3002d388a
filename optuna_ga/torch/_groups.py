"""Members that can train as one, group after group and epoch after epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna

from optuna_ga._checks import shown
from optuna_ga._running.progress_bar import progress_bar
from optuna_ga._user_warnings import warn_user
from optuna_ga.torch._arguments import checked_dropped
from optuna_ga.torch._data.loader_data import LoaderData
from optuna_ga.torch._dispatcher import Dispatcher
from optuna_ga.torch._errors import RefusedError
from optuna_ga.torch._networks.signature import changed_attributes, value_key
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._training import Epoch, Training

# Called after each epoch, counted from 1, with what it gave to members by their positions, None
# if they diverged; returns the positions of members to train no further, None if there is none.
AfterEpoch = Callable[[int, Mapping[int, "Epoch | None"]], "Collection[int] | None"]
Fail = Callable[[int, Exception], object]

# Attributes by which `torch.compile` and `nn.Module.compile` make each network one of its own.
_COMPILERS = ("_torchdynamo_wrapper_id", "_compiled_call_impl")

_logger = optuna.logging.get_logger("optuna.population_trainer")


@dataclass(frozen=True)
class Trained:
    """The results of a member, and its state.

    Attributes:
        epochs: The results of each epoch until the member diverged or was dropped.
        state: Its tensors, by name: `weights`, the parameters that are trained; `buffers`, with
            those that are frozen; and `optimizer`; and the epochs and steps so far. `weights` and
            `buffers` together are the model's `state_dict`, except that tied weights appear once
            and that buffers which are not persistent are included. It is that after the last of
            `epochs`. None if the member diverged or failed. `PopulationTrainer.model` returns the
            network.
    """

    epochs: list[Epoch]
    state: dict[str, Any] | None


class Groups:
    """Trains members in groups of equal structure and batch size.

    Args:
        recipe: The settings that all members share.
        dispatcher: Trains a group for an epoch.
        shows_progress: Whether to show the epochs and the time left.
    """

    def __init__(self, recipe: Recipe, dispatcher: Dispatcher, shows_progress: bool) -> None:
        self._recipe = recipe
        self._dispatcher = dispatcher
        self._shows_progress = shows_progress
        self._has_warned = False  # Of members that do not train as one.

    def train(
        self, starts: Sequence[Training], after_epoch: AfterEpoch | None, fail: Fail | None
    ) -> list[Trained]:
        """Train members; see `Engine.train`."""
        groups: dict[Hashable, dict[int, Training]] = {}
        for position, start in enumerate(starts):
            groups.setdefault(self._recipe.group(start), {})[position] = start
        self._warn_of_idle(each for group in groups.values() for each in group.values())
        self._warn_of_splits(groups)
        for group in groups.values():
            self._dispatcher.warn_of_loss([*group.values()])
        ended = [Trained([], None) for _ in starts]
        words = f"training {len(starts)} network{'s' * (len(starts) > 1)}"
        with progress_bar(
            self._shows_progress, total=sum(map(self._n_epochs, groups.values())),
            desc=words, unit="epoch", leave=False,
        ) as progress:  # fmt: skip
            for group in groups.values():
                for _ in self._train_group(group, ended, after_epoch, fail):
                    progress.update()
        return ended

    def _train_group(
        self,
        alive: dict[int, Training],
        ended: list[Trained],
        after_epoch: AfterEpoch | None,
        fail: Fail | None,
    ) -> Iterator[None]:
        """Train members of equal structure and batch size, and yield after each epoch."""
        for epoch in range(1, self._n_epochs(alive) + 1):
            results: dict[int, Epoch | None] = {}
            advanced = self._train_epoch(alive, fail)
            alive = {position: training for position, (training, _) in advanced.items()}
            if not alive:
                return
            for position, (_, result) in advanced.items():
                results[position] = result if _is_finite(result) else None
                if _is_finite(result):
                    ended[position].epochs.append(result)
            after = after_epoch(epoch, results) if after_epoch else None
            dropped = checked_dropped(after, len(ended))
            yield
            for position, training in list(alive.items()):
                is_lost = results[position] is None
                is_last = epoch == self._recipe.n_epochs(training.member)
                if not (is_lost or is_last or position in dropped):
                    continue
                if not is_lost:
                    state = training.state(self._recipe.optimizer)
                    ended[position] = replace(ended[position], state=state)
                del alive[position]
            if not alive:
                return

    def _train_epoch(
        self, alive: Mapping[int, Training], fail: Fail | None, *, is_repeated: bool = False
    ) -> dict[int, tuple[Training, Epoch]]:
        """Train together or, if that fails, each alone, without those that fail alone, too.

        What a loader fails by, all have in common: then all train again, and fail together.
        """
        try:
            return self._dispatcher.train_epoch(alive)
        except Exception as error:  # Of the task, of the data, or for want of memory.
            if fail is None:
                raise
            of_data = self._is_of_data(error)
            is_final = len(alive) == 1 or isinstance(error, RefusedError)
            if is_repeated if of_data else is_final:
                for position in alive:
                    fail(position, error)
                return {}
            how = "" if of_data else " one by one"
            _logger.warning(
                f"An epoch of {len(alive)} networks failed and is repeated{how}: {error}"
            )
        if of_data:
            return self._train_epoch(alive, fail, is_repeated=True)
        advanced: dict[int, tuple[Training, Epoch]] = {}
        for position, training in alive.items():
            advanced |= self._train_epoch({position: training}, fail)
        return advanced

    def _is_of_data(self, error: Exception) -> bool:
        """Return whether a loader failed by an error, which is then forgotten there."""
        for data in (self._recipe.train, self._recipe.validation):
            if isinstance(data, LoaderData) and data.failure is error:
                data.failure = None
                return True
        return False

    def _warn_of_idle(self, trainings: Iterable[Training]) -> None:
        """Warn if the schedule of resumed trainings is over."""
        recipe = self._recipe
        for each in trainings:
            if not each.n_epochs:
                continue
            epochs = recipe.n_epochs(each.member)
            n_steps = recipe.train.n_batches(recipe.batch_size(each.member))
            if n_idle := each.idle_epochs(recipe.schedule, epochs, n_steps):
                warn_user(
                    f"`schedule` must have a learning rate above 0 in all epochs of a resumed "
                    f"training, but {shown(each.member.schedule or recipe.schedule)} has 0 in the "
                    f"last {n_idle} of {epochs}: networks of age {each.n_epochs} learn nothing."
                )
                return

    def _warn_of_splits(self, groups: Mapping[Hashable, Mapping[int, Training]]) -> None:
        """Warn, once, if members of equal settings have groups of their own for an attribute."""
        if self._has_warned:
            return
        firsts = [next(iter(group.values())) for group in groups.values()]
        alike: dict[Hashable, list[Training]] = {}
        for each in firsts:
            by_size = self._recipe.group(each)[1:]
            alike.setdefault((value_key(dict(each.member.model)), by_size), []).append(each)
        for one, *others in alike.values():
            if others and (names := _splitting(one, others[0])):
                self._has_warned = True
                warn_user(_of_split(names, 1 + len(others)))
                return

    def _n_epochs(self, group: Mapping[int, Training]) -> int:
        """Return the number of epochs of the longest training."""
        return max(self._recipe.n_epochs(training.member) for training in group.values())


def _splitting(one: Training, other: Training) -> list[str]:
    """Return the attributes that keep networks with the same parameters and buffers apart."""
    mine: Any = one.structure.key
    theirs: Any = other.structure.key
    return changed_attributes(mine, theirs) if mine[0] == theirs[0] else []


def _of_split(names: Sequence[str], n_groups: int) -> str:
    """Return what to do about attributes that keep networks from training as one."""
    by_compiler = any(name.rpartition(".")[2] in _COMPILERS for name in names)
    advice = (
        "Leave out `torch.compile`, which does not gain where networks train as one."
        if by_compiler
        else "Leave it out, or make a tensor a buffer by `register_buffer`."
    )
    return (
        "`task.model` must return networks that differ in parameters and buffers alone for equal "
        "`Member.model`, or they cannot train as one, but they differ in the attribute "
        f"`{names[0]}` and train in {n_groups} groups, one after the other. {advice}"
    )


def _is_finite(epoch: Epoch) -> bool:
    return all(map(math.isfinite, (epoch.training_loss, *epoch.metrics.values())))

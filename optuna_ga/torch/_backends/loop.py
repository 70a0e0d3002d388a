"""Members trained one after the other by PyTorch's own optimizers: the specification.

Every faster backend is tested against this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from functools import partial
from threading import Event
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from optuna_ga.torch._data.loader_data import Data, LoaderData
from optuna_ga.torch._data.tensor_data import TensorData, n_rows
from optuna_ga.torch._networks.network import Network
from optuna_ga.torch._randomness.generators import seeded
from optuna_ga.torch._randomness.keys import derived_seed, member_key
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._returned import check_names
from optuna_ga.torch._training import Epoch, Training

_STEPS_BETWEEN_CHECKS = 10  # Reading a loss waits for a GPU, so not after every step.

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class LoopBackend:
    """Trains one member after the other.

    Args:
        recipe: The settings that all members share.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._stop = Event()  # Set to end all trainings after a batch.

    def train_epoch(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Train each member; see `Backend`."""
        if self._recipe.reads_loader:
            return self._train_in_step(members)
        return self._each(self._train, members, self._seeds(members))

    def release(self) -> None:
        """Do nothing, since nothing is kept."""

    def _train(self, training: Training) -> tuple[Training, Epoch]:
        """Train a member on batches of its own."""
        run = _Run(self._recipe, training, self._stop)
        run.train(run.own_batches())
        run.evaluate(run.batches_in_order())
        return run.result()

    def _train_in_step(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Train members side by side, so that a loader is read once for all of them."""
        runs = [_Run(self._recipe, each, self._stop) for each in members]
        self._pass(self._recipe.train, members, runs, _Run.train, _Run.own_batches)
        self._pass(self._recipe.validation, members, runs, _Run.evaluate, _Run.batches_in_order)
        return [run.result() for run in runs]

    def _pass(
        self,
        data: Data,
        members: Sequence[Training],
        runs: Sequence[_Run],
        advance: Callable[[_Run, Iterable[Any]], None],
        own: Callable[[_Run], Iterable[Any]],
    ) -> None:
        """Pass once over the data with all runs."""
        if isinstance(data, LoaderData):
            for n, batch in enumerate(data.batches(members[0].n_epochs)):
                step = partial(_with_batch, advance, batch)
                self._each(step, runs, self._seeds(members, n))
        else:
            self._each(lambda run: advance(run, own(run)), runs, self._seeds(members))

    def _each(
        self,
        function: Callable[[_Item], _Result],
        items: Sequence[_Item],
        seeds: Sequence[int],
    ) -> list[_Result]:
        """Call a function with each item, with PyTorch's global generator seeded."""
        results = []
        for item, seed in zip(items, seeds, strict=True):
            with seeded(seed, self._recipe.device, alone=False):
                results.append(function(item))
        return results

    @staticmethod
    def _seeds(members: Sequence[Training], n: int = 0) -> list[int]:
        """Return seeds for the `n`-th call of an epoch, of draws that are not a member's own."""
        return [derived_seed(m.member.seed, m.n_epochs, "others", n) for m in members]


class _Run:
    """A member with a module and an optimizer of its own."""

    def __init__(self, recipe: Recipe, training: Training, stop: Event) -> None:
        self._recipe = recipe
        self._stop = stop
        self._before = training
        self._network = Network(training.structure, training.structure.new())
        self._network.load(training.weights, training.buffers)
        self._model, self._parameters = self._network.module, self._network.parameters
        self._optimizer = recipe.optimizer.separate(self._groups(), training.member)
        self._load_moments()
        device = recipe.device
        self._key = torch.tensor(
            member_key(training.member.seed, training.n_epochs), dtype=torch.int32, device=device
        )
        self._step = torch.zeros((), dtype=torch.int32, device=device)
        n_steps = recipe.train.n_batches(recipe.batch_size(training.member))
        self._rates = training.rates(recipe.schedule, recipe.n_epochs(training.member), n_steps)
        self._n_steps, self._n_rows, self._n_evaluated = 0, 0, 0
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._sums: dict[str, float] = {}

    def _groups(self) -> list[dict[str, Any]]:
        """Return the parameters that decay and those that do not."""
        undecayed = self._before.structure.undecayed
        decayed = [p for name, p in self._parameters.items() if name not in undecayed]
        others = [p for name, p in self._parameters.items() if name in undecayed]
        groups: list[dict[str, Any]] = [
            {"params": decayed},
            {"params": others, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def own_batches(self) -> Iterator[Any]:
        """Yield the batches of the member's own order."""
        data, member = self._recipe.train, self._before.member
        assert isinstance(data, TensorData)
        order = data.order(member.seed, self._before.n_epochs)
        return data.batches(self._recipe.batch_size(member), order)

    def batches_in_order(self) -> Iterator[Any]:
        """Yield the batches to evaluate on."""
        data = self._recipe.validation
        assert isinstance(data, TensorData)
        return data.batches(data.batch_size)

    def train(self, batches: Iterable[Any]) -> None:
        """Take a step on each batch, until the loss is found to have diverged."""
        self._model.train()
        for batch in batches:
            self._take_step(batch)
            if self._n_steps % _STEPS_BETWEEN_CHECKS == 0 and self._has_diverged():
                return

    def _take_step(self, batch: Any) -> None:
        member = self._before.member
        for group in self._optimizer.param_groups:
            group["lr"] = self._rates[self._n_steps]
        self._optimizer.zero_grad()
        loss = self._call(self._differentiated, batch)
        if member.clip_norm < float("inf"):
            nn.utils.clip_grad_norm_(self._parameters.values(), member.clip_norm)
        self._optimizer.step()
        self._step += 1
        self._n_steps += 1
        self._n_rows += n_rows(batch)
        self._loss += loss.double() * n_rows(batch)  # In 16 bits the product may overflow.

    def _differentiated(self, model: Any, batch: Any) -> Tensor:
        """Return the loss, whose gradient is taken where a checkpoint can compute again."""
        loss = self._recipe.task.loss(model, batch)
        loss.backward()
        return loss.detach()

    def evaluate(self, batches: Iterable[Any]) -> None:
        """Add up the metrics of each batch, unless the loss has diverged."""
        if self._has_diverged():
            return
        self._model.eval()
        weights = self._network.weights() if self._before.structure.facts.changes_weights else None
        before = {name: buffer.clone() for name, buffer in self._network.buffers().items()}
        for batch in batches:
            with torch.no_grad():
                metrics = self._call(self._recipe.task.metrics, batch)
            self._step += 1  # Each batch draws numbers of its own.
            self._network.load(weights, before)  # Evaluation changes nothing.
            check_names(metrics, self._sums)
            for name, value in metrics.items():
                self._sums[name] = self._sums.get(name, 0.0) + value.item()
            self._n_evaluated += n_rows(batch)

    def _has_diverged(self) -> bool:
        return not math.isfinite(self._loss.item())

    def result(self) -> tuple[Training, Epoch]:
        """Return the member after the epoch, and the epoch's results."""
        metrics = {name: total / self._n_evaluated for name, total in self._sums.items()}
        return self._training(), Epoch(self._loss.item() / self._n_rows, metrics)

    def _training(self) -> Training:
        structure, states = self._before.structure, self._optimizer.state
        moments = tuple(
            structure.layout.rows(
                {
                    name: _or_zero(states[parameter].get(moment), parameter)
                    for name, parameter in self._parameters.items()
                }
            )
            for moment in self._recipe.optimizer.moments
        )
        weights, buffers = self._network.weights(), self._network.buffers()
        return self._before.advanced(weights, moments, buffers, self._n_steps)

    def _call(self, function: Any, batch: Any) -> Any:
        if self._stop.is_set():
            raise CancelledError
        return self._network.call(function, batch, self._key, self._step)

    def _load_moments(self) -> None:
        structure, optimizer = self._before.structure, self._recipe.optimizer
        for name, moments in zip(optimizer.moments, self._before.moments, strict=True):
            for parameter, view in zip(
                self._parameters.values(), structure.layout.views(moments).values(), strict=True
            ):
                self._optimizer.state[parameter][name] = view.clone()
                self._optimizer.state[parameter]["step"] = torch.tensor(
                    float(self._before.n_steps)
                )


def _with_batch(advance: Callable[[_Run, Iterable[Any]], None], batch: Any, run: _Run) -> None:
    # A copy, since a member may change it by chance: it is that of others, and the user's own.
    advance(run, [tree_map(torch.clone, batch)])


def _or_zero(moment: Tensor | None, parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter).detach() if moment is None else moment

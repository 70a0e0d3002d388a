"""Members trained one after the other by PyTorch's own optimizers: the specification.

Every faster backend is tested against this one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from optuna_ga.torch._backends.backend import Recipe
from optuna_ga.torch._environment import seeded
from optuna_ga.torch._randomness import derived_seed, member_key
from optuna_ga.torch._training import Epoch, Training


class LoopBackend:
    """Trains one member after the other.

    Args:
        recipe: The settings that all members share.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def train_epoch(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Train each member; see `Backend`."""
        ended = []
        for each in members:
            # A model's draws from PyTorch's global generator depend on its seed alone, too.
            seed = derived_seed(each.member.seed, each.n_epochs, "others")
            with seeded(seed, self._recipe.device):
                ended.append(self._train(each))
        return ended

    def release(self) -> None:
        """Do nothing, since nothing is kept."""

    def _train(self, training: Training) -> tuple[Training, Epoch]:
        run = _Run(self._recipe, training)
        loss = run.train_epoch()
        return run.training(), Epoch(loss, run.evaluate())


class _Run:
    """A member with a module and an optimizer of its own."""

    def __init__(self, recipe: Recipe, training: Training) -> None:
        self._recipe = recipe
        self._before = training
        self._model = copy.deepcopy(training.structure.template)
        self._parameters = {n: p for n, p in self._model.named_parameters() if p.requires_grad}
        with torch.no_grad():
            _copy(training.structure.views(training.weights), self._parameters)
            _copy(training.buffers, self._buffers())
        self._optimizer = recipe.optimizer.separate(self._parameters.values(), training.member)
        self._load_moments()
        device = recipe.device
        self._key = torch.tensor(
            member_key(training.member.seed, training.n_epochs), dtype=torch.int32, device=device
        )
        self._step = torch.zeros((), dtype=torch.int32, device=device)

    def train_epoch(self) -> float:
        """Train on every example once; return the mean loss."""
        data, member, epoch = self._recipe.train, self._before.member, self._before.n_epochs
        order = data.order(member.seed, epoch).to(self._recipe.device)
        batches = order.split(self._recipe.batch_size(member))
        rates = self._before.rates(self._recipe.schedule, self._recipe.epochs, len(batches))
        self._n_steps = len(batches)
        total = torch.zeros((), dtype=torch.float64, device=self._recipe.device)
        self._model.train()
        for index, rate in zip(batches, rates, strict=True):
            self._optimizer.param_groups[0]["lr"] = rate
            self._optimizer.zero_grad()
            loss = self._call(self._recipe.task.loss, data.take(index))
            loss.backward()
            if member.clip_norm < float("inf"):
                nn.utils.clip_grad_norm_(self._parameters.values(), member.clip_norm)
            self._optimizer.step()
            self._step += 1
            total += loss.detach() * len(index)
        return total.item() / len(order)

    def evaluate(self) -> dict[str, float]:
        """Return the means of the metrics."""
        data = self._recipe.validation
        sums: dict[str, float] = {}
        self._model.eval()
        for index in torch.arange(len(data), device=self._recipe.device).split(data.batch_size):
            with torch.no_grad():
                metrics = self._call(self._recipe.task.metrics, data.take(index))
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0.0) + value.item()
        return {name: total / len(data) for name, total in sums.items()}

    def training(self) -> Training:
        """Return the member's present numbers as a `Training`."""
        structure, states = self._before.structure, self._optimizer.state
        moments = tuple(
            structure.rows(
                {
                    name: _or_zero(states[parameter].get(moment), parameter)
                    for name, parameter in self._parameters.items()
                }
            )
            for moment in self._recipe.optimizer.moments
        )
        weights = structure.rows({n: p.detach() for n, p in self._parameters.items()})
        buffers = structure.buffers(self._model)
        return self._before.advanced(weights, moments, buffers, self._n_steps)

    def _call(self, function: Any, batch: Any) -> Any:
        if self._recipe.precision != "bfloat16":
            with self._before.structure.randomness(self._key, self._step):
                return function(self._model, batch)
        result, buffers = self._before.structure.compute(
            function, self._parameters, self._buffers(), batch, self._key, self._step, self._model
        )
        with torch.no_grad():
            _copy(buffers, self._buffers())
        return result

    def _buffers(self) -> dict[str, Tensor]:
        return self._before.structure.buffers(self._model)

    def _load_moments(self) -> None:
        structure, optimizer = self._before.structure, self._recipe.optimizer
        for name, moments in zip(optimizer.moments, self._before.moments, strict=True):
            for parameter, view in zip(
                self._parameters.values(), structure.views(moments).values(), strict=True
            ):
                self._optimizer.state[parameter][name] = view.clone()
                self._optimizer.state[parameter]["step"] = torch.tensor(
                    float(self._before.n_steps)
                )


def _copy(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    for name, tensor in source.items():
        target[name].copy_(tensor)


def _or_zero(moment: Tensor | None, parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter).detach() if moment is None else moment

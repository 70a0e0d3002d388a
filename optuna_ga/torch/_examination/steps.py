"""Compute steps of members, to see what a network does.

The measure is what a network computes with parameters of its own, as `loop` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from optuna_ga.torch._backends.method import Method, Numbers
from optuna_ga.torch._data.tensor_data import TensorData
from optuna_ga.torch._examination.own_parameters import ByOwnParameters
from optuna_ga.torch._networks.structure import Structure
from optuna_ga.torch._randomness.draws import GlobalDraws
from optuna_ga.torch._randomness.generators import generator_states, seeded
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._training import Training

_Result = TypeVar("_Result")


def lengths(recipe: Recipe, training: Training) -> set[int]:
    """Return the numbers of examples of a member's batches, as far as they are known."""
    data, size = recipe.train, recipe.batch_size(training.member)
    return {*data.lengths(size)} if isinstance(data, TensorData) else {data.batch_size}


class Steps:
    """Computes steps of members, and notes what draws from PyTorch's global generators.

    Args:
        recipe: The settings that all members share.

    Attributes:
        recipe: These settings.
        drew: The first function that has drawn, and where it was called; empty if none has.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.drew = ""

    def watched(self, compute: Callable[[], _Result]) -> _Result:
        """Compute something, once more if it seems to draw from the global generators."""
        device = self.recipe.device
        with seeded(0, device):
            before = generator_states(device)
            result = compute()
            if torch.equal(before, generator_states(device)):
                return result
        # Another thread may have drawn meanwhile.
        with seeded(0, device), GlobalDraws() as draws:
            compute()
        self.drew = self.drew or draws.first
        return result

    def separately(
        self, method: Method, members: Sequence[Training], batch: Any
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Compute each member by itself; see `computed`."""
        return self.watched(lambda: computed(self.recipe, method, members, batch))

    def try_length(self, training: Training, length: int) -> None:
        """Compute a step on a batch of a length.

        Raises:
            Exception: Whatever the task raises for such a batch.
        """
        structure, facts = training.structure, training.structure.facts
        draws, facts.draws = facts.draws, True  # It may be for batches of this length alone.

        def step() -> None:
            batch = self.recipe.train.first_batch(length)
            numbers = numbers_of(self.recipe, [training])
            differentiated(self.recipe, ByOwnParameters(), structure, numbers, batch)

        try:
            with structure.computing_with(structure.new()):
                self.watched(step)
        finally:
            facts.draws = draws or facts.has_drawn


def computed(
    recipe: Recipe, method: Method, members: Sequence[Training], batch: Any
) -> tuple[list[Tensor], list[Tensor]]:
    """Return gradients, losses, weights and buffers after a batch; and metrics."""
    structure, numbers = members[0].structure, numbers_of(recipe, members)
    found = differentiated(recipe, method, structure, numbers, batch)
    return found, judged(recipe, method, structure, numbers)


def differentiated(
    recipe: Recipe,
    method: Method,
    structure: Structure,
    numbers: Numbers,
    batch: Any,
    *,
    shared: bool = True,
) -> list[Tensor]:
    """Return gradients, losses, weights and buffers after a batch, or after one of each."""
    structure.model.train()
    loss = recipe.task.loss
    with _watched_batch(structure, batch) as own:
        gradient, losses, after = method.gradients(structure, loss, numbers, own, shared)
    return [gradient, losses, numbers.weights, *after.values()]


def judged(recipe: Recipe, method: Method, structure: Structure, numbers: Numbers) -> list[Tensor]:
    """Return metrics of a batch."""
    structure.model.eval()
    batch = recipe.validation.first_batch(recipe.validation.batch_size)
    with torch.no_grad(), _watched_batch(structure, batch) as own:
        metrics = method.metrics(structure, recipe.task.metrics, numbers, own)
    structure.facts.metric_names = sorted(metrics)
    return [metrics[name] for name in structure.facts.metric_names]


def numbers_of(recipe: Recipe, members: Sequence[Training]) -> Numbers:
    """Return the present numbers of members, copied."""
    buffers = {
        name: torch.stack([each.buffers[name] for each in members]) for name in members[0].buffers
    }
    return Numbers(
        torch.stack([each.weights for each in members]),
        buffers,
        torch.arange(len(members), dtype=torch.int32, device=recipe.device),
        torch.zeros((), dtype=torch.int32, device=recipe.device),
    )


@contextmanager
def _watched_batch(structure: Structure, batch: Any) -> Iterator[Any]:
    """Yield a copy of a batch, and note whether it is changed in place."""
    own = tree_map(torch.clone, batch)
    yield own
    pairs = zip(tree_leaves(own), tree_leaves(batch), strict=True)
    structure.facts.changes_batch |= not all(torch.equal(*pair) for pair in pairs)

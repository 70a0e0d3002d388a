"""Multiply-adds of a training: a cost that is the same on every machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from optuna_ga.torch._data.loader_data import LoaderData
from optuna_ga.torch._examination.traces import traceless
from optuna_ga.torch._networks.signature import value_key
from optuna_ga.torch._randomness.generators import seeded
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._task import Member


class MultiplyAdds:
    """Counts the products of training steps, once for each network and number of examples.

    Args:
        recipe: The settings that all members share.
        model: Returns a member's initial network.
    """

    def __init__(self, recipe: Recipe, model: Callable[[Member], nn.Module]) -> None:
        self._recipe = recipe
        self._model = model
        self._of_steps: dict[Hashable, int] = {}

    def of_training(self, member: Member) -> int:
        """Return the multiply-adds of all steps of a training."""
        data = self._recipe.train
        if isinstance(data, LoaderData):
            raise ValueError(
                "`train` must be a `TensorData` to count multiply-adds, but a loader was given, "
                "whose batches are not known beforehand."
            )
        batch_size = self._recipe.batch_size(member)
        steps = Counter(data.lengths(batch_size))
        of_epoch = sum(
            n_steps * self._of_step(member, batch_size, n_rows)
            for n_rows, n_steps in steps.items()
        )
        return self._recipe.n_epochs(member) * of_epoch

    def _of_step(self, member: Member, batch_size: int, n_rows: int) -> int:
        """Return the multiply-adds of a step on some rows of a batch."""
        key = value_key(dict(member.model)), n_rows
        if key not in self._of_steps:
            with seeded(0):  # A transform may draw.
                batch = self._recipe.train.first_batch(batch_size)
            on_meta = tree_map(lambda rows: rows[:n_rows].to("meta"), batch)
            self._of_steps[key] = self._counted(self._model(member).to("meta"), on_meta)
        return self._of_steps[key]

    def _counted(self, model: nn.Module, batch: Any) -> int:
        from torch.utils.flop_counter import FlopCounterMode  # It imports Triton.

        # A fused kernel of attention has no count on every device; its parts have.
        with (
            FlopCounterMode(display=False) as counter,
            sdpa_kernel(SDPBackend.MATH),
            traceless(self._recipe),
        ):
            try:
                loss: Tensor = self._recipe.task.loss(model.train(), batch)
                loss.backward()
            except (RuntimeError, NotImplementedError) as error:
                raise ValueError(
                    '`task.loss` must compute on PyTorch\'s "meta" device to count '
                    f"multiply-adds, but it failed there: {error}"
                ) from error
        return int(counter.get_total_flops()) // 2  # A multiply-add counts as two.

"""The paper's trainings as a `PopulationTrainer`, with the fastest backend for the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TypeVar

import torch

from optuna_ga._checks import check_choice
from optuna_ga.fashion_mnist._data import Data
from optuna_ga.fashion_mnist._network import Network, initial_network
from optuna_ga.fashion_mnist._task import ImageData, ImageTask
from optuna_ga.fashion_mnist._training import (
    BATCH_SIZE,
    EVALUATION_BATCH_SIZE,
    LEARNING_RATE_DECAY,
)
from optuna_ga.torch._backends.loop import LoopBackend
from optuna_ga.torch._dispatcher import BACKENDS, MakeBackend
from optuna_ga.torch._environment import Precision
from optuna_ga.torch._schedules import StepDecay
from optuna_ga.torch._trainer import PopulationTrainer

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def paper_trainer(
    data: Data,
    epochs: int,
    *,
    backend: str | None = None,
    precision: Precision = "float32",
    dropout: bool = False,
    learning_rate_decay: float = LEARNING_RATE_DECAY,
    dtype: torch.dtype = torch.float32,
    show_progress_bar: bool = False,
    widths_differ: bool = False,
) -> PopulationTrainer:
    """Return a trainer of the paper's network, on the device of the images.

    Results are those of separate trainings by `train`, up to rounding, which a long training in
    float32 amplifies. Without a backend a member trains on each core of a CPU. On a GPU members
    train as CUDA graphs: as branches of one in float32; otherwise in chunks of up to 16 by kernels
    of their own, where Triton is installed and networks have the paper's width.

    Args:
        data: The images to train on and to evaluate on.
        epochs: Epochs of each training, at least 1.
        backend: "loop", "threads", "vmap" or "branches"; None takes the fastest.
        precision: The precision of products.
        dropout: Whether to train with dropout.
        learning_rate_decay: Factor of the learning rates after each epoch.
        dtype: Type of the weights; float64 is for tests.
        show_progress_bar: Whether to show the epochs and the time left.
        widths_differ: Whether members have a `width` of their own in `Member.model`.
    """
    device = data.training.labels.device

    def network(seed: int, width: int | None = None) -> Network:
        place = torch.device("cpu")
        return initial_network(seed, place, dropout=dropout, width=width).to(dtype)

    if backend is None:
        is_papers = dtype == torch.float32 and not widths_differ
        chosen = _fastest(device, precision, is_papers=is_papers)
    else:
        check_choice("backend", backend, [*BACKENDS])
        chosen = _Loop if backend == "loop" else BACKENDS[backend]
    return PopulationTrainer(
        ImageTask(network),
        train=ImageData(data.training, BATCH_SIZE, dtype),
        validation=ImageData(data.validation, EVALUATION_BATCH_SIZE, dtype),
        epochs=epochs,
        optimizer="sgd",
        schedule=StepDecay(learning_rate_decay),
        precision=precision,
        backend=chosen,
        device=device,
        show_progress_bar=show_progress_bar,
    )


class _Loop(LoopBackend):
    """Leaves PyTorch's global generator alone, from which the paper's network draws nothing.

    So trials may train in several threads.
    """

    def _each(
        self,
        function: Callable[[_Item], _Result],
        items: Sequence[_Item],
        seeds: Sequence[int],
    ) -> list[_Result]:
        """Call a function with each item."""
        return [function(item) for item in items]


def _fastest(device: torch.device, precision: Precision, *, is_papers: bool) -> MakeBackend:
    if device.type != "cuda":
        return BACKENDS["threads"]
    # Triton compiles products of float32 for minutes.
    if precision == "float32" or not is_papers or find_spec("triton") is None:
        return BACKENDS["branches"]
    from optuna_ga.fashion_mnist._fused_backend import FusedBackend  # Triton needs Linux.

    return FusedBackend

"""A network of the user's own in the place of the paper's: its check, and its saved numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from optuna_ga._checks import check_callable, shown
from optuna_ga.fashion_mnist._dataset_info import DatasetInfo
from optuna_ga.torch._environment import usual_settings
from optuna_ga.torch._randomness.generators import seeded

MIN_SIDE = 6  # Of images for the paper's network, which pools after two convolutions.


def check_network(
    network: Callable[[int], nn.Module] | None, info: DatasetInfo, seed: int, *, dropout: bool
) -> None:
    """Check that a network suits the images, by the logits of a single one.

    Raises:
        TypeError: If `network` is neither None nor a function that returns an `nn.Module`.
        ValueError: If the images are too small for the paper's network, if another network has no
            logit for each class, or if `dropout`, the paper's, is asked of another network.
    """
    if network is None:
        if min(info.image_shape[1:]) < MIN_SIDE:
            raise ValueError(
                f"`data` must have images of at least {MIN_SIDE} x {MIN_SIDE} pixels "
                f"for the paper's network, but their shape is {info.image_shape}."
            )
        return
    check_callable("network", network)
    if dropout:
        raise ValueError(
            "`dropout` must be False with a `network`, whose dropout is its own, but True was "
            "given."
        )
    with usual_settings(torch.device("cpu")), seeded(seed):
        model = network(seed)
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"`network` must return an `nn.Module`, but it returned {shown(model)}."
            )
        with torch.no_grad():
            logits = model.eval()(torch.zeros(1, *info.image_shape))
    if not _suits(logits, info.n_classes):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else shown(logits)
        raise ValueError(
            f"`network` must return logits (B, {info.n_classes}) of B images, one for each class, "
            f"but it returned {found} for one image."
        )


def _suits(logits: Any, n_classes: int) -> bool:
    """Return whether a network's output for one image has a logit for each class."""
    return isinstance(logits, Tensor) and logits.dim() == 2 and logits.shape[1] >= n_classes


def load_weights(network: nn.Module, state: dict[str, Any]) -> nn.Module:
    """Copy the numbers of a member's state into a network of its structure, and return it."""
    numbers = {**state["weights"], **state["buffers"]}
    with torch.no_grad():
        for name, tensor in (*network.named_parameters(), *network.named_buffers()):
            tensor.copy_(numbers[name])
    return network

"""The paper's loss, metrics and images as a task and data of `PopulationTrainer`.

Shapes: B images in a batch, N images.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga.fashion_mnist._data import Images, normalize
from optuna_ga.fashion_mnist._training import image_order
from optuna_ga.torch._data.tensor_data import TensorData


class ImageTask:
    """A network that classifies images, its cross-entropy and its accuracy.

    Args:
        network: Returns the initial network of a seed, on the CPU.
    """

    def __init__(self, network: Callable[..., nn.Module]) -> None:
        self.model = network

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean cross-entropy `()` of normalized images and their classes."""
        pixels, labels = batch
        return F.cross_entropy(model(pixels), labels)

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Return the sum `()` of the cross-entropy, and the number of hits."""
        pixels, labels = batch
        logits = model(pixels)
        return {
            "loss": F.cross_entropy(logits, labels, reduction="sum"),
            "accuracy": (logits.argmax(1) == labels).sum(),
        }


class ImageData(TensorData):
    """Images, normalized batch by batch, in the orders of the paper's training.

    Args:
        images: The images, on their device.
        batch_size: B.
        dtype: Type of normalized pixels.
    """

    def __init__(self, images: Images, batch_size: int, dtype: torch.dtype) -> None:
        def normalized(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            pixels, labels = batch
            return normalize(pixels, dtype), labels

        super().__init__(*images, batch_size=batch_size, transform=normalized)

    @property
    def images(self) -> Images:
        """The images as they are stored."""
        return Images(*self._examples)

    def order(self, seed: int, epoch: int) -> Tensor:
        """Return the order `(N,)` of an epoch, that of `train`."""
        return image_order(len(self), seed, epoch)

"""The paper's network: two convolutional layers, then two fully connected layers (section 5).

The paper states no sizes. They are those of PyTorch's MNIST example, whose batch sizes and
learning rate schedule the paper shares. The example's dropout is off by default, since the paper
mentions none.

Shapes: B images in a batch, H features.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

# Channels of the convolutional layers, and features of the first fully connected layer.
WIDTHS = (32, 64, 128)

# Before the first and the second fully connected layer, as in PyTorch's MNIST example.
DROPOUT_PROBS = (0.25, 0.5)

# The activations that dropout keeps before these layers: bool `(B, 9216)` and `(B, 128)`.
Kept: TypeAlias = tuple[Tensor, Tensor]


class Network(nn.Module):
    """The convolutional network, with 1,199,882 weights."""

    def __init__(self) -> None:
        super().__init__()
        first, second, hidden = WIDTHS
        self.conv1 = nn.Conv2d(1, first, 3)
        self.conv2 = nn.Conv2d(first, second, 3)
        self.fc1 = nn.Linear(second * 12 * 12, hidden)
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, images: Tensor, kept: Kept | None = None) -> Tensor:
        """Return the logits `(B, 10)` of normalized images `(B, 1, 28, 28)`.

        Args:
            images: Normalized images `(B, 1, 28, 28)`.
            kept: The activations that dropout keeps; None turns dropout off.
        """
        hidden = F.relu(self.conv1(images))  # (B, 32, 26, 26)
        # Pooling first is equal, since the maximum commutes with ReLU, and quarters ReLU's work.
        hidden = F.relu(F.max_pool2d(self.conv2(hidden), 2)).flatten(1)  # (B, 9216)
        if kept is not None:
            hidden = drop_out(hidden, kept[0], DROPOUT_PROBS[0])
        hidden = F.relu(self.fc1(hidden))  # (B, 128)
        if kept is not None:
            hidden = drop_out(hidden, kept[1], DROPOUT_PROBS[1])
        logits: Tensor = self.fc2(hidden)
        return logits


def draw_kept(batch: int, generator: torch.Generator) -> Kept:
    """Return the activations that dropout keeps for a batch.

    The draws depend on the generator alone, and all networks that train on the batch share them.
    So a network's dropout does not depend on the networks that train beside it.

    Args:
        batch: Number of images in the batch, B.
        generator: Generator of the draws.
    """
    first, second = (
        torch.rand(batch, n, generator=generator, device=generator.device, dtype=torch.float32)
        >= prob
        for n, prob in zip((WIDTHS[1] * 12 * 12, WIDTHS[2]), DROPOUT_PROBS, strict=True)
    )
    return first, second


def drop_out(hidden: Tensor, kept: Tensor, prob: float) -> Tensor:
    """Return activations `(B, H)`, scaled by 1 / (1 - prob) where kept, zero elsewhere."""
    return hidden * (kept.to(hidden.dtype) / (1.0 - prob))


def dropout_seed(seed: int, epoch: int) -> int:
    """Return the seed of an epoch's dropout, so that resumed training draws the same masks.

    Args:
        seed: The training's seed, at least 0.
        epoch: The epoch, from 0.
    """
    return (seed * 1_000_003 + epoch + 1) % 2**63


def initial_network(seed: int, device: torch.device) -> Network:
    """Return a network whose initial weights depend on the seed alone, not on the device.

    Weights and biases are uniform in +-1 / sqrt(fan-in), PyTorch's default. PyTorch's global
    random state is neither used nor changed.
    """
    with torch.device("meta"):
        network = Network().to(torch.float32)  # PyTorch's default type may have been changed.
    network.to_empty(device="cpu")
    generator = torch.Generator("cpu").manual_seed(seed)
    with torch.no_grad():
        for layer in (network.conv1, network.conv2, network.fc1, network.fc2):
            bound = layer.weight[0].numel() ** -0.5
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
    # A memory format, not a shape: convolutions on a CPU are faster with channels last.
    return network.to(device).to(memory_format=torch.channels_last)

"""The paper's network: two convolutional layers, then two fully connected layers (section 5).

The paper states no sizes. They are those of PyTorch's MNIST example, whose batch sizes and
learning rate schedule the paper shares. The example's dropout is off by default, since the paper
mentions none.

Shapes: B images in a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

WIDTH = 32  # Channels of the first convolutional layer.

# Before the first and the second fully connected layer, as in PyTorch's MNIST example.
DROPOUT_PROBS = (0.25, 0.5)


class Network(nn.Module):
    """The convolutional network; the paper's has 1,199,882 weights.

    Args:
        dropout: Whether to train with dropout.
        width: Channels of the first layer, at least 1. The second has twice as many, and the
            first fully connected layer four times as many features. None takes the paper's, 32.
    """

    def __init__(self, *, dropout: bool = False, width: int | None = None) -> None:
        super().__init__()
        first = WIDTH if width is None else width
        second, hidden = 2 * first, 4 * first
        self.dropout = dropout
        self.conv1 = nn.Conv2d(1, first, 3)
        self.conv2 = nn.Conv2d(first, second, 3)
        self.fc1 = nn.Linear(second * 12 * 12, hidden)
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, 10)` of normalized images `(B, 1, 28, 28)`."""
        hidden = F.relu(self.conv1(images))  # (B, 32, 26, 26)
        # Pooling first is equal, since the maximum commutes with ReLU, and quarters ReLU's work.
        hidden = F.relu(F.max_pool2d(self.conv2(hidden), 2)).flatten(1)  # (B, 9216)
        hidden = F.relu(self.fc1(self._drop_out(hidden, 0)))  # (B, 128)
        logits: Tensor = self.fc2(self._drop_out(hidden, 1))
        return logits

    def _drop_out(self, hidden: Tensor, place: int) -> Tensor:
        if not (self.dropout and self.training):
            return hidden
        return F.dropout(hidden, DROPOUT_PROBS[place])


def initial_network(
    seed: int,
    device: torch.device,
    *,
    dropout: bool = False,
    width: int | None = None,
) -> Network:
    """Return a network whose initial weights depend on the seed alone, not on the device.

    Weights and biases are uniform in +-1 / sqrt(fan-in), PyTorch's default. PyTorch's global
    random state is neither used nor changed.

    Args:
        seed: Seed of the weights.
        device: Where the network is to be.
        dropout: See `Network`.
        width: See `Network`.
    """
    with torch.device("meta"):
        network = Network(dropout=dropout, width=width)
    network = network.to(torch.float32)  # PyTorch's default type may have been changed.
    network.to_empty(device="cpu")
    generator = torch.Generator("cpu").manual_seed(seed)
    with torch.no_grad():
        for layer in (network.conv1, network.conv2, network.fc1, network.fc2):
            bound = layer.weight[0].numel() ** -0.5
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
    # A memory format, not a shape: convolutions on a CPU are faster with channels last.
    return network.to(device).to(memory_format=torch.channels_last)

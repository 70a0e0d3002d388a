"""The paper's network: two convolutional, then two fully connected layers (section 5).

Sizes are those of PyTorch's MNIST example, whose batch sizes and schedule the paper shares. Its
dropout is left out, since the paper mentions none.

Shapes: B images in a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)


class Network(nn.Module):
    """The convolutional network; 1,199,882 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.fc1 = nn.Linear(64 * 12 * 12, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(B, 10)` of normalized images `(B, 1, 28, 28)`."""
        hidden = F.relu(self.conv1(images))  # (B, 32, 26, 26)
        # The maximum commutes with ReLU, which then has a quarter of the work.
        hidden = F.relu(F.max_pool2d(self.conv2(hidden), 2))  # (B, 64, 12, 12)
        hidden = F.relu(self.fc1(hidden.flatten(1)))  # (B, 128)
        logits: Tensor = self.fc2(hidden)
        return logits


def initial_network(seed: int, device: torch.device) -> Network:
    """Return a network whose weights depend on the seed alone, on every device.

    The distribution is PyTorch's default, uniform within 1 / sqrt(fan-in), for weights and
    biases alike. PyTorch's global generator is neither used nor moved.
    """
    with torch.device("meta"):
        network = Network()
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (network.conv1, network.conv2, network.fc1, network.fc2):
            bound = layer.weight[0].numel() ** -0.5
            for parameter in layer.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
    # Channels last makes the convolutions faster on a CPU and changes no shape.
    return network.to(device).to(memory_format=torch.channels_last)

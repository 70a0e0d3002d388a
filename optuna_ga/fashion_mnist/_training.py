"""One training run, as the paper describes it (section 5), in its plainest form.

SGD on the mean cross-entropy, batches of 64, and a learning rate multiplied by 0.7 after each
epoch. Validation takes batches of 1000.

Shapes: B images in a batch, N images in a data set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from optuna_ga.fashion_mnist._data import Images
from optuna_ga.fashion_mnist._network import Network

BATCH_SIZE = 64
EVALUATION_BATCH_SIZE = 1000
LEARNING_RATE_DECAY = 0.7
_STEPS_BETWEEN_CHECKS = 10  # Reading a loss waits for the GPU, so not after every step.


class Epoch(NamedTuple):
    """What an epoch ended with.

    Attributes:
        training_loss: Mean cross-entropy over the epoch's batches as they were trained on.
        validation_loss: Mean cross-entropy over the validation images.
        validation_accuracy: Fraction of them classified correctly, in [0, 1].
    """

    training_loss: float
    validation_loss: float
    validation_accuracy: float


class DivergedError(ArithmeticError):
    """The loss of a training run is no longer finite."""


def train(
    network: Network,
    training: Images,
    validation: Images,
    *,
    learning_rate: float,
    momentum: float,
    weight_decay: float,
    epochs: int,
    seed: int,
) -> Iterator[Epoch]:
    """Train the network in place and yield after each epoch.

    Args:
        network: The network, on the same device as the images.
        training: The images to train on.
        validation: The images to evaluate on, never trained on.
        learning_rate: That of the first epoch.
        momentum: Of SGD, not Nesterov's.
        weight_decay: Of SGD, on biases too.
        epochs: Number of epochs.
        seed: Seed of the order of the images, which is drawn anew for each epoch.

    Raises:
        DivergedError: As soon as a loss is found to be no longer finite.
    """
    optimizer = SGD(
        network.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay
    )
    scheduler = StepLR(optimizer, step_size=1, gamma=LEARNING_RATE_DECAY)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        training_loss = _train_epoch(network, optimizer, training, generator)
        scheduler.step()
        yield Epoch(training_loss, *evaluate(network, validation))


def evaluate(network: Network, images: Images) -> tuple[float, float]:
    """Return the mean cross-entropy and the accuracy in [0, 1] over a data set.

    Raises:
        DivergedError: If the loss is not finite.
    """
    loss = torch.zeros((), device=images.labels.device)
    correct = torch.zeros((), device=images.labels.device)
    with _reproducible(), torch.no_grad():
        for pixels, labels in zip(
            images.pixels.split(EVALUATION_BATCH_SIZE),
            images.labels.split(EVALUATION_BATCH_SIZE),
            strict=True,
        ):
            logits = network(pixels)
            loss += F.cross_entropy(logits, labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
    n = len(images.labels)
    return _finite(loss.item() / n), correct.item() / n


def _train_epoch(
    network: Network, optimizer: SGD, images: Images, generator: torch.Generator
) -> float:
    """Train on every image once, in an order drawn from the generator; return the mean loss."""
    n = len(images.labels)
    order = torch.randperm(n, generator=generator).to(images.labels.device)  # (N,)
    total = torch.zeros((), device=images.labels.device)
    with _reproducible():
        for step, batch in enumerate(order.split(BATCH_SIZE)):  # (B,), the last one shorter
            loss = F.cross_entropy(network(images.pixels[batch]), images.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
            if step % _STEPS_BETWEEN_CHECKS == _STEPS_BETWEEN_CHECKS - 1:
                _finite(total.item())
    return _finite(total.item() / n)


def _finite(loss: float) -> float:
    if not math.isfinite(loss):
        raise DivergedError(f"The loss is {loss}.")
    return loss


@contextmanager
def _reproducible() -> Iterator[None]:
    """Let cuDNN use only kernels that give the same result every time, in full float32."""
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield

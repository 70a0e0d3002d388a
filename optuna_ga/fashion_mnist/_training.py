"""One training run, as the paper describes it (section 5), in its plainest form.

SGD on the mean cross-entropy, batches of 64, and a learning rate multiplied by 0.7 after each
epoch. Validation takes batches of 1000. A training may go on from where another one ended.

Shapes: B images in a batch, N images in a data set.
"""

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from optuna_ga.fashion_mnist._data import Images, normalize
from optuna_ga.fashion_mnist._network import (
    Network,
    draw_kept,
    dropout_seed,
    initial_network,
)
from optuna_ga.torch._environment import Precision
from optuna_ga.torch._environment import computing as gpu_settings

BATCH_SIZE = 64
EVALUATION_BATCH_SIZE = 1000
LEARNING_RATE_DECAY = 0.7
_STEPS_BETWEEN_CHECKS = 10  # Reading a loss waits for the GPU, so not after every step.


class Epoch(NamedTuple):
    """The results of an epoch.

    Attributes:
        training_loss: Mean cross-entropy over the epoch's batches as they were trained on.
        validation_loss: Mean cross-entropy over the validation images.
        validation_accuracy: Fraction of them classified correctly, in [0, 1].
    """

    training_loss: float
    validation_loss: float
    validation_accuracy: float


class State(NamedTuple):
    """The state of a training, from which another can resume.

    Attributes:
        weights: The network's, by name.
        momenta: SGD's momentum buffer of each weight, zero without momentum.
        n_epochs: Epochs since the initial weights, which decide the next order of the images.
        seed: Seed of initial weights, batches and dropout.
    """

    weights: dict[str, Tensor]
    momenta: dict[str, Tensor]
    n_epochs: int
    seed: int


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
    start: State | None = None,
    learning_rate_decay: float = LEARNING_RATE_DECAY,
    precision: Precision = "float32",
    dropout: bool = False,
) -> Generator[Epoch, None, State]:
    """Train the network in place, yield after each epoch, and return its state.

    Args:
        network: The network, on the same device as the images.
        training: The images to train on.
        validation: The images to evaluate on, never trained on.
        learning_rate: Learning rate of the first epoch.
        momentum: Momentum of SGD, not Nesterov's.
        weight_decay: Weight decay of SGD, on biases too.
        epochs: Number of epochs.
        seed: Seed of the order of the images, which is drawn anew for each epoch, and of
            dropout.
        start: State of the same seed to resume. None begins with the network's weights.
        learning_rate_decay: Factor of the learning rate after each epoch.
        precision: The precision of products.
        dropout: Whether to train with dropout.

    Raises:
        DivergedError: As soon as a loss is no longer finite.
    """
    optimizer = SGD(
        network.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay
    )
    n_epochs = 0
    if start is not None:
        _restore(network, optimizer, start)
        n_epochs = start.n_epochs
    scheduler = StepLR(optimizer, step_size=1, gamma=learning_rate_decay)
    orders = image_orders(len(training.labels), seed, n_epochs)
    masks = torch.Generator(training.labels.device) if dropout else None
    for epoch in range(n_epochs, n_epochs + epochs):
        order = next(orders)
        if masks is not None:
            masks.manual_seed(dropout_seed(seed, epoch))
        with computing(precision, training.labels.device):
            training_loss = _train_epoch(network, optimizer, training, order, masks)
        scheduler.step()
        yield Epoch(training_loss, *evaluate(network, validation, precision))
    return _state(network, optimizer, n_epochs + epochs, seed)


def initial_state(seed: int, device: torch.device) -> State:
    """Return the state in which a training with this seed begins."""
    weights = initial_network(seed, device).state_dict()
    momenta = {name: torch.zeros_like(each) for name, each in weights.items()}
    return State(weights, momenta, 0, seed)


def image_orders(n: int, seed: int, first: int = 0) -> Iterator[Tensor]:
    """Yield the order `(N,)` of `n` images in each epoch, beginning with epoch `first`."""
    generator = torch.Generator("cpu").manual_seed(seed)
    for _ in range(first):
        torch.randperm(n, generator=generator, device="cpu")
    while True:
        yield torch.randperm(n, generator=generator, device="cpu")


def evaluate(
    network: Network, images: Images, precision: Precision = "float32"
) -> tuple[float, float]:
    """Return the mean cross-entropy and the accuracy in [0, 1] over a data set.

    Raises:
        DivergedError: If the loss is not finite.
    """
    dtype = network.fc2.weight.dtype
    loss = torch.zeros((), device=images.labels.device, dtype=dtype)
    correct = torch.zeros((), device=images.labels.device, dtype=torch.float32)
    with computing(precision, images.labels.device), torch.no_grad():
        for pixels, labels in zip(
            images.pixels.split(EVALUATION_BATCH_SIZE),
            images.labels.split(EVALUATION_BATCH_SIZE),
            strict=True,
        ):
            logits = network(normalize(pixels, dtype))
            loss += F.cross_entropy(logits, labels, reduction="sum")
            correct += (logits.argmax(1) == labels).sum()
    n = len(images.labels)
    return _finite(loss.item() / n), correct.item() / n


def _train_epoch(
    network: Network,
    optimizer: SGD,
    images: Images,
    order: Tensor,
    masks: torch.Generator | None,
) -> float:
    """Train on every image once, in this order; return the mean loss."""
    dtype = network.fc2.weight.dtype
    total = torch.zeros((), device=images.labels.device, dtype=dtype)
    batches = order.to(images.labels.device).split(BATCH_SIZE)  # (B,), the last one shorter
    for step, batch in enumerate(batches):
        pixels, labels = images.take(batch)
        kept = None if masks is None else draw_kept(len(batch), masks)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(normalize(pixels, dtype), kept), labels)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(batch)
        if step % _STEPS_BETWEEN_CHECKS == _STEPS_BETWEEN_CHECKS - 1:
            _finite(total.item())
    return _finite(total.item() / len(order))


def _restore(network: Network, optimizer: SGD, start: State) -> None:
    network.load_state_dict(start.weights)
    for name, weights in network.named_parameters():
        momentum = torch.empty_like(weights).copy_(start.momenta[name])
        optimizer.state[weights]["momentum_buffer"] = momentum


def _state(network: Network, optimizer: SGD, n_epochs: int, seed: int) -> State:
    weights = {name: each.detach() for name, each in network.named_parameters()}
    # Without momentum SGD keeps no buffer, or leaves one from before as it was.
    has_momentum = bool(optimizer.param_groups[0]["momentum"])
    momenta = {
        name: optimizer.state[each]["momentum_buffer"] if has_momentum else torch.zeros_like(each)
        for name, each in network.named_parameters()
    }
    return State(weights, {name: each.detach() for name, each in momenta.items()}, n_epochs, seed)


def _finite(loss: float) -> float:
    if not math.isfinite(loss):
        raise DivergedError(f"The loss is {loss}.")
    return loss


def lower_precisions(device: torch.device) -> list[Precision]:
    """Return the precisions that the device computes faster than float32."""
    if device.type == "cuda":
        return ["tf32", "bfloat16"]
    # Others than processors with AVX-512 emulate it, a hundred times slower.
    return ["bfloat16"] if torch.ops.mkldnn._is_mkldnn_bf16_supported() else []


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute with a precision, and on a GPU only with kernels that repeat exactly."""
    half = torch.autocast(
        device.type,
        torch.bfloat16,
        enabled=precision == "bfloat16",
        cache_enabled=False,  # A CUDA graph must see the weights converted in every step.
    )
    with half, gpu_settings(precision, device):
        yield

"""One training run, as the paper describes it (section 5), in its plainest form.

SGD on the mean cross-entropy, batches of 64, and a learning rate multiplied by 0.7 after each
epoch. Validation takes batches of 1000. `PopulationTrainer` trains populations; its results are
tested to be these.

Shapes: B images in a batch, N images in a data set.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from optuna_ga.fashion_mnist._data import Images, normalize
from optuna_ga.fashion_mnist._network import Network
from optuna_ga.torch._environment import Precision, computing
from optuna_ga.torch._randomness.keys import member_key
from optuna_ga.torch._randomness.member_randomness import MemberRandomness
from optuna_ga.torch._training import Epoch

BATCH_SIZE = 64
EVALUATION_BATCH_SIZE = 1000
LEARNING_RATE_DECAY = 0.7
_STEPS_BETWEEN_CHECKS = 10  # Reading a loss waits for the GPU, so not after every step.


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
    learning_rate_decay: float = LEARNING_RATE_DECAY,
    precision: Precision = "float32",
) -> Iterator[Epoch]:
    """Train the network in place, and yield after each epoch.

    The metrics of an epoch are those over the validation images: "loss", the mean cross-entropy in
    nats, and "accuracy", the fraction classified correctly, in [0, 1].

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
        learning_rate_decay: Factor of the learning rate after each epoch.
        precision: The precision of products.

    Raises:
        DivergedError: As soon as a loss is no longer finite.
    """
    optimizer = SGD(
        network.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay
    )
    scheduler = StepLR(optimizer, step_size=1, gamma=learning_rate_decay)
    for epoch in range(epochs):
        key, order = member_key(seed, epoch), image_order(len(training.labels), seed, epoch)
        with in_precision(precision, training.labels.device):
            training_loss = _train_epoch(network, optimizer, training, order, key)
        scheduler.step()
        loss, accuracy = evaluate(network, validation, precision)
        yield Epoch(training_loss, {"loss": loss, "accuracy": accuracy})


def image_order(n: int, seed: int, epoch: int) -> Tensor:
    """Return the order `(N,)` of `n` images in an epoch, counted from 0, on the CPU."""
    return _orders(n, seed).of(epoch)


class _Orders:
    """The orders of the epochs of a seed, which one generator draws one after the other.

    Threads may share it.
    """

    def __init__(self, n: int, seed: int) -> None:
        self._n = n
        self._first = self._latest = 0, torch.Generator("cpu").manual_seed(seed).get_state()

    def of(self, epoch: int) -> Tensor:
        """Return the order `(N,)` of an epoch."""
        reached, state = self._latest
        if reached > epoch:
            reached, state = self._first
        generator = torch.Generator("cpu")
        generator.set_state(state)
        for _ in range(reached, epoch):
            torch.randperm(self._n, generator=generator, device="cpu")
        self._latest = epoch, generator.get_state()
        return torch.randperm(self._n, generator=generator, device="cpu")


_orders = lru_cache(maxsize=1000)(_Orders)


def evaluate(
    network: nn.Module, images: Images, precision: Precision = "float32"
) -> tuple[float, float]:
    """Return the mean cross-entropy and the accuracy in [0, 1] over a data set.

    Raises:
        DivergedError: If the loss is not finite.
    """
    dtype = next(network.parameters()).dtype
    network.eval()
    loss = torch.zeros((), device=images.labels.device, dtype=dtype)
    correct = torch.zeros((), device=images.labels.device, dtype=torch.float32)
    with in_precision(precision, images.labels.device), torch.no_grad():
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
    network: Network, optimizer: SGD, images: Images, order: Tensor, key: int
) -> float:
    """Train on every image once, in this order; return the mean loss."""
    dtype, device = network.fc2.weight.dtype, images.labels.device
    network.train()
    total = torch.zeros((), device=device, dtype=dtype)
    batches = order.to(device).split(BATCH_SIZE)  # (B,), the last one shorter
    for step, batch in enumerate(batches):
        pixels, labels = images.take(batch)
        optimizer.zero_grad()
        with _masks(key, step, device) if network.dropout else nullcontext():
            loss = F.cross_entropy(network(normalize(pixels, dtype)), labels)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(batch)
        if step % _STEPS_BETWEEN_CHECKS == _STEPS_BETWEEN_CHECKS - 1:
            _finite(total.item())
    return _finite(total.item() / len(order))


def _masks(key: int, step: int, device: torch.device) -> MemberRandomness:
    """Return a context in which dropout's masks depend on the key and the step alone."""
    numbers = (torch.tensor(each, dtype=torch.int32, device=device) for each in (key, step))
    return MemberRandomness(*numbers)


def _finite(loss: float) -> float:
    if not math.isfinite(loss):
        raise DivergedError(f"The loss is {loss}.")
    return loss


@contextmanager
def in_precision(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute with a precision, and on a GPU only with kernels that repeat exactly."""
    half = torch.autocast(
        device.type,
        torch.bfloat16,
        enabled=precision == "bfloat16",
        cache_enabled=False,  # A CUDA graph must see the weights converted in every step.
    )
    with half, computing(precision, device):
        yield

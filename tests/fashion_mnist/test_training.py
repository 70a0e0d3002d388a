"""The network and its training against the paper's, written in the plainest form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from optuna_ga.fashion_mnist import _training
from optuna_ga.fashion_mnist._data import Images, load_subset, normalize
from optuna_ga.fashion_mnist._network import Network, initial_network
from optuna_ga.fashion_mnist._training import DivergedError, evaluate, image_order, train

CPU = torch.device("cpu")


def images(n: int, start: int = 0) -> Images:
    """Return real images."""
    return load_subset(CPU).training.take(slice(start, start + n))


def doubles(data: Images) -> Tensor:
    """Return normalized pixels in float64."""
    return normalize(data.pixels, torch.float64)


def plain_network(network: Network) -> nn.Sequential:
    """Return the network in the order of the paper, with copies of the weights."""
    layers = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10),
    ).double()  # fmt: skip
    with torch.no_grad():
        for mine, theirs in zip(layers.parameters(), network.parameters(), strict=True):
            mine.copy_(theirs)
    return layers


def test_the_network_has_as_many_weights_as_pytorchs_example() -> None:
    """Two convolutional and two fully connected layers: 1,199,882 weights."""
    assert sum(parameter.numel() for parameter in Network().parameters()) == 1_199_882


def test_the_forward_pass_is_that_of_the_plain_layers() -> None:
    """Pooling before ReLU changes nothing."""
    network = initial_network(0, CPU).double()
    pixels = doubles(images(8))

    torch.testing.assert_close(network(pixels), plain_network(network)(pixels), rtol=0, atol=1e-12)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    """Equal seeds give equal weights; PyTorch's global generator is left alone."""
    state = torch.random.get_rng_state()
    first, again, other = (list(initial_network(s, CPU).parameters()) for s in (3, 3, 4))

    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert torch.equal(state, torch.random.get_rng_state())


def test_initial_weights_have_pytorchs_distribution() -> None:
    """Each layer's weights fill the same interval as PyTorch's own initialization."""
    for mine, default in zip(
        initial_network(0, CPU).state_dict().values(), Network().state_dict().values(), strict=True
    ):
        n = mine.numel()
        bound = default.abs().max().item()
        assert mine.abs().max().item() == pytest.approx(bound, rel=12 / n)
        assert abs(mine.mean().item()) < 5 * bound / (3 * n) ** 0.5


@pytest.mark.parametrize(
    ("learning_rate", "momentum", "weight_decay"),
    [(0.05, 0.9, 0.01), (0.1, 0.0, 0.0), (0.02, 0.5, 0.1)],
)
def test_training_is_sgd_with_decaying_learning_rate(
    learning_rate: float, momentum: float, weight_decay: float, small_batches: None
) -> None:
    """Losses equal those of hand-written SGD in float64; the last batch has 2 images."""
    training, validation = images(10), images(10, start=3000)
    network = initial_network(1, CPU).double()
    plain = plain_network(network)
    epochs = train(
        network, training, validation,
        learning_rate=learning_rate, momentum=momentum, weight_decay=weight_decay,
        epochs=3, seed=7,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(7)
    buffers = [torch.zeros_like(weights) for weights in plain.parameters()]

    for number, epoch in enumerate(epochs):
        rate = learning_rate * 0.7**number
        order = torch.randperm(10, generator=generator)
        losses = [
            plain_step(plain, buffers, training, batch, rate, momentum, weight_decay) * len(batch)
            for batch in (order[:8], order[8:])
        ]
        with torch.no_grad():
            logits = plain(doubles(validation))
        loss = nn.functional.cross_entropy(logits, validation.labels).item()
        assert epoch.training_loss == pytest.approx(sum(losses) / 10, abs=1e-12)
        assert epoch.metrics["loss"] == pytest.approx(loss, abs=1e-12)
        assert epoch.metrics["accuracy"] == (logits.argmax(1) == validation.labels).double().mean()
    assert number == 2
    for mine, theirs in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("epochs", [(0, 1, 2, 3), (3, 0, 2, 2, 1), (50, 7)])
def test_orders_are_those_of_one_generator(epochs: tuple[int, ...]) -> None:
    """In whatever order epochs are asked for, and beside other seeds and sizes."""
    generator = torch.Generator().manual_seed(3)
    drawn = [torch.randperm(9, generator=generator) for _ in range(51)]

    for epoch in epochs:
        assert image_order(9, 4, epoch).tolist() != drawn[epoch].tolist()
        assert len(image_order(8, 3, epoch)) == 8
        assert image_order(9, 3, epoch).tolist() == drawn[epoch].tolist()


def plain_step(
    network: nn.Module,
    buffers: list[Tensor],
    data: Images,
    batch: Tensor,
    rate: float,
    momentum: float,
    weight_decay: float,
) -> float:
    """Take one step of SGD with coupled weight decay and return the loss before it."""
    loss = nn.functional.cross_entropy(network(doubles(data)[batch]), data.labels[batch])
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    with torch.no_grad():
        for weights, buffer, gradient in zip(
            network.parameters(), buffers, gradients, strict=True
        ):
            buffer.mul_(momentum).add_(gradient + weight_decay * weights)
            weights.sub_(rate * buffer)
    return loss.item()


def test_evaluation_weights_every_image_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean over 15 images is not that of a batch of 10 and one of 5."""
    monkeypatch.setattr(_training, "EVALUATION_BATCH_SIZE", 10)
    network = initial_network(0, CPU).double()
    data = images(15)
    with torch.no_grad():
        logits = network(doubles(data))
    loss = nn.functional.cross_entropy(logits, data.labels).item()

    assert evaluate(network, data)[0] == pytest.approx(loss, abs=1e-12)


def test_a_diverged_run_ends_before_its_epoch_does(small_batches: None) -> None:
    """An absurd learning rate is noticed within a few steps."""
    data = images(8 * 40)
    network = initial_network(0, CPU).double()
    epochs = train(
        network, data, images(10),
        learning_rate=1e30, momentum=0.9, weight_decay=0.1, epochs=1, seed=0,
    )  # fmt: skip

    with pytest.raises(DivergedError):
        next(epochs)

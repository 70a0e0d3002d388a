"""The trainer of the paper's network, against separate trainings by `train`."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch

from optuna_ga.fashion_mnist import _paper_trainer, paper_trainer
from optuna_ga.fashion_mnist._data import Data, Images, load_subset
from optuna_ga.fashion_mnist._network import Network, initial_network
from optuna_ga.fashion_mnist._training import DivergedError, train
from optuna_ga.torch import Epoch, Member, PopulationTrainer, Trained
from optuna_ga.torch._environment import one_thread

CPU = torch.device("cpu")
# Momentum 0 and weight decay 0 are among them, where PyTorch's SGD takes other paths.
MEMBERS = [
    Member(0.05, momentum=0.9, weight_decay=0.01),
    Member(0.1),
    Member(0.02, momentum=0.5, weight_decay=0.1),
]
DIVERGING = Member(1e8, momentum=0.9, weight_decay=0.1)
BACKENDS = ["loop", "threads", "vmap", "branches"]
slow = pytest.mark.slow

# Training loss, validation loss and accuracy of each epoch, until a member diverged.
Curve = list[tuple[float, ...]]


def images(n: int, start: int = 0, device: torch.device = CPU) -> Images:
    """Return real images."""
    return load_subset(device).training.take(slice(start, start + n))


def data_of(n_images: int, device: torch.device = CPU) -> Data:
    """Return images to train on, and twenty others to evaluate on."""
    return Data(images(n_images, 0, device), images(20, 3000, device), None)


def trained(
    members: list[Member],
    n_images: int = 20,
    epochs: int = 1,
    device: torch.device = CPU,
    drop: Mapping[int, Collection[int]] | None = None,
    **options: Any,
) -> list[Trained]:
    """Return the trained members, dropping positions after the epochs in `drop`."""
    trainer: PopulationTrainer = paper_trainer(data_of(n_images, device), epochs, **options)
    return trainer.train(members, after_epoch=lambda epoch, _: (drop or {}).get(epoch, ()))


def curve(epochs: Iterable[Epoch]) -> Curve:
    """Return the numbers of epochs."""
    return [(e.training_loss, e.metrics["loss"], e.metrics["accuracy"]) for e in epochs]


def curves(ended: list[Trained]) -> list[Curve]:
    """Return the numbers of each member's epochs."""
    return [curve(each.epochs) for each in ended]


def separate(
    members: list[Member], n_images: int = 20, epochs: int = 1, device: torch.device = CPU,
    dtype: torch.dtype = torch.float64, dropout: bool = False, **options: Any,
) -> tuple[list[Curve], list[Network]]:  # fmt: skip
    """Return the epochs of separate trainings by `train`, and the networks."""
    data = data_of(n_images, device)
    networks = [initial_network(m.seed, device, dropout=dropout).to(dtype) for m in members]
    found: list[Curve] = []
    for member, network in zip(members, networks, strict=True):
        run = train(
            network, data.training, data.validation, learning_rate=member.learning_rate,
            momentum=member.momentum, weight_decay=member.weight_decay, epochs=epochs,
            seed=member.seed, **options,
        )  # fmt: skip
        found.append(curve(run))
    return found, networks


def largest_difference(first: list[Curve], second: list[Curve]) -> float:
    """Return the largest difference of any loss or accuracy of the same members."""
    assert list(map(len, first)) == list(map(len, second))
    return max(
        abs(a - b)
        for mine, theirs in zip(first, second, strict=True)
        for one, other in zip(mine, theirs, strict=True)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("n_images", "epochs"), [(26, 2), pytest.param(50, 6, marks=slow)])
def test_members_equal_separate_trainings_in_float64(
    n_images: int, epochs: int, backend: str, dropout: bool, small_trainings: None
) -> None:
    """The learning rate decays, the last batch is smaller, seeds differ: within 1e-12."""
    members = [*MEMBERS, replace(MEMBERS[0], seed=1)]
    options: Any = {"dropout": dropout, "dtype": torch.float64}
    ended = trained(members, n_images, epochs, backend=backend, **options)
    expected, networks = separate(members, n_images, epochs, **options)

    assert largest_difference(curves(ended), expected) < 1e-12
    for each, network in zip(ended, networks, strict=True):
        assert each.state is not None
        for name, weights in network.named_parameters():
            torch.testing.assert_close(
                each.state["weights"][name], weights.detach(), rtol=0, atol=1e-12
            )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loop", "threads"])
@pytest.mark.parametrize("n_images", [64 + 16, 20 * 64])
def test_losses_equal_separate_trainings_in_float32(backend: str, n_images: int) -> None:
    """Losses agree within 2e-5; after 20 steps runs part by chaos, in plain PyTorch too."""
    members = [
        Member(0.01, momentum=0.5, weight_decay=0.01), Member(0.02),
        Member(0.005, momentum=0.9, weight_decay=0.1),
    ]  # fmt: skip
    ended = trained(members, n_images, backend=backend)
    expected, _ = separate(members, n_images, dtype=torch.float32)

    assert largest_difference(curves(ended), expected) < 2e-5


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap"])
def test_bfloat16_comes_close_to_float32(backend: str, small_trainings: None) -> None:
    """Results differ by rounding, and by less than a tenth."""
    exact, rough = (
        curves(trained(MEMBERS, backend=backend, precision=p)) for p in ("float32", "bfloat16")
    )

    assert 0 < largest_difference(exact, rough) < 0.1


def test_dropout_changes_a_training(small_trainings: None) -> None:
    """Masks depend on a member's seed, and evaluation has none."""
    (whole,), (masked,) = (separate(MEMBERS[:1], dropout=d)[0] for d in (False, True))

    assert largest_difference([whole], [masked]) > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_diverged_member_is_marked_though_its_accuracy_is_finite(
    backend: str, small_trainings: None
) -> None:
    """A loss that is not finite marks it; its accuracy is a tenth, as NaN gives."""
    options: Any = {"backend": backend, "dtype": torch.float64}
    bad, good = trained([Member(1e200), MEMBERS[0]], 24, 2, **options)
    alone = trained(MEMBERS[:1], 24, 2, **options)

    assert bad == Trained([], None)
    assert largest_difference(curves([good]), curves(alone)) < 1e-12


@pytest.mark.parametrize("backend", ["loop", "threads"])
def test_a_diverged_member_ends_before_its_epoch_does(
    backend: str, small_trainings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of forty steps it takes ten, and it is not evaluated."""
    calls = []
    forward = Network.forward

    def counting(network: Network, pixels: torch.Tensor) -> torch.Tensor:
        calls.append(len(pixels))
        return forward(network, pixels)

    monkeypatch.setattr(Network, "forward", counting)
    trained([DIVERGING], 40 * 8, backend=backend)

    assert calls == [8] * 10


@pytest.mark.parametrize("backend", ["loop", "threads"])
def test_dropping_members_leaves_the_others_unchanged(backend: str, small_trainings: None) -> None:
    """A member that drops out after an epoch is absent from then on."""
    whole = trained(MEMBERS, 10, 3, backend=backend)
    dropping = trained(MEMBERS, 10, 3, backend=backend, drop={1: {0}, 2: {1}})

    assert [len(each.epochs) for each in dropping] == [1, 2, 3]
    assert all(each.state is not None for each in dropping)
    assert dropping[2].epochs == whole[2].epochs


def test_members_of_one_seed_share_initial_weights(
    small_trainings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are drawn once, since a large population's would take as long as an epoch on a GPU."""
    seeds = []

    def counting(seed: int, device: torch.device, **options: Any) -> Network:
        seeds.append(seed)
        return initial_network(seed, device, **options)

    monkeypatch.setattr(_paper_trainer, "initial_network", counting)
    trainer = paper_trainer(data_of(8), 1)
    for _ in range(2):
        trainer.train(MEMBERS)
    trainer.train([replace(MEMBERS[0], seed=1)])

    assert seeds == [0, 1]


def test_threads_leave_pytorchs_setting_alone(small_trainings: None) -> None:
    """The number of threads is restored, also after an error."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        trainer = paper_trainer(data_of(8), 1)
        trainer.train(MEMBERS[:1])
        with pytest.raises(ZeroDivisionError):
            trainer.train(MEMBERS, after_epoch=lambda epoch, results: [1 // 0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_two_trainings_at_once_leave_pytorchs_threads_alone() -> None:
    """The second begins while the first computes, and ends after it."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    begun, ended = threading.Event(), threading.Event()
    try:
        with ThreadPoolExecutor(1) as executor:
            first = one_thread()
            first.__enter__()
            second = executor.submit(hold_one_thread, begun, ended)
            begun.wait(60)
            first.__exit__(None, None, None)
            ended.set()
            second.result()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(n_threads)


def hold_one_thread(begun: threading.Event, ended: threading.Event) -> None:
    """Compute with one thread from `begun` to `ended`."""
    with one_thread():
        begun.set()
        ended.wait(60)


@pytest.fixture
def odd_defaults() -> Iterator[None]:
    """PyTorch's defaults as a user may have set them."""
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


def test_defaults_of_pytorch_change_no_result(
    request: pytest.FixtureRequest, small_trainings: None
) -> None:
    """Type, device and gradients are those of the training, by whichever backend."""
    usual = [curves(trained(MEMBERS[:2], 10, backend=b, dropout=True)) for b in BACKENDS]
    request.getfixturevalue("odd_defaults")
    odd = [curves(trained(MEMBERS[:2], 10, backend=b, dropout=True)) for b in BACKENDS]

    assert odd == usual


def test_a_single_training_raises_where_a_population_marks() -> None:
    """`train` reports divergence by an exception."""
    run = train(
        initial_network(0, CPU), images(192), images(20), learning_rate=1e8, momentum=0.9,
        weight_decay=0.1, epochs=1, seed=0,
    )  # fmt: skip

    with pytest.raises(DivergedError):
        next(run)

"""Facts about every trainer of populations, against separate trainings."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from optuna_ga.fashion_mnist._chunks import Chunk, Stack, VmapChunk
from optuna_ga.fashion_mnist._data import Images, load_subset
from optuna_ga.fashion_mnist._network import draw_kept, drop_out, initial_network
from optuna_ga.fashion_mnist._stacked import StackedTrainer, split_evenly
from optuna_ga.fashion_mnist._trainers import Epochs, LoopTrainer, Member, ThreadsTrainer, Trainer
from optuna_ga.fashion_mnist._training import DivergedError, train
from optuna_ga.torch._backends.cuda_graph import Capturer
from optuna_ga.torch._environment import one_thread

CPU = torch.device("cpu")
# Momentum 0 and weight decay 0 are among them, where PyTorch's SGD takes other paths.
MEMBERS = [
    Member(0.05, 0.9, 0.01),
    Member(0.1, 0.0, 0.0),
    Member(0.02, 0.5, 0.1),
]
DIVERGING = Member(1e8, 0.9, 0.1)
TRAINERS = [LoopTrainer, ThreadsTrainer, StackedTrainer]
FAST_TRAINERS = [ThreadsTrainer, StackedTrainer]
slow = pytest.mark.slow

MakeTrainer = Callable[..., Trainer]


def images(n: int, start: int = 0, device: torch.device = CPU) -> Images:
    """Return real images."""
    return load_subset(device).training.take(slice(start, start + n))


def trained(
    trainer: Trainer,
    members: list[Member],
    n_images: int = 20,
    epochs: int = 1,
    drop: dict[int, Collection[int]] | None = None,
    device: torch.device = CPU,
) -> list[Epochs]:
    """Return the results of each epoch, dropping positions after the epochs in `drop`."""
    ended: list[Epochs] = []

    def after_epoch(results: Epochs) -> Collection[int]:
        ended.append(dict(results))
        return (drop or {}).get(len(ended), ())

    training, validation = images(n_images, 0, device), images(20, 3000, device)
    trainer.train(members, training, validation, epochs, after_epoch)
    return ended


def largest_difference(first: list[Epochs], second: list[Epochs]) -> float:
    """Return the largest difference of any loss or accuracy of the same members."""
    assert [epochs.keys() for epochs in first] == [epochs.keys() for epochs in second]
    return max(
        abs(a - b)
        for mine, theirs in zip(first, second, strict=True)
        for position in mine
        for a, b in zip(mine[position] or (), theirs[position] or (), strict=True)
    )


def on_cpu(trainer: MakeTrainer, **options: Any) -> Trainer:
    """Return a trainer in float64, where rounding does not grow to differences."""
    return trainer(CPU, **{"dtype": torch.float64, **options})


def test_the_loop_is_separate_trainings(small_trainings: None) -> None:
    """Each member's results equal those of training it alone."""
    (together,) = trained(LoopTrainer(CPU), MEMBERS)

    for position, member in enumerate(MEMBERS):
        alone = train(
            initial_network(member.seed, CPU), images(20), images(20, start=3000),
            **member._asdict(), epochs=1,
        )  # fmt: skip
        assert together[position] == next(alone)


@pytest.mark.parametrize("trainer", FAST_TRAINERS)
@pytest.mark.parametrize(("n_images", "epochs"), [(10, 2), pytest.param(50, 6, marks=slow)])
def test_losses_equal_separate_trainings_in_float64(
    trainer: MakeTrainer, n_images: int, epochs: int, small_trainings: None
) -> None:
    """The learning rate decays and the last batch is smaller; losses agree within 1e-12."""
    mine, theirs = (trained(on_cpu(t), MEMBERS, n_images, epochs) for t in (trainer, LoopTrainer))

    assert len(mine) == epochs
    assert largest_difference(mine, theirs) < 1e-12


@pytest.mark.parametrize("epochs", [2, pytest.param(10, marks=slow)])
def test_stacked_weights_equal_separate_trainings_in_float64(
    epochs: int, small_trainings: None
) -> None:
    """Epochs have three whole batches and a smaller one; the weights agree within 1e-12."""
    stack = Stack(MEMBERS, CPU, torch.float64)
    chunk = VmapChunk(
        3, images(26), images(20), dtype=torch.float64, precision="float32", dropout=False,
        capturer=Capturer(CPU),
    )  # fmt: skip
    orders = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        chunk.load(stack, [0, 1, 2])
        chunk.train_epoch(torch.randperm(26, generator=orders), 0)
        chunk.store(stack, [0, 1, 2])
        stack.decay_learning_rates(0.7)

    for row, member in enumerate(MEMBERS):
        network = initial_network(0, CPU).double()
        list(train(network, images(26), images(20), **member._asdict(), epochs=epochs))
        for mine, theirs in zip(stack.weights.values(), network.parameters(), strict=True):
            torch.testing.assert_close(mine[row], theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("trainer", FAST_TRAINERS)
@pytest.mark.parametrize("n_images", [64 + 16, pytest.param(20 * 64, marks=slow)])
def test_losses_equal_separate_trainings_in_float32(trainer: MakeTrainer, n_images: int) -> None:
    """Losses agree within 2e-5; after 20 steps runs part by chaos, in plain PyTorch too."""
    members = [Member(0.01, 0.5, 0.01), Member(0.02, 0.0, 0.0), Member(0.005, 0.9, 0.1)]
    mine, theirs = (trained(t(CPU), members, n_images) for t in (trainer, LoopTrainer))

    assert largest_difference(mine, theirs) < 2e-5


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_diverging_member_changes_no_other(trainer: MakeTrainer, small_trainings: None) -> None:
    """The other members are the same to the bit; the diverging one is marked and drops out."""
    beside_healthy = trained(trainer(CPU), MEMBERS, epochs=2)
    beside_diverging = trained(trainer(CPU), [MEMBERS[0], DIVERGING, MEMBERS[2]], epochs=2)

    assert beside_diverging[0][1] is None
    assert list(beside_diverging[1]) == [0, 2]
    for epoch in (0, 1):
        assert beside_diverging[epoch][0] == beside_healthy[epoch][0]
        assert beside_diverging[epoch][2] == beside_healthy[epoch][2]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_diverged_member_is_marked_though_its_accuracy_is_finite(
    trainer: MakeTrainer, small_trainings: None
) -> None:
    """A loss that is not finite marks it; its accuracy is a tenth, as NaN gives."""
    (ended,) = trained(trainer(CPU), [DIVERGING, DIVERGING], 24)

    assert ended == {0: None, 1: None}


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_members_result_does_not_depend_on_its_place(
    trainer: MakeTrainer, small_trainings: None
) -> None:
    """On the CPU neighbours do not change a single bit either."""
    (forward,) = trained(trainer(CPU), MEMBERS)
    (backward,) = trained(trainer(CPU), MEMBERS[::-1])
    (alone,) = trained(trainer(CPU), MEMBERS[:1])

    assert forward[0] == backward[2] == alone[0]
    assert forward[1] == backward[1]


@pytest.mark.parametrize("trainer", TRAINERS)
def test_dropping_members_leaves_the_others_unchanged(
    trainer: MakeTrainer, small_trainings: None
) -> None:
    """A member that drops out after an epoch is absent from then on."""
    whole = trained(trainer(CPU), MEMBERS, 10, epochs=3)
    dropping = trained(trainer(CPU), MEMBERS, 10, epochs=3, drop={1: {0}, 2: {1}})

    assert [list(epochs) for epochs in dropping] == [[0, 1, 2], [1, 2], [2]]
    assert all(dropping[epoch][2] == whole[epoch][2] for epoch in range(3))


@pytest.mark.parametrize("trainer", TRAINERS)
def test_training_ends_when_all_have_dropped_out(
    trainer: MakeTrainer, small_trainings: None
) -> None:
    """No further epoch is trained."""
    assert len(trained(trainer(CPU), MEMBERS, 8, epochs=3, drop={1: {0, 1, 2}})) == 1


def test_work_falls_as_members_drop_out(
    monkeypatch: pytest.MonkeyPatch, small_trainings: None
) -> None:
    """A chunk is no larger than the remaining members need."""
    sizes = []
    load = Chunk.load

    def counting(chunk: Chunk, stack: Stack, rows: list[int]) -> None:
        sizes.append(chunk.size)
        load(chunk, stack, rows)

    monkeypatch.setattr(Chunk, "load", counting)
    trained(StackedTrainer(CPU), [MEMBERS[0]] * 7, 8, epochs=3, drop={1: {0, 1}, 2: {2, 3, 4}})

    assert sizes == [8, 5, 2]


@pytest.mark.parametrize("trainer", FAST_TRAINERS)
def test_members_of_other_seeds_train_as_alone(
    trainer: MakeTrainer, small_trainings: None
) -> None:
    """Each has the initial weights and the batches of its own seed."""
    members = [Member(0.05, 0.5, 0.01, seed=seed) for seed in (0, 1, 0)]
    mine, theirs = (trained(on_cpu(t), members, 10, 2) for t in (trainer, LoopTrainer))

    assert largest_difference(mine, theirs) < 1e-12
    assert mine[0][0] == mine[0][2] != mine[0][1]


@pytest.mark.parametrize("trainer", FAST_TRAINERS)
def test_dropout_is_that_of_separate_trainings(
    trainer: MakeTrainer, small_trainings: None
) -> None:
    """A member's masks depend on its seed alone, so float64 losses are equal."""
    mine, theirs, without = (
        trained(on_cpu(t, dropout=d), MEMBERS[::-1], 10, 2)
        for t, d in ((trainer, True), (LoopTrainer, True), (LoopTrainer, False))
    )

    assert largest_difference(mine, theirs) < 1e-12
    assert largest_difference(theirs, without) > 1e-3


def test_dropout_leaves_out_the_stated_shares() -> None:
    """A quarter and a half become zero, and the mean stays."""
    kept = draw_kept(800, torch.Generator().manual_seed(0))
    for prob, each in zip((0.25, 0.5), kept, strict=True):
        dropped = drop_out(torch.ones(each.shape), each, prob)
        assert abs((dropped == 0).double().mean().item() - prob) < 0.01
        assert abs(dropped.mean().item() - 1) < 0.02


@pytest.mark.parametrize("trainer", TRAINERS)
def test_bfloat16_comes_close_to_float32(trainer: MakeTrainer, small_trainings: None) -> None:
    """Results differ by rounding, and by less than a tenth."""
    (exact,) = trained(trainer(CPU), MEMBERS, 20)
    (rough,) = trained(trainer(CPU, precision="bfloat16"), MEMBERS, 20)

    assert 0 < largest_difference([exact], [rough]) < 0.1


def test_too_little_memory_makes_smaller_chunks(
    monkeypatch: pytest.MonkeyPatch, small_trainings: None
) -> None:
    """One warning says so, and the results equal separate trainings."""
    create = Chunk.__init__

    def scarce(chunk: Chunk, size: int, *rest: Any, **options: Any) -> None:
        if size > 1:
            raise torch.OutOfMemoryError
        create(chunk, size, *rest, **options)

    monkeypatch.setattr(Chunk, "__init__", scarce)
    members = [*MEMBERS, *MEMBERS]
    with pytest.warns(RuntimeWarning, match="no memory to train 6 networks") as warned:
        mine = trained(on_cpu(StackedTrainer), members, 10)

    assert len(warned) == 1
    assert largest_difference(mine, trained(on_cpu(LoopTrainer), members, 10)) < 1e-12


def test_too_little_memory_for_one_network_is_an_error(
    monkeypatch: pytest.MonkeyPatch, small_trainings: None
) -> None:
    """There is no smaller chunk to try."""

    def none_left(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Chunk, "__init__", none_left)
    with pytest.raises(torch.OutOfMemoryError, match="no memory to train a single network"):
        trained(StackedTrainer(CPU), MEMBERS[:1])


@pytest.mark.parametrize("n", [1, 5, 16, 17, 20, 33, 50])
def test_chunks_are_even_and_hold_everyone_once(n: int) -> None:
    """No chunk is larger than 16, and only the last is smaller than the others."""
    parts = list(split_evenly(range(n), 16))

    assert [row for part in parts for row in part] == list(range(n))
    assert len(parts) == math.ceil(n / 16)
    assert len({len(part) for part in parts[:-1]}) <= 1


def test_threads_leave_pytorchs_setting_alone(small_trainings: None) -> None:
    """The number of threads is restored, also after an error."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        trained(ThreadsTrainer(CPU), MEMBERS[:1], 8)
        with pytest.raises(ZeroDivisionError):
            ThreadsTrainer(CPU).train(MEMBERS, images(0), images(1), 1, lambda _: ())
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
    """Type, device and gradients are those of the training, by whichever trainer."""
    usual = [trained(trainer(CPU, dropout=True), MEMBERS[:2], 10) for trainer in TRAINERS]
    request.getfixturevalue("odd_defaults")
    odd = [trained(trainer(CPU, dropout=True), MEMBERS[:2], 10) for trainer in TRAINERS]

    assert odd == usual


def test_a_single_training_raises_where_a_population_marks() -> None:
    """`train` reports divergence by an exception."""
    run = train(initial_network(0, CPU), images(192), images(20), **DIVERGING._asdict(), epochs=1)

    with pytest.raises(DivergedError):
        next(run)

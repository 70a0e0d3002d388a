"""The multiply-adds of a training, against counts by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from optuna_ga.torch import Member, PopulationTrainer, TensorData
from tests.torch.tasks import Classes, Encoder, Recurrent, cnn, images, mlp, rows, tokens


def counted(
    network: Callable[..., nn.Module], data: TensorData, member: Member | None = None
) -> int:
    """Return the multiply-adds of a member's training over two epochs."""
    trainer = PopulationTrainer(
        Classes(network), train=data, validation=data, epochs=2, backend="loop", device="cpu"
    )
    return trainer.multiply_adds(member or Member(0.1))


def mlp_by_hand(n_rows: int, width: int) -> int:
    """Forward and weights' gradients of two layers, and the input's gradient of the second."""
    return n_rows * (2 * 6 * width + 3 * width * 3)


def test_a_perceptron() -> None:
    """30 rows in batches of 8 and one of 6, for two epochs."""
    assert counted(mlp, rows(30)) == 2 * mlp_by_hand(30, 16)


def test_a_members_own_settings() -> None:
    """Width and epochs count; another batch size and seed do not."""
    member = Member(0.1, batch_size=100, epochs=5, seed=3, model={"width": 4})

    assert counted(mlp, rows(30), member) == 5 * mlp_by_hand(30, 4)


def test_a_convolutional_network() -> None:
    """Each output pixel of a layer reads channels times nine pixels; normalization is free."""
    first, second, head = 36 * 4 * 2 * 9, 16 * 4 * 4 * 9, 64 * 3

    assert counted(cnn, images(30)) == 2 * 30 * (2 * first + 3 * second + 3 * head)


def test_a_recurrent_network() -> None:
    """Four gates of 8 features at each of five tokens read input and state."""
    gates, head = 4 * 8 * 8, 8 * 3
    expected = 30 * (5 * 3 * 2 * gates + 3 * head)

    found = counted(lambda: Recurrent(nn.LSTM), tokens(30))
    assert found == pytest.approx(2 * expected, rel=0.05)  # The first state needs no gradient.


def test_an_encoder() -> None:
    """Projections, two products of attention and two layers behind it, twice."""
    projections, attention, feed_forward = 5 * 4 * 8 * 8, 2 * 5 * 5 * 8, 5 * 2 * 8 * 16
    expected = 30 * (2 * 3 * (projections + attention + feed_forward) + 3 * 8 * 3)

    assert counted(Encoder, tokens(30)) == 2 * expected


def test_the_count_needs_no_computing_and_leaves_generators_alone() -> None:
    """A network of a trillion products a step is counted at once; the global state is the same."""
    state = torch.get_rng_state()
    data = TensorData(torch.zeros(100_000, 6), torch.zeros(100_000).long(), batch_size=100_000)
    trainer = PopulationTrainer(
        Classes(mlp, torch.float32),
        train=data,
        validation=rows(8, torch.float32),
        epochs=1,
        backend="loop",
        device="cpu",
    )

    found = trainer.multiply_adds(Member(0.1, model={"width": 1_000_000}))
    assert found == mlp_by_hand(100_000, 1_000_000)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loader_is_refused() -> None:
    """Its batches are not known beforehand."""
    data = [(torch.zeros(8, 6), torch.zeros(8).long())]
    trainer = PopulationTrainer(
        Classes(mlp, torch.float32), train=data, validation=data, epochs=1, device="cpu"
    )

    with pytest.raises(ValueError, match="`train` must be a `TensorData`"):
        trainer.multiply_adds(Member(0.1))


class Steering(Classes):
    """A loss whose number steers Python."""

    def loss(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Return the loss, doubled if it is large."""
        loss = super().loss(model, batch)
        return 2 * loss if loss.item() > 1 else loss


def test_a_loss_that_needs_numbers_is_refused() -> None:
    """The meta device has none."""
    trainer = PopulationTrainer(
        Steering(mlp), train=rows(8), validation=rows(8), epochs=1, backend="loop", device="cpu"
    )

    with pytest.raises(ValueError, match=r'`task.loss` must compute on PyTorch\'s "meta" device'):
        trainer.multiply_adds(Member(0.1))


def test_what_is_no_member_is_refused() -> None:
    """Before its network is made."""
    trainer = PopulationTrainer(
        Classes(mlp), train=rows(8), validation=rows(8), epochs=1, backend="loop", device="cpu"
    )

    with pytest.raises(TypeError, match=r"^`member` must be a `Member`, but None was given"):
        trainer.multiply_adds(None)  # type: ignore[arg-type]

"""Random numbers of members are uniform, independent, and the same everywhere."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.func import vmap
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga.torch._randomness import MemberRandomness, member_key

N = 100_000
ONES = torch.ones(N)


def key(seed: int, epoch: int = 0) -> Tensor:
    """Return a member's key."""
    return torch.tensor(member_key(seed, epoch), dtype=torch.int32)


def draws(seed: int = 0, epoch: int = 0, step: int = 0) -> list[Tensor]:
    """Return two draws of a step."""
    with MemberRandomness(key(seed, epoch), torch.tensor(step, dtype=torch.int32)):
        return [torch.rand_like(ONES), torch.rand_like(ONES)]


def test_numbers_are_uniform() -> None:
    """Mean and histogram are within five standard errors."""
    for x in draws() + draws(seed=1, step=77):
        counts = torch.histc(x, 100, 0, 1)

        assert 0 <= x.min().item() < x.max().item() < 1
        assert abs(x.mean().item() - 0.5) < 5 * (12 * N) ** -0.5
        assert abs(((counts - N / 100) ** 2 / (N / 100)).sum().item() - 99) < 5 * (2 * 99) ** 0.5


def test_calls_steps_epochs_seeds_and_neighbours_are_independent() -> None:
    """No two sequences correlate by more than five standard errors."""
    first, second = draws()
    others = [draws(step=1)[0], draws(epoch=1)[0], draws(seed=1)[0], first.roll(1), first.roll(64)]
    for x, y in itertools.combinations([first, second, *others], 2):
        correlation = torch.corrcoef(torch.stack([x, y]))[0, 1].item()

        assert abs(correlation) < 5 * N**-0.5


def test_normal_numbers_are_normal() -> None:
    """Mean, deviation and the share beyond two deviations are those of the normal distribution."""
    with MemberRandomness(key(0), torch.tensor(0, dtype=torch.int32)):
        x = torch.randn_like(ONES)

    assert abs(x.mean().item()) < 5 * N**-0.5
    assert x.std().item() == pytest.approx(1, abs=0.02)
    assert (x.abs() > 2).double().mean().item() == pytest.approx(0.0455, abs=0.004)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_dropout_leaves_out_a_share_and_scales_the_rest(p: float) -> None:
    """The scale is that of PyTorch's dropout."""
    with MemberRandomness(key(0), torch.tensor(0, dtype=torch.int32)):
        x = F.dropout(ONES, p)

    assert (x == 0).double().mean().item() == pytest.approx(p, abs=0.01)
    assert p == 1 or x.max().item() == pytest.approx(1 / (1 - p))


def test_channels_drop_as_a_whole() -> None:
    """`dropout1d`, `dropout2d` and `dropout3d` keep or drop whole channels."""
    with MemberRandomness(key(0), torch.tensor(0, dtype=torch.int32)):
        for n, drop in enumerate((F.dropout1d, F.dropout2d, F.dropout3d), start=1):
            x = drop(torch.ones(8, 16, *[4] * n), 0.5).flatten(2)

            assert torch.equal(x.amin(2), x.amax(2))
            assert 0 < (x[..., 0] == 0).sum().item() < 8 * 16


def test_a_member_draws_the_same_in_company() -> None:
    """Inside `vmap` a key gives the same numbers as alone."""
    step = torch.tensor(3, dtype=torch.int32)

    def draw(key: Tensor) -> Tensor:
        with MemberRandomness(key, step):
            return F.dropout(ONES, 0.3)

    together = vmap(draw)(torch.stack([key(0), key(1), key(2)]))

    assert torch.equal(together[1], draw(key(1)))


@pytest.mark.parametrize("mask", ["none", "causal", "bool", "float"])
def test_attention_equals_pytorchs_but_for_dropout(mask: str) -> None:
    """The dropout probability is so small that it leaves out almost nothing."""
    query, keys, value = torch.randn(
        3, 2, 4, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    allowed = torch.ones(5, 5, dtype=torch.bool).tril()
    bias = torch.zeros(5, 5, dtype=torch.float64).masked_fill(~allowed, -1.0)
    given = {"bool": allowed, "float": bias}.get(mask)
    options = {"attn_mask": given, "is_causal": mask == "causal"}
    expected = F.scaled_dot_product_attention(query, keys, value, **options)  # type: ignore
    with MemberRandomness(key(0), torch.tensor(0, dtype=torch.int32)):
        found = F.scaled_dot_product_attention(
            query, keys, value, dropout_p=1e-9, **options  # type: ignore
        )  # fmt: skip

    assert (found - expected).abs().max().item() < 1e-8

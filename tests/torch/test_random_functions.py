"""PyTorch's random functions draw by a member's seed, by every backend the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.distributions import (
    Beta,
    Categorical,
    Dirichlet,
    Exponential,
    Gamma,
    Laplace,
    Normal,
    Uniform,
)
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga.torch._randomness.keys import member_key
from optuna_ga.torch._randomness.member_randomness import MemberRandomness
from tests.torch.tasks import (
    FOUR,
    MEMBERS,
    Classes,
    Recurrent,
    difference,
    mlp,
    rows,
    tokens,
    trained,
)

BACKENDS = ["loop", "threads", "vmap", "branches"]
N = 50_000
SHAPE = (N,)
INTEGERS = torch.ones(2, dtype=torch.int64)
COMPLEX = torch.ones(2, dtype=torch.complex64)
HALVES = torch.ones(2, dtype=torch.float16)
CUBE = torch.ones(3, 3, 3)
UNCHECKED: Any = {"validate_args": False}  # As a GPU needs it.

# Of rows (B, 3) in float64.
NOISE: dict[str, Callable[[Tensor], Tensor]] = {
    "rand": lambda x: torch.rand(len(x), 1),
    "randn": lambda x: torch.randn(x.shape, dtype=torch.float64),
    "randint": lambda x: torch.randint(3, (len(x), 1)),
    "randint_like": lambda x: torch.randint_like(x, -2, 3),
    "randperm": lambda x: x[torch.randperm(len(x))],
    "bernoulli": lambda x: torch.bernoulli(x.sigmoid()),
    "bernoulli_": lambda x: torch.empty_like(x).bernoulli_(0.3),
    "normal": lambda x: torch.normal(x, 0.3),
    "normal of a shape": lambda x: torch.normal(0.0, 1.0, (len(x), 1)),
    "normal_": lambda x: torch.empty_like(x).normal_(0, 0.1),
    "empty.normal_": lambda x: torch.empty(len(x), 3).normal_(),
    "uniform_": lambda x: torch.empty(3).uniform_(-1, 1),
    "exponential_": lambda x: torch.empty(3, dtype=torch.float64).exponential_(2.0),
    "multinomial": lambda x: torch.multinomial(x.exp(), 1),
    "multinomial of 2": lambda x: torch.multinomial(x.exp(), 2, True)[:, 1:],
    "multinomial of 1 row": lambda x: x[torch.multinomial(torch.ones(len(x)), len(x), True)],
    "gumbel_softmax": lambda x: F.gumbel_softmax(x, 0.5),
    "hard gumbel_softmax": lambda x: F.gumbel_softmax(x, hard=True),
    "rrelu": lambda x: F.rrelu(x, training=True),
    "alpha_dropout": lambda x: F.alpha_dropout(x, 0.3, training=True),
    "feature_alpha_dropout": lambda x: F.feature_alpha_dropout(x, 0.3, training=True),
    "Normal": lambda x: Normal(x, x.exp(), **UNCHECKED).rsample(),
    "Uniform": lambda x: Uniform(x, x + 1, **UNCHECKED).rsample(),
    "Laplace": lambda x: Laplace(x.detach()[:1], 1.0, **UNCHECKED).rsample(),
    "Exponential": lambda x: Exponential(torch.ones(3), **UNCHECKED).rsample(),
    "Categorical": lambda x: Categorical(x.softmax(1), **UNCHECKED).sample().unsqueeze(1),
}


class WithNoise(nn.Module):
    """A layer whose outputs get noise."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        """Return the noisy outputs `(B, 3)`."""
        outputs: Tensor = self.layer(x)
        return outputs + NOISE[self.name](outputs) if self.training else outputs


def within(draw: Callable[[], Tensor], seed: int = 0, epoch: int = 0, step: int = 0) -> Tensor:
    """Return what is drawn by a member."""
    key = torch.tensor(member_key(seed, epoch), dtype=torch.int32)
    with MemberRandomness(key, torch.tensor(step, dtype=torch.int32)):
        return draw()


@pytest.mark.parametrize("name", NOISE)
def test_backends_draw_the_same(name: str) -> None:
    """Also "auto" takes a parallel one, without a warning."""
    task = Classes(partial(WithNoise, name))
    loop, *others = (trained(task, rows, backend=each) for each in [*BACKENDS, "auto"])

    assert all(difference(loop, each) < 1e-12 for each in others)


class Jittered(Classes):
    """Noise in the form of a batch, which members of equal seeds share."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return super().loss(model, (x + torch.empty_like(x).normal_(0, 0.1), y))


def test_noise_like_a_shared_batch_is_a_members_own() -> None:
    """Also where a layer draws in training alone."""
    members = [replace(each, seed=0) for each in MEMBERS]
    task = Jittered(lambda: nn.Sequential(nn.Linear(6, 3), nn.RReLU()))
    loop, *others = (trained(task, rows, members, backend=each) for each in BACKENDS)

    assert all(difference(loop, each) < 1e-12 for each in others)


class Mixed(Classes):
    """Mixup by the field's usual distribution, which `vmap` cannot map."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        share, order = Beta(0.4, 0.4).sample(), torch.randperm(len(x))
        logits = model(share * x + (1 - share) * x[order])
        one, other = F.cross_entropy(logits, y), F.cross_entropy(logits, y[order])
        return share * one + (1 - share) * other


def test_mixup_trains_in_parallel() -> None:
    """By threads and branches as in the loop."""
    loop, *others = (
        trained(Mixed(mlp), rows, backend=each) for each in ("loop", "threads", "branches")
    )

    assert all(difference(loop, each) < 1e-12 for each in others)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("both", [False, True])
def test_recurrent_layers_drop_out_the_same(kind: Callable[..., nn.Module], both: bool) -> None:
    """A stack of layers trains by every backend."""
    cells = partial(kind, num_layers=3, dropout=0.4, bidirectional=both)
    task = Classes(partial(Stacked, cells, 16 if both else 8))
    loop, *others = (trained(task, tokens, backend=each) for each in BACKENDS)

    assert all(difference(loop, each) < 1e-12 for each in others)


class Stacked(Recurrent):
    """Recurrent layers with outputs of some width."""

    def __init__(self, kind: Callable[..., nn.Module], width: int) -> None:
        super().__init__(kind)
        self.head = nn.Linear(width, 3)


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_layers_one_by_one_compute_what_pytorch_does(kind: Any, is_packed: bool) -> None:
    """The dropout probability is so small that it leaves out almost nothing."""
    cells = kind(4, 5, 3, dropout=1e-9, bidirectional=True).double()
    x: Any = torch.randn(7, 2, 4, generator=torch.Generator().manual_seed(0)).double()
    if is_packed:
        x = nn.utils.rnn.pack_padded_sequence(x, [7, 3])
    expected = [each for each in torch.utils._pytree.tree_leaves(cells(x)) if each is not None]
    found = within(lambda: cells(x))
    leaves = [each for each in torch.utils._pytree.tree_leaves(found) if each is not None]

    assert len(leaves) == len(expected)
    assert all(torch.allclose(*pair, atol=1e-7) for pair in zip(leaves, expected, strict=True))


CONTINUOUS: dict[str, tuple[Callable[[], Tensor], Any]] = {
    "rand": (lambda: torch.rand(N), stats.uniform()),
    "randn": (lambda: torch.randn(N), stats.norm()),
    "normal": (lambda: torch.normal(torch.full(SHAPE, 2.0), 3.0), stats.norm(2, 3)),
    "normal_": (lambda: torch.empty(N).normal_(-1, 2), stats.norm(-1, 2)),
    "uniform_": (lambda: torch.empty(N).uniform_(-1, 3), stats.uniform(-1, 4)),
    "exponential_": (lambda: torch.empty(N).exponential_(2.0), stats.expon(scale=0.5)),
    "Laplace": (lambda: Laplace(torch.zeros(N), 2.0).sample(), stats.laplace(scale=2)),
    "Beta": (lambda: Beta(torch.full(SHAPE, 0.4), 0.4).sample(), stats.beta(0.4, 0.4)),
    "Beta above 1": (lambda: Beta(torch.full(SHAPE, 2.0), 5.0).sample(), stats.beta(2, 5)),
    "Gamma": (lambda: Gamma(torch.full(SHAPE, 0.3), 2.0).sample(), stats.gamma(0.3, scale=0.5)),
    "Gamma above 1": (lambda: Gamma(torch.full(SHAPE, 1.0), 1.0).sample(), stats.gamma(1)),
    "Dirichlet": (
        lambda: Dirichlet(torch.tensor([[1.0, 2.0, 3.0]]).expand(N, 3)).rsample()[:, 0],
        stats.beta(1, 5),
    ),
    "rrelu": (lambda: F.rrelu(-torch.ones(N), 0.1, 0.5, True), stats.uniform(-0.5, 0.4)),
}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_numbers_have_their_distribution(name: str) -> None:
    """By the test of Kolmogorov and Smirnov, at a level of 0.001."""
    draw, distribution = CONTINUOUS[name]
    for seed in range(3):
        assert stats.kstest(within(draw, seed).numpy(), distribution.cdf).pvalue > 0.001


DISCRETE: dict[str, tuple[Callable[[], Tensor], list[float]]] = {
    "randint": (lambda: torch.randint(7, SHAPE), [1 / 7] * 7),
    "randint_like": (lambda: torch.randint_like(torch.empty(N), 5), [0.2] * 5),
    "bernoulli": (lambda: torch.bernoulli(torch.full(SHAPE, 0.3)), [0.7, 0.3]),
    "bernoulli_": (lambda: torch.empty(N).bernoulli_(0.9), [0.1, 0.9]),
    "multinomial": (
        lambda: torch.multinomial(torch.tensor([1.0, 3.0, 0.0, 4.0]), N, True),
        [1 / 8, 3 / 8, 0.0, 1 / 2],
    ),
    "multinomial of rows": (
        lambda: torch.tensor([[0.0, 3.0, 5.0], [5.0, 3.0, 0.0]]).multinomial(N, True)[1],
        [5 / 8, 3 / 8, 0.0],
    ),
    "Categorical": (
        lambda: Categorical(torch.tensor([[0.1, 0.2, 0.7]]).expand(N, 3)).sample(),
        [0.1, 0.2, 0.7],
    ),
    "gumbel_softmax": (
        lambda: F.gumbel_softmax(torch.tensor([[0.0, 1.0]]).expand(N, 2)).argmax(1),
        [0.26894, 0.73106],
    ),
    "randperm": (
        lambda: torch.stack([torch.randperm(3)[0] for _ in range(3000)]),
        [1 / 3] * 3,
    ),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_numbers_have_their_shares(name: str) -> None:
    """By a chi-square test at a level of 0.001."""
    draw, shares = DISCRETE[name]
    possible = np.array(shares) > 0
    for seed in range(3):
        drawn = within(draw, seed).long()
        counts = np.bincount(drawn.numpy(), minlength=len(shares))
        expected = np.array(shares) * len(drawn)

        assert not counts[~possible].any()
        assert stats.chisquare(counts[possible], expected[possible]).pvalue > 0.001


def test_alpha_dropout_keeps_mean_and_deviation() -> None:
    """Of standard normal inputs, within five standard errors."""
    x = torch.randn(N, generator=torch.Generator().manual_seed(0))
    dropped = within(lambda: F.alpha_dropout(x, 0.3, True))

    assert abs(dropped.mean().item()) < 5 * N**-0.5
    assert dropped.std().item() == pytest.approx(1, abs=0.03)


def test_samples_without_replacement_differ() -> None:
    """The heavier one comes first in its share of the cases."""
    drawn = within(lambda: torch.multinomial(torch.tensor([1.0, 3.0]).expand(N, 2), 2))

    assert torch.equal(drawn.sort(1).values, torch.arange(2).expand(N, 2))
    assert drawn[:, 0].double().mean().item() == pytest.approx(0.75, abs=0.01)


def test_what_has_no_weight_is_never_drawn() -> None:
    """Of many weights, most of them 0, as many numbers are drawn as a sampler does."""
    weights = torch.zeros(100, 640).index_fill_(1, torch.arange(3, 640, 7), 1e-30)
    drawn = within(lambda: torch.multinomial(weights, 5000, True))
    counts = np.bincount(drawn.flatten().numpy(), minlength=640)

    assert not counts[weights[0].numpy() == 0].any()
    assert stats.chisquare(counts[3::7]).pvalue > 0.001


@pytest.mark.parametrize(
    "draw", [lambda: torch.randint(-(2**62), 2**62, (3,)), lambda: torch.randint(2**54, (3,))]
)
def test_integers_of_a_wide_range_are_pytorchs(draw: Callable[[], Tensor]) -> None:
    """They would not be equally likely, up to a thousandth."""
    torch.manual_seed(0)
    expected = draw()
    torch.manual_seed(0)

    assert torch.equal(within(draw), expected)


def test_integers_of_a_wide_range_end_in_the_loop() -> None:
    """With a warning that names the function."""
    with pytest.warns(RuntimeWarning, match="global generator by `randint`"):
        trained(WideIntegers(mlp), rows, FOUR)


class WideIntegers(Classes):
    """A task that draws a seed."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return super().loss(model, batch) + torch.randint(2**60, ()) * 2.0**-60


@pytest.mark.parametrize("n", [0, 1, 1000])
def test_permutations_have_each_place_once(n: int) -> None:
    """In an order of the member's own."""
    one, other = (within(lambda: torch.randperm(n), seed) for seed in (0, 1))

    assert torch.equal(one.sort().values, torch.arange(n))
    assert n < 2 or not torch.equal(one, other)


@pytest.mark.parametrize("name", NOISE)
def test_seeds_epochs_steps_and_calls_draw_other_numbers(name: str) -> None:
    """And the same ones again."""
    x = torch.zeros(64, 3, dtype=torch.float64) - torch.arange(64).unsqueeze(1) / 64

    def twice() -> Tensor:
        return torch.stack([NOISE[name](x), NOISE[name](x)])

    found = [within(twice, *where) for where in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))]
    all_draws = torch.cat(found)

    assert torch.equal(within(twice), found[0])
    assert len(all_draws.flatten(1).unique(dim=0)) == 8


CALLS: list[Callable[[], Tensor]] = [
    lambda: torch.rand(()),
    lambda: torch.rand(2, 3),
    lambda: torch.rand((2, 3)),
    lambda: torch.rand(size=(2, 3), dtype=torch.float64),
    lambda: torch.rand([2], requires_grad=True),
    lambda: torch.randn(2, dtype=torch.complex64),
    lambda: torch.rand(torch.Size([2]), dtype=torch.bfloat16, device="cpu"),
    lambda: torch.randint(5, (2,)),
    lambda: torch.randint(2, 5, (2,), dtype=torch.uint8),
    lambda: torch.randint(high=5, size=(2,)),
    lambda: torch.randint(low=2, high=5, size=(2,)),
    lambda: torch.randint(0, 2**63 - 1, ()),
    lambda: torch.randint_like(torch.zeros(2), 5),
    lambda: torch.randint_like(torch.zeros(2), 2, 5, dtype=torch.int32),
    lambda: torch.randint_like(torch.zeros(2), low=2, high=5, device=None),
    lambda: torch.rand_like(torch.zeros(()), dtype=torch.float64, requires_grad=True),
    lambda: torch.randn_like(torch.zeros(2, 3, dtype=torch.float64), dtype=None),
    lambda: torch.multinomial(torch.ones(2, 3), 5, True),
    lambda: torch.randperm(5, dtype=torch.int32),
    lambda: torch.bernoulli(torch.zeros(2), 0.5),
    lambda: torch.full((2,), 0.5).bernoulli(),
    lambda: torch.zeros(2, dtype=torch.int64).bernoulli_(torch.full((2,), 0.5)),
    lambda: torch.normal(0.0, torch.ones(2, dtype=torch.float64)),
    lambda: torch.normal(torch.ones(2, 1), torch.ones(3)),
    lambda: torch.normal(torch.ones(2, dtype=torch.bfloat16), torch.ones(2)),
    lambda: torch.normal(torch.ones(2), torch.ones(2, dtype=torch.bfloat16)),
    lambda: torch.normal(0.0, math.inf, (2,)),
    lambda: torch.randint(256, (2,), dtype=torch.uint8),
    lambda: torch.randint(-128, 128, (2,), dtype=torch.int8),
    lambda: torch.randint(2, (2,), dtype=torch.bool),
    lambda: torch.randint(9, (2,), dtype=torch.bfloat16),
    lambda: torch.empty(2).uniform_(1.0, 1.0),
    lambda: torch.empty(2, dtype=torch.complex64).uniform_(),
    lambda: torch.normal(0.0, 1.0, (2,), dtype=torch.float64),
    lambda: torch.normal(mean=0.0, std=1.0, size=(2,)),
    lambda: torch.empty(2).uniform_(to=0.5),
    lambda: torch.empty(2).uniform_(0.1),
    lambda: torch.multinomial(torch.ones(2, 3), 2),
    lambda: torch.ones(3).multinomial(5, replacement=True),
    lambda: torch.empty(2, 3, dtype=torch.int64).fill_(0),
    lambda: torch.empty((2,), requires_grad=True),
    lambda: torch.empty_like(torch.zeros(2), dtype=torch.float64, requires_grad=True),
    lambda: torch.ones(2).new([1.0, 2.0]),
    lambda: torch.ones(2).new(torch.Size([2, 3])).fill_(0),
]


@pytest.mark.parametrize("n", range(len(CALLS)))
def test_calls_give_pytorchs_shape_and_type(n: int) -> None:
    """In all the forms that a call has."""
    found, expected = within(CALLS[n]), CALLS[n]()

    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert found.requires_grad == expected.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_uniform_numbers_stay_below_one(dtype: torch.dtype) -> None:
    """They are not rounded up."""
    drawn = within(lambda: torch.rand(N, dtype=dtype))

    assert 0 <= drawn.min().item() < 0.01
    assert 0.99 < drawn.max().item() < 1


@pytest.mark.parametrize(("low", "high"), [(100, 101), (-101, -100), (-4, -3), (-0.5, 0.5)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_short_uniform_numbers_stay_below_any_bound(
    dtype: torch.dtype, low: float, high: float
) -> None:
    """What they are rounded down from is uniform, by the test of Kolmogorov and Smirnov."""
    drawn = within(lambda: torch.empty(N, dtype=dtype).uniform_(low, high))
    below = torch.nextafter(drawn, torch.tensor(math.inf, dtype=dtype)).double() - drawn.double()
    generator = torch.Generator().manual_seed(0)
    spread = drawn.double() + below * torch.rand(N, generator=generator).double()

    assert low <= drawn.min().item() < drawn.max().item() < high
    assert stats.kstest(spread.numpy(), stats.uniform(low, high - low).cdf).pvalue > 0.001


def test_a_generator_of_the_users_own_is_used() -> None:
    """What it gives is PyTorch's."""
    generator = torch.Generator()
    found = within(lambda: torch.rand(3, generator=generator.manual_seed(5)))

    assert torch.equal(found, torch.rand(3, generator=generator.manual_seed(5)))


@pytest.mark.parametrize(
    ("draw", "error", "match"),
    [
        (lambda: torch.randint(3, 3, (2,)), RuntimeError, "need a range, but got 3 to 3"),
        (lambda: torch.normal(0.0, -1.0, (2,)), RuntimeError, "deviation of at least 0"),
        (lambda: torch.normal(0.0, -torch.ones(2)), RuntimeError, "deviation of at least 0"),
        (lambda: torch.empty(2).normal_(0.0, -1.0), RuntimeError, "deviation of at least 0"),
        (lambda: torch.empty(2).uniform_(1, 0), RuntimeError, "need a range, but got 1 to 0"),
        (lambda: torch.rand(2, dtype=torch.int64), NotImplementedError, "not torch.int64"),
        (lambda: torch.randn(2, dtype=torch.int64), NotImplementedError, "not torch.int64"),
        (lambda: torch.rand_like(INTEGERS), NotImplementedError, "not torch.int64"),
        (lambda: INTEGERS.clone().normal_(), NotImplementedError, "not torch.int64"),
        (lambda: INTEGERS.clone().uniform_(), NotImplementedError, "not torch.int64"),
        (lambda: INTEGERS.clone().exponential_(), RuntimeError, "not torch.int64"),
        (lambda: torch.randint(257, (2,), dtype=torch.uint8), RuntimeError, "from 0 to 256"),
        (lambda: torch.randint(-1, 9, (2,), dtype=torch.uint8), RuntimeError, "from -1 to 8"),
        (lambda: torch.randint(3, (2,), dtype=torch.bool), RuntimeError, "from 0 to 2"),
        (
            lambda: torch.randint(2**17, (2,), dtype=torch.float16),
            RuntimeError,
            "from 0 to 131071",
        ),
        (lambda: torch.bernoulli(torch.tensor([0.5, 1.5])), ValueError, r"must lie in \[0, 1\]"),
        (lambda: torch.empty(2).bernoulli_(-torch.ones(2)), ValueError, r"must lie in \[0, 1\]"),
        (lambda: torch.multinomial(torch.tensor([-1.0, 2.0]), 1), RuntimeError, "at least 0"),
        (lambda: torch.multinomial(torch.zeros(2), 1, True), RuntimeError, "some above 0"),
        (lambda: torch.multinomial(INTEGERS, 1), RuntimeError, "but got 1 of torch.int64"),
        (lambda: torch.multinomial(torch.ones(2, 2, 2), 1), RuntimeError, "but got 3 of"),
        (lambda: torch.empty(2).exponential_(0.0), RuntimeError, "rate above 0"),
        (lambda: torch.empty(2).bernoulli_(1.5), ValueError, r"must lie in \[0, 1\]"),
        (lambda: F.feature_alpha_dropout(torch.ones(2), 0.5, True), RuntimeError, "2 or more"),
        (lambda: torch.multinomial(torch.tensor([math.nan, 1.0]), 1), RuntimeError, "finite"),
        (lambda: torch.multinomial(torch.tensor([math.inf, 1.0]), 1), RuntimeError, "finite"),
        (lambda: torch.multinomial(torch.ones(2), 0, True), RuntimeError, "At least one place"),
        (lambda: torch.randperm(300, dtype=torch.uint8), RuntimeError, "from 0 to 299"),
        (lambda: F.rrelu(torch.ones(2), 0.5, 0.1, True), RuntimeError, "range, but got 0.5 to"),
        (lambda: COMPLEX.clone().exponential_(), RuntimeError, "not torch.complex64"),
        (lambda: torch.bernoulli(INTEGERS), RuntimeError, "not torch.int64"),
        (lambda: HALVES.clone().uniform_(0, 1e6), RuntimeError, "does not have the range"),
        (lambda: HALVES.clone().uniform_(-6e4, 6e4), RuntimeError, "does not have the range"),
        (
            lambda: F.scaled_dot_product_attention(CUBE, CUBE, CUBE, CUBE[0], 0.5, True),
            RuntimeError,
            "but both were given",
        ),
    ],
)
def test_wrong_numbers_are_refused(
    draw: Callable[[], Tensor], error: type[Exception], match: str
) -> None:
    """As PyTorch refuses them, too."""
    with pytest.raises(error, match=match):
        within(draw)
    with pytest.raises(RuntimeError):
        draw()


# Of an example `(3,)`, in a `vmap` of the task's own.
MAPPED: dict[str, Callable[[Tensor], Tensor]] = {
    "rand": lambda x: torch.rand(3),
    "randn_like": lambda x: torch.randn_like(x),
    "dropout": lambda x: F.dropout(x, 0.5, True),
    "attention": lambda x: F.scaled_dot_product_attention(
        x.view(1, 3, 1), x.view(1, 3, 1), x.view(1, 3, 1), dropout_p=0.5
    ),
    "gradient": lambda x: torch.func.grad(lambda y: (y * torch.rand(3)).sum())(x),
}


@pytest.mark.parametrize("name", MAPPED)
def test_examples_draw_their_own_numbers_in_an_inner_vmap(name: str) -> None:
    """Or the same ones, as PyTorch is told to."""

    def drawn(kind: str) -> Tensor:
        return within(lambda: torch.vmap(MAPPED[name], randomness=kind)(torch.ones(64, 3)))

    different, same = drawn("different"), drawn("same")

    assert len(different.flatten(1).unique(dim=0)) > 1
    assert len(same.flatten(1).unique(dim=0)) == 1


def test_an_inner_vmap_draws_nothing_by_default() -> None:
    """PyTorch's error is raised."""
    with pytest.raises(RuntimeError, match="randomness error mode"):
        within(lambda: torch.vmap(MAPPED["rand"])(torch.ones(4, 3)))


def compiled() -> nn.Module:
    """Return a compiled network with dropout."""
    network = mlp(dropout=0.5)
    network.compile(backend="eager")
    return network


# PyTorch 2.11 asks itself for what it warns of.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_networks_draw_the_same() -> None:
    """Without a warning, since the compiler can trace what draws."""
    torch.compiler.reset()
    options: Any = {"members": MEMBERS[:1], "backend": "loop"}
    found = trained(Classes(compiled), rows, **options)

    assert difference(found, trained(Classes(partial(mlp, dropout=0.5)), rows, **options)) == 0.0


class MappedNoise(Classes):
    """Noise for each example by a `vmap` of the task's own."""

    def __init__(self, name: str) -> None:
        super().__init__(mlp)
        self._name = name

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        noise = torch.vmap(MAPPED[self._name], randomness="different")(x[:, :3]).view(-1, 3)
        return F.cross_entropy(model(x) + noise, y)


@pytest.mark.parametrize("name", MAPPED)
def test_an_inner_vmap_that_draws_ends_in_the_loop(name: str) -> None:
    """With a warning; another backend is refused."""
    task = MappedNoise(name)
    loop = trained(task, rows, FOUR, backend="loop")
    with pytest.warns(RuntimeWarning, match="draw from PyTorch's global generator by"):
        auto = trained(task, rows, FOUR)

    assert difference(loop, auto) == 0.0
    for backend in ("threads", "vmap", "branches"):
        with pytest.raises(ValueError, match="draw from PyTorch's global generator by"):
            trained(task, rows, FOUR, backend=backend)


def changed_by_rrelu(x: Tensor) -> Tensor:
    """Return a tensor that `F.rrelu` has changed in place."""
    F.rrelu(x, 0.1, 0.5, True, True)
    return x


PAIRS = torch.tensor([[0.0, 1.0]]).expand(N, 2)

FROM_HALF: dict[str, Any] = {"from": 0.5}
FROM_TWO: dict[str, Any] = {"from": 2.0}
FORMS: dict[str, Callable[[], Tensor]] = {
    "uniform_ to": lambda: torch.empty(N).uniform_(to=0.5),
    "uniform_ from": lambda: torch.empty(N).uniform_(**FROM_HALF),
    "uniform_ from, by place": lambda: torch.empty(N).uniform_(0.5),
    "uniform_ of both": lambda: torch.empty(N).uniform_(to=3.0, **FROM_TWO),
    "complex rand": lambda: torch.rand(N, dtype=torch.complex64).imag,
    "complex randn": lambda: torch.randn(N, dtype=torch.complex64).imag,
    "complex uniform_": lambda: torch.empty(N, dtype=torch.complex64).uniform_(1, 3).imag,
    "complex normal_": lambda: torch.empty(N, dtype=torch.complex64).normal_(5.0, 2.0).imag,
    "complex normal": lambda: torch.normal(5.0, 2.0, SHAPE, dtype=torch.complex64).real,
    "randint to": lambda: torch.randint(high=5, size=SHAPE),
    "randint from and to": lambda: torch.randint(low=2, high=5, size=SHAPE),
    "randint by place": lambda: torch.randint(-3, 3, SHAPE),
    "randint_like from and to": lambda: torch.randint_like(torch.zeros(N), low=2, high=5),
    "bernoulli p": lambda: torch.bernoulli(torch.zeros(N), 0.3),
    "bernoulli_ p": lambda: torch.empty(N).bernoulli_(p=0.3),
    "normal of numbers": lambda: torch.normal(mean=3.0, std=0.5, size=SHAPE),
    "normal of two tensors": lambda: torch.normal(torch.ones(N), torch.full(SHAPE, 0.5)),
    "normal of deviations": lambda: torch.normal(2.0, torch.full(SHAPE, 3.0)),
    "normal_ std": lambda: torch.empty(N).normal_(std=3.0),
    "exponential_ lambd": lambda: torch.empty(N).exponential_(lambd=4.0),
    "gumbel_softmax tau": lambda: F.gumbel_softmax(PAIRS, tau=0.3)[:, 0],
    "gumbel_softmax dim": lambda: F.gumbel_softmax(PAIRS.T, tau=2.0, dim=0)[0],
    "rrelu in place": lambda: changed_by_rrelu(-torch.ones(N)),
}


@pytest.mark.parametrize("name", FORMS)
def test_numbers_of_each_form_of_a_call_are_distributed_as_pytorchs(name: str) -> None:
    """By the test of two samples of Kolmogorov and Smirnov, at a level of 0.001."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = FORMS[name]()

    assert stats.ks_2samp(within(FORMS[name]).numpy(), expected.numpy()).pvalue > 0.001


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dropout", [F.alpha_dropout, F.feature_alpha_dropout])
@pytest.mark.parametrize("is_in_place", [False, True])
def test_alpha_dropout_gives_pytorchs_two_numbers(
    dropout: Any, p: float, is_in_place: bool
) -> None:
    """That of what is dropped, and that of what is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = dropout(torch.ones(30, 40), p, True)
    given = torch.ones(30, 40)
    found = within(lambda: dropout(given, p, True, is_in_place))

    assert found.unique().tolist() == pytest.approx(expected.unique().tolist())
    assert torch.equal(given, found if is_in_place else torch.ones(30, 40))


@pytest.mark.parametrize("call", [F.rrelu, F.alpha_dropout, F.feature_alpha_dropout, F.dropout])
def test_in_evaluation_nothing_is_drawn(call: Any) -> None:
    """The outputs are PyTorch's."""
    x = torch.linspace(-1.0, 1.0, 12).view(3, 4)

    assert torch.equal(within(lambda: call(x, training=False)), call(x, training=False))


def test_uniform_numbers_that_would_be_rounded_up_stay_below_their_bound() -> None:
    """Every second of these would be rounded to it."""
    drawn = within(lambda: torch.empty(1000).uniform_(2.0**23, 2.0**23 + 1))

    assert set(drawn.tolist()) == {2.0**23}

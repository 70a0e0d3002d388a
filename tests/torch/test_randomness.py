"""Random numbers of members are uniform, independent, and the same everywhere."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga.torch import PopulationTrainer, TensorData, Trained
from optuna_ga.torch._randomness.keys import member_key
from optuna_ga.torch._randomness.member_randomness import MemberRandomness
from tests.torch.tasks import FOUR, MEMBERS, Classes, difference, flat, mlp, rows, trained

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


def varying(drop: Any, x: Tensor) -> list[bool] | type[Exception]:
    """Return along which dimensions a mask varies, or the error."""
    try:
        found = drop(x)
    except (RuntimeError, ValueError) as error:
        return type(error)
    return [not torch.equal(found, found.narrow(n, 0, 1).expand(x.shape)) for n in range(x.dim())]


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("p", [0.5, 1.5])
@pytest.mark.parametrize("dropout", [F.dropout, F.dropout1d, F.dropout2d, F.dropout3d])
@pytest.mark.filterwarnings("ignore:dropout.d. Received")
def test_masks_have_pytorchs_shape_for_every_rank(dropout: Any, p: float, rank: int) -> None:
    """What PyTorch refuses is refused with the same error; shares agree within 0.2."""
    x = torch.ones((128, 9, 8, 5, 4, 3)[:rank])
    drop = partial(dropout, p=p, training=True)
    torch.manual_seed(0)
    expected = varying(drop, x)
    with MemberRandomness(key(0), torch.tensor(0, dtype=torch.int32)):
        assert varying(drop, x) == expected
        if not isinstance(expected, type):
            assert (drop(x) == 0).double().mean().item() == pytest.approx(0.5, abs=0.2)


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


@pytest.mark.parametrize("dropout", [F.dropout, F.dropout1d, F.dropout2d, F.dropout3d])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_dropout_in_place_changes_its_input(dropout: Any, p: float) -> None:
    """To what it would return otherwise."""

    def dropped(inplace: bool) -> tuple[Tensor, Tensor]:
        x = torch.ones(4, 5, 6)
        with MemberRandomness(key(0), torch.tensor(0, dtype=torch.int32)):
            return x, dropout(x, p, True, inplace)

    changed, result = dropped(True)
    kept, expected = dropped(False)

    assert changed is result
    assert torch.equal(changed, expected)
    assert torch.equal(kept, torch.ones(4, 5, 6))


class InPlace(nn.Module):
    """A layer with dropout, whose result is taken or left."""

    def __init__(self, is_taken: bool = True) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.is_taken = is_taken

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's outputs after dropout."""
        outputs: Tensor = self.layer(x)
        if self.is_taken:
            return F.dropout(outputs, 0.5, self.training)
        F.dropout(outputs, 0.5, self.training, inplace=True)
        return outputs


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
def test_networks_may_drop_out_in_place(backend: str) -> None:
    """They train as with the value that dropout returns."""
    taken, left = (
        trained(Classes(partial(InPlace, is_taken)), rows, backend=backend)
        for is_taken in (True, False)
    )

    assert difference(taken, left) == 0.0


def dropped_inputs() -> nn.Module:
    """Return a network that changes its batch in place."""
    return nn.Sequential(nn.Dropout(0.5, inplace=True), nn.Linear(6, 3))


def test_a_batch_may_be_changed_in_place() -> None:
    """Each member has its own numbers dropped, also of a loader's batch."""
    task = Classes(dropped_inputs)
    with pytest.warns(RuntimeWarning, match="vmap refuses them"):
        ended = trained(task, rows, FOUR)

    assert difference(ended, trained(task, rows, FOUR, backend="loop")) == 0.0


@pytest.mark.parametrize("backend", ["loop", "threads", "branches"])
def test_members_that_change_a_loaders_batch_change_it_for_themselves(backend: str) -> None:
    """Each trains as it would alone."""
    batches = list(rows(30).batches(8))
    subject = PopulationTrainer(
        Classes(dropped_inputs), train=batches, validation=batches, epochs=1, backend=backend
    )
    together = subject.train(MEMBERS)
    alone = [subject.train([member])[0] for member in MEMBERS]

    assert difference(together, alone) < 1e-12
    assert all(map(torch.equal, flat(together[0].state), flat(alone[0].state)))


def noisy(batch: Any) -> Any:
    """Return a batch with noise from PyTorch's global generator."""
    return batch[0] + torch.randn(batch[0].shape), batch[1]


class Drawing(nn.Module):
    """A network that draws from PyTorch's global generator for batches of some sizes."""

    def __init__(self, sizes: tuple[int, ...] = (8, 6)) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)
        self.sizes = sizes

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's outputs, with noise."""
        outputs: Tensor = self.layer(x)
        return outputs + torch.poisson(torch.ones(3)) if len(x) in self.sizes else outputs


@pytest.mark.parametrize(
    ("task", "model", "transform"),
    [
        (Classes(Drawing), {}, None),
        (Classes(Drawing), {"sizes": (6,)}, None),
        (Classes(mlp), {}, noisy),
    ],
    ids=["network", "short batch", "transform"],
)
@pytest.mark.filterwarnings("ignore:Networks are trained separately")
def test_the_users_generator_stays(task: Any, model: Any, transform: Any) -> None:
    """Construction and training draw as if they had a generator of their own."""
    data = TensorData(*rows(30)._examples, batch_size=8, transform=transform)
    before = torch.get_rng_state()
    subject = PopulationTrainer(task, train=data, validation=data, epochs=1)
    members = [replace(each, model=model) for each in MEMBERS]
    ended = subject.train(members)

    assert torch.equal(torch.get_rng_state(), before)
    assert difference(ended, subject.train(members[::-1])[::-1]) == 0.0


def test_dropout_of_short_batches_alone_is_a_members_own() -> None:
    """It is not seen in the first batch."""

    class Short(Drawing):
        def forward(self, x: Tensor) -> Tensor:
            outputs: Tensor = self.layer(x)
            return F.dropout(outputs, 0.5, self.training) if len(x) == 6 else outputs

    loop, vmap = (trained(Classes(Short), rows, backend=each) for each in ("loop", "vmap"))

    assert difference(loop, vmap) < 1e-12


@pytest.mark.parametrize("mask", ["bool", "float"])
def test_a_query_that_may_attend_to_nothing_gets_zeros(mask: str) -> None:
    """As by PyTorch, with finite gradients, though its softmax is no number."""
    query = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    allowed = torch.tensor([[True, True, False], [False] * 3, [True] * 3])
    scores = torch.zeros(3, 3, dtype=torch.float64).masked_fill(~allowed, -torch.inf)
    chosen = allowed if mask == "bool" else scores
    expected = F.scaled_dot_product_attention(query, query, query, chosen)
    (gradient,) = torch.autograd.grad(expected.square().sum(), query)
    with MemberRandomness(key(0), torch.tensor(0, dtype=torch.int32)):
        found = F.scaled_dot_product_attention(query, query, query, chosen, dropout_p=1e-12)
    (mine,) = torch.autograd.grad(found.square().sum(), query)

    assert torch.allclose(found, expected, atol=1e-9)
    assert torch.allclose(mine, gradient, atol=1e-9)


class DrawingMetrics(Classes):
    """The metrics are moments of a number that each batch draws."""

    def __init__(self) -> None:
        super().__init__(mlp)

    def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        n, number = len(batch[0]), torch.rand((), dtype=torch.float64)
        return {"mean": n * number, "square": n * number.square()}


def judged(backend: str, validation: Any, epochs: int = 3, **options: Any) -> list[Trained]:
    """Return members after some epochs, whose metrics draw."""
    subject = PopulationTrainer(
        DrawingMetrics(), train=rows(30), validation=validation, epochs=epochs, backend=backend
    )
    return subject.train(MEMBERS, **options)


@pytest.mark.parametrize("is_loader", [False, True])
@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
def test_each_batch_of_an_evaluation_draws_its_own_numbers(backend: str, is_loader: bool) -> None:
    """Their variance is within five standard errors; epochs and members draw others."""
    n = 200
    data = rows(2 * n, batch_size=2)
    ended = judged(backend, list(data.batches(2)) if is_loader else data)
    found = [epoch.metrics for each in ended for epoch in each.epochs]

    assert len({each["mean"] for each in found}) == 3 * len(MEMBERS)
    for each in found:
        variance = each["square"] - each["mean"] ** 2
        assert abs(variance - 1 / 12) < 5 * ((1 / 80 - 1 / 144) / n) ** 0.5
    assert difference(ended, judged("loop", data)) < 1e-12


@pytest.mark.parametrize("backend", ["loop", "threads", "vmap", "branches"])
def test_a_resumed_training_draws_the_same_in_evaluation(backend: str) -> None:
    """Epoch for epoch."""
    whole, first = judged(backend, rows(20)), judged(backend, rows(20), 1)
    rest = judged(backend, rows(20), 3, states=[each.state for each in first])

    assert [each.epochs[1].metrics for each in whole] == [each.epochs[0].metrics for each in rest]


def test_a_repeated_evaluation_draws_as_the_first() -> None:
    """Where memory runs out in the second batch, all begins again with smaller ones."""

    class Hungry(DrawingMetrics):
        def metrics(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
            if len(batch[0]) == 6:
                raise torch.OutOfMemoryError("out of memory")
            return super().metrics(model, batch)

    options: Any = {"train": rows(30), "epochs": 2, "backend": "vmap"}
    ended = PopulationTrainer(Hungry(), validation=rows(14), **options).train(MEMBERS)

    assert difference(ended, judged("vmap", rows(14, batch_size=4), 2)) == 0.0


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 0.3},
        {"scale": 0.0},
        {"enable_gqa": True},
        {"enable_gqa": True, "is_causal": True, "scale": 2.0},
        {"is_causal": True, "n_keys": 7},
        {"is_causal": True, "n_keys": 3},
        {"attn_mask": torch.linspace(-2, 2, 35, dtype=torch.float64).view(5, 7), "n_keys": 7},
    ],
    ids=lambda options: "-".join(options),
)
def test_attention_with_options_equals_pytorchs_but_for_dropout(options: dict[str, Any]) -> None:
    """Scales, groups of heads, and as many keys as there may be."""
    given = dict(options)
    n_keys = given.pop("n_keys", 5)
    generator = torch.Generator().manual_seed(0)
    n_heads = 2 if "enable_gqa" in given else 4
    query = torch.randn(2, 4, 5, 8, dtype=torch.float64, generator=generator)
    keys, value = torch.randn(2, 2, n_heads, n_keys, 8, dtype=torch.float64, generator=generator)
    expected = F.scaled_dot_product_attention(query, keys, value, **given)
    with MemberRandomness(key(0), torch.tensor(0, dtype=torch.int32)):
        found = F.scaled_dot_product_attention(query, keys, value, dropout_p=1e-9, **given)

    assert (found - expected).abs().max().item() < 1e-8

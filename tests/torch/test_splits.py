"""Networks that cannot train as one for an attribute alone are warned of."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from optuna_ga.torch import Member
from tests.torch.tasks import FOUR, Classes, mlp, rows, trained
from tests.torch.test_own_parameters import check_as_by_hand


class Marked(Classes):
    """A task that marks its networks by their seeds."""

    def __init__(self, mark: Callable[[nn.Module, int], object]) -> None:
        super().__init__(mlp)
        self._mark = mark

    def model(self, seed: int, **settings: Any) -> nn.Module:
        network = super().model(seed, **settings)
        marked = self._mark(network, seed)
        return marked if isinstance(marked, nn.Module) else network


def seeded(network: nn.Module, seed: int) -> None:
    """Keep the seed."""
    network[0].seed = seed  # type: ignore[index]


def waving(network: nn.Module, seed: int) -> None:
    """Keep random numbers that are no buffer."""
    network.waves = torch.randn(3)


def compiled(network: nn.Module, seed: int) -> Any:
    """Return the network as another one that is compiled."""
    return torch.compile(network, backend="eager")


def compiled_in_place(network: nn.Module, seed: int) -> None:
    """Compile the network."""
    network.compile(backend="eager")


@pytest.mark.parametrize(
    ("mark", "words"),
    [
        (seeded, r"attribute `0\.seed` and train in 4 groups.*`register_buffer`"),
        (waving, "attribute `waves` and train in 4 groups.*`register_buffer`"),
        (compiled, "train in 4 groups.*Leave out `torch.compile`"),
        (compiled_in_place, "train in 4 groups.*Leave out `torch.compile`"),
    ],
)
def test_an_attribute_that_splits_a_generation_is_named(mark: Any, words: str) -> None:
    """Once, with what to do about it; the members train all the same."""
    with pytest.warns(RuntimeWarning, match=words) as caught:
        ended = trained(Marked(mark), rows, FOUR, backend="loop")

    assert len(caught) == 1
    check_as_by_hand(Classes(mlp), [*map(_without_prefix, ended)], FOUR)


def _without_prefix(ended: Any) -> Any:
    """Return a result with the names that weights have in a network that is not compiled."""
    for kind in ("weights", "buffers"):
        found = ended.state[kind]
        ended.state[kind] = {name.removeprefix("_orig_mod."): t for name, t in found.items()}
    return ended


def test_other_settings_and_batch_sizes_make_groups_without_a_warning() -> None:
    """The user asked for them."""
    members = [
        Member(0.1, model={"width": width}, batch_size=size)
        for width in (4, 8)
        for size in (None, 5)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ended = trained(Classes(mlp), rows, members, backend="loop")

    assert [len(each.epochs) for each in ended] == [2, 2, 2, 2]

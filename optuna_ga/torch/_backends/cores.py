"""Members trained as several stacks, one on each core of a CPU."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from threading import Event

from optuna_ga.torch._backends.side_by_side import side_by_side
from optuna_ga.torch._backends.stack import MAX_KEPT, StackBackend
from optuna_ga.torch._backends.vmap import ByVmap
from optuna_ga.torch._environment import n_cores, plain_attention, usual_settings
from optuna_ga.torch._networks.structure import Structure
from optuna_ga.torch._networks.verdict import Verdict
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._training import Epoch, Training

# Products of a step, forward, that k stacks need k * k times. Python's work for one stack takes as
# long as these, one stack at a time, and the more stacks the less each has to compute. Measured
# with two stacks on two cores, which gain from 24 million products on.
_PRODUCTS = 6_000_000


class CoresBackend:
    """Trains members by `vmap`, in as many stacks as there are cores and as have enough work.

    Args:
        recipe: The settings that all members share.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._stop = Event()
        self._stacks = [self._new_stack()]
        # Of the structures used last, for each stack but the first; a network is used by one
        # thread at a time.
        self._copies: OrderedDict[Structure, list[Structure]] = OrderedDict()

    def train_epoch(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Train the members; see `Backend`."""
        self._stop.clear()
        n_stacks = self._n_stacks(members)
        structures = self._structures(members[0].structure, n_stacks)
        if len(structures) == 1:
            return self._stacks[0].train_epoch(members)
        self._stacks += [self._new_stack() for _ in range(len(self._stacks), n_stacks)]
        size = math.ceil(len(members) / n_stacks)
        firsts = range(0, len(members), size)
        parts = [
            partial(self._train, stack, structure, members[first : first + size])
            for stack, structure, first in zip(self._stacks, structures, firsts, strict=False)
        ]
        with plain_attention():
            ended = side_by_side(parts, n_stacks, self._stop)
        return [each for part in ended for each in part]

    def release(self) -> None:
        """Free all stacks."""
        self._copies.clear()
        for stack in self._stacks:
            stack.release()

    def _new_stack(self) -> StackBackend:
        return StackBackend(self._recipe, ByVmap(), self._stop)

    def _train(
        self, stack: StackBackend, structure: Structure, members: Sequence[Training]
    ) -> list[tuple[Training, Epoch]]:
        """Train members in a thread, with a structure of its own."""
        original = members[0].structure
        with usual_settings(self._recipe.device):  # They belong to a thread.
            ended = stack.train_epoch([replace(each, structure=structure) for each in members])
        return [(replace(after, structure=original), epoch) for after, epoch in ended]

    def _n_stacks(self, members: Sequence[Training]) -> int:
        if self._recipe.reads_loader:
            return 1  # A loader is read once for all.
        batch_size = self._recipe.batch_size(members[0].member)
        structure = members[0].structure
        each = max(structure.layout.width, _verdict(structure).products)
        products = each * batch_size * len(members)
        n = max(1, min(n_cores(), len(members), math.isqrt(products // _PRODUCTS)))
        return math.ceil(len(members) / math.ceil(len(members) / n))

    def _structures(self, structure: Structure, n: int) -> list[Structure]:
        """Return a structure and `n` - 1 copies of it; none if it has no copies."""
        if not structure.is_copied or _verdict(structure).no_threads:
            return [structure]
        copies = self._copies.pop(structure, [])
        try:
            while len(copies) < n - 1:
                copies.append(structure.copied())
        except Exception:  # Such as of a network that keeps what it has computed.
            return [structure]
        self._copies[structure] = copies  # The latest is the last.
        if len(self._copies) > MAX_KEPT:
            self._copies.popitem(last=False)
        return [structure, *copies[: n - 1]]


def _verdict(structure: Structure) -> Verdict:
    """Return the verdict on a network, which says nothing if it was not examined."""
    return structure.facts.verdict or Verdict()

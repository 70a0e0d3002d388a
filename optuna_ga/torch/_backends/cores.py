"""Members trained as several stacks, one on each core of a CPU."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from weakref import WeakKeyDictionary

from optuna_ga.torch._backends.backend import Recipe
from optuna_ga.torch._backends.stack import StackBackend
from optuna_ga.torch._backends.vmap import ByVmap
from optuna_ga.torch._environment import n_cores, plain_attention, usual_settings
from optuna_ga.torch._loader import LoaderData
from optuna_ga.torch._structure import Structure
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
        self._parts = [_Part(recipe)]

    def train_epoch(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Train the members; see `Backend`."""
        size = math.ceil(len(members) / self._n_parts(members))
        shares = [members[first : first + size] for first in range(0, len(members), size)]
        if len(shares) == 1:
            return self._parts[0].train_epoch(members)
        self._parts += [_Part(self._recipe) for _ in shares[len(self._parts) :]]
        with plain_attention(), ThreadPoolExecutor(len(shares)) as executor:
            pairs = zip(self._parts, shares, strict=False)
            results = [executor.submit(part.train_epoch, share) for part, share in pairs]
            return [each for result in results for each in result.result()]

    def release(self) -> None:
        """Free all stacks."""
        for part in self._parts:
            part.release()

    def _n_parts(self, members: Sequence[Training]) -> int:
        data = self._recipe.train, self._recipe.validation
        if any(isinstance(each, LoaderData) for each in data):
            return 1  # A loader is read once for all.
        batch_size = self._recipe.batch_size(members[0].member)
        products = members[0].structure.products * batch_size * len(members)
        return max(1, min(n_cores(), len(members), math.isqrt(products // _PRODUCTS)))


class _Part:
    """A stack in a thread of its own, with a network of its own to compute with."""

    def __init__(self, recipe: Recipe) -> None:
        self._device = recipe.device
        self._stack = StackBackend(recipe, ByVmap())
        self._structures: WeakKeyDictionary[Structure, Structure] = WeakKeyDictionary()

    def train_epoch(self, members: Sequence[Training]) -> list[tuple[Training, Epoch]]:
        """Train the members; see `Backend`."""
        structure = members[0].structure
        own = self._own(structure)
        with usual_settings(self._device):  # They belong to a thread.
            ended = self._stack.train_epoch([replace(each, structure=own) for each in members])
        return [(replace(after, structure=structure), epoch) for after, epoch in ended]

    def release(self) -> None:
        """Free the stack."""
        self._stack.release()

    def _own(self, structure: Structure) -> Structure:
        """Return a copy of a structure as it is known now, always the same."""
        if structure not in self._structures:
            self._structures[structure] = copy.copy(structure)
            self._structures[structure].template = copy.deepcopy(structure.template)
        own = self._structures[structure]
        own.__dict__ |= {**structure.__dict__, "template": own.template}
        return own

"""Members before their first epoch: networks, their structures, and their initial numbers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import nn

from optuna_ga.torch._data.loader_data import LoaderData
from optuna_ga.torch._errors import first_line
from optuna_ga.torch._networks.facts import Facts
from optuna_ga.torch._networks.memory import check_apart
from optuna_ga.torch._networks.signature import signature, value_key
from optuna_ga.torch._networks.structure import Structure, copy_of
from optuna_ga.torch._randomness.generators import seeded, seeding
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._returned import check_model
from optuna_ga.torch._task import Member
from optuna_ga.torch._training import Training

MAX_KNOWN = 1000  # Networks, of each what its examination has shown.


class Maker:
    """Makes members and their networks.

    Args:
        recipe: The settings that all members share.

    Attributes:
        share_parts: Whether networks have had parts of others.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        # Trainings and stacks keep the structures that are needed again.
        self._structures: WeakValueDictionary[Hashable, Structure] = WeakValueDictionary()
        self._parts: WeakValueDictionary[int, Any] = WeakValueDictionary()  # Of all networks.
        self._latest: tuple[Hashable, Training] | None = None
        self._facts: OrderedDict[Hashable, Facts] = OrderedDict()  # The latest are the last.
        self.share_parts = False

    def start(self, member: Member, state: Mapping[str, Any] | None = None) -> Training:
        """Return a member that is ready for its first epoch, new or resumed."""
        if member.batch_size is not None and isinstance(self._recipe.train, LoaderData):
            raise ValueError(
                "`batch_size` of a member must be None where `train` is a loader, which makes the "
                f"batches, but {member.batch_size} was given."
            )
        if state is not None:  # What a network holds beside its state is by its seed, too.
            member = replace(member, seed=state.get("seed", member.seed))
        with seeding:
            training = replace(self._beginning(member), member=member)
        return training if state is None else training.resumed(self._recipe.optimizer, state)

    def _beginning(self, member: Member) -> Training:
        """Return a new training, the latest one if only its settings differ."""
        key = member.seed, value_key(dict(member.model))
        if self._latest is not None and self._latest[0] == key:
            return self._latest[1]
        model = self._model(member)
        device = self._recipe.device
        structure = self._structure(model, member)
        parameters = {name: p.detach() for name, p in model.named_parameters()}
        weights = structure.layout.rows(parameters).to(device)
        # Copies, since a task may change and return the same network again.
        buffers = {n: b.to(device, copy=True) for n, b in structure.buffers(model).items()}
        n_moments = len(self._recipe.optimizer.moments)
        moments = tuple(torch.zeros_like(weights) for _ in range(n_moments))
        self._latest = key, Training(member, structure, weights, moments, buffers)
        return self._latest[1]

    def model(self, member: Member) -> nn.Module:
        """Return a member's initial network, on the CPU."""
        with seeding:
            return self._model(member)

    def _model(self, member: Member) -> nn.Module:
        with seeded(member.seed):
            model = check_model(self._recipe.task.model(member.seed, **member.model))
        check_apart(model)
        for part in (*model.modules(), *model.parameters(), *model.buffers()):
            self.share_parts |= self._parts.get(id(part)) is part
            self._parts[id(part)] = part
        return model

    def _structure(self, model: nn.Module, member: Member) -> Structure:
        key = signature(model, self._recipe.task)
        structure = self._structures.get(key)
        if structure is None:
            copied = _copied(model, self._recipe.task)
            make = None
            if signature(copied, self._recipe.task) != key:
                copied, make = model, partial(self._made_again, member)
            device, precision = self._recipe.device, self._recipe.precision
            task, facts = self._recipe.task, self._facts.get(key)
            structure = Structure(copied, key, device, precision, make, task, facts)
            self._structures[key] = structure
        self._remember(structure)
        return structure

    def _remember(self, structure: Structure) -> None:
        """Keep the facts on a structure, and forget those that were needed least recently."""
        self._facts[structure.key] = structure.facts
        self._facts.move_to_end(structure.key)
        if len(self._facts) > MAX_KNOWN:
            self._facts.popitem(last=False)

    def _made_again(self, member: Member) -> nn.Module:
        """Return another network of a member, where a copy would not do.

        Raises:
            ValueError: If networks share parts.
        """
        model = self.model(member)
        if self.share_parts:
            raise ValueError(
                "`task.model` must return a network of new parts each time, since a copy of it is "
                "not independent: functions that it holds, or hooks, refer to the network itself. "
                "But some parts were in another network."
            )
        return model


def _copied(model: nn.Module, task: object) -> nn.Module:
    """Return a copy of a network.

    Raises:
        ValueError: If PyTorch cannot copy it.
    """
    try:
        return copy_of(model, task)
    except Exception as error:  # Of whatever the network holds.
        raise ValueError(
            "`task.model` must return a network that `copy.deepcopy` can copy, but it failed. If "
            "it has `nn.utils.weight_norm` or `nn.utils.prune`, take `torch.nn.utils."
            "parametrizations` or `torch.nn.utils.parametrize` instead. The failure: "
            f"{first_line(error)}"
        ) from error

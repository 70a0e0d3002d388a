"""Examines each network once, and once more for each number of examples in a batch."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from functools import partial

import torch

from optuna_ga._checks import MAX_TRAINING_SEED
from optuna_ga.torch._examination.examine import examine
from optuna_ga.torch._examination.shared_state import call_again
from optuna_ga.torch._examination.steps import Steps, lengths
from optuna_ga.torch._examination.traces import traceless
from optuna_ga.torch._maker import Maker
from optuna_ga.torch._networks.verdict import Verdict, of_draws
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._training import Training


class Examiner:
    """Finds how networks can be trained, and leaves no traces in the task.

    Args:
        recipe: The settings that all members share.
        maker: Makes the members.

    Attributes:
        metric_names: Names of the task's metrics; None if no network has been examined.
    """

    def __init__(self, recipe: Recipe, maker: Maker) -> None:
        self._recipe = recipe
        self._maker = maker
        self.metric_names: Collection[str] | None = None

    def verdict(self, training: Training) -> Verdict:
        """Return how a network can be trained, examined once for each structure."""
        facts = training.structure.facts
        if facts.verdict is None:
            facts.verdict = self._examined(training)
            facts.tried.add(max(lengths(self._recipe, training)))
            self.metric_names = facts.metric_names
        return facts.verdict

    def verdict_on_batches(self, training: Training) -> Verdict:
        """Return the same, after steps on batches of all numbers of examples that are known.

        Raises:
            Exception: Whatever the task raises for such a batch.
        """
        verdict, facts = self.verdict(training), training.structure.facts
        for length in lengths(self._recipe, training) - facts.tried:
            with suppress(torch.OutOfMemoryError):  # A training makes room.
                drew = self._drawing(training, length)
                if drew and not verdict.loop_only:
                    verdict = facts.verdict = of_draws(drew)
            facts.tried.add(length)
        return verdict

    def _drawing(self, training: Training, length: int) -> str:
        """Return what draws from global generators in a step on a batch; empty if nothing does."""
        steps = Steps(self._recipe)
        step = partial(steps.try_length, training, length)
        with traceless(self._recipe, step):
            step()
            return steps.drew

    def _examined(self, training: Training) -> Verdict:
        """Examine a network together with that of another seed, if they can train as one."""
        member, structure = training.member, training.structure
        next_seed = (member.seed + 1) % (MAX_TRAINING_SEED + 1)
        other = self._maker.start(replace(member, seed=next_seed))
        if other.structure is not structure:  # No two seeds train as one.
            other = training
        shared = self._maker.share_parts
        own = structure.new() if shared else structure.prepared(self._maker.model(member))
        with traceless(self._recipe, partial(call_again, self._recipe, training)):
            return examine(self._recipe, own, training, other)

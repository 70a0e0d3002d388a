"""Choose the backend of members, and split them to fit the memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import optuna
import torch

from optuna_ga._user_warnings import warn_user
from optuna_ga.torch._backends.backend import Backend
from optuna_ga.torch._backends.branches import ByBranches
from optuna_ga.torch._backends.cores import CoresBackend
from optuna_ga.torch._backends.loop import LoopBackend
from optuna_ga.torch._backends.stack import StackBackend
from optuna_ga.torch._backends.threads import ThreadsBackend
from optuna_ga.torch._backends.vmap import ByVmap
from optuna_ga.torch._choice import choose, loss_by
from optuna_ga.torch._errors import RefusedError, against_vmap, first_line, is_of_vmap
from optuna_ga.torch._examination.examiner import Examiner
from optuna_ga.torch._examination.traces import traceless_if_failed
from optuna_ga.torch._networks.structure import Structure
from optuna_ga.torch._networks.verdict import Verdict
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._schedules import check_factors
from optuna_ga.torch._training import Epoch, Training

MakeBackend = Callable[[Recipe], Backend]


def _by_vmap(recipe: Recipe) -> Backend:
    on_cpu = recipe.device.type == "cpu"
    return CoresBackend(recipe) if on_cpu else StackBackend(recipe, ByVmap())


BACKENDS: Mapping[str, MakeBackend] = {
    "loop": LoopBackend,
    "threads": ThreadsBackend,
    "vmap": _by_vmap,
    "branches": lambda recipe: StackBackend(recipe, ByBranches(recipe.device)),
}

_OWN = "the trainer's own"
_logger = optuna.logging.get_logger("optuna.population_trainer")


class Dispatcher:
    """Trains members by the backend that suits their network.

    Args:
        recipe: The settings that all members share.
        examiner: Finds how networks can be trained.
        backend: Name of the backend, "auto" to choose for each network, or a function that makes
            a backend for networks that need no examination.
    """

    def __init__(self, recipe: Recipe, examiner: Examiner, backend: str | MakeBackend) -> None:
        self._recipe = recipe
        self._backend = backend if isinstance(backend, str) else _OWN
        self._makers = BACKENDS if isinstance(backend, str) else {_OWN: backend}
        self._examiner = examiner
        self._backends: dict[str, Backend] = {}
        self._largest_part = math.inf

    def train_epoch(self, alive: Mapping[int, Training]) -> dict[int, tuple[Training, Epoch]]:
        """Train in as few parts as the memory allows."""
        positions, has_released = list(alive), False
        while True:
            n_parts = math.ceil(len(positions) / min(self._largest_part, len(positions)))
            size = math.ceil(len(positions) / n_parts)
            try:
                done: dict[int, tuple[Training, Epoch]] = {}
                for first in range(0, len(positions), size):
                    part = positions[first : first + size]
                    results = self._advance([alive[position] for position in part])
                    done.update(zip(part, results, strict=True))
                return done
            except torch.OutOfMemoryError:
                pass
            # Here, since the error's traceback would keep the memory.
            if has_released:
                self._shrink(size)
            self._release()  # What other networks have left may be in the way.
            has_released = True

    def _advance(self, members: list[Training]) -> list[tuple[Training, Epoch]]:
        """Train a part of the members, which stay unchanged so that it can be tried again."""
        name = self._name_of_backend(members)
        if name not in self._backends:
            self._release()  # The memory of other backends.
            self._backends[name] = self._makers[name](self._recipe)
        keeps = name == "vmap" and self.verdict(members[0]).keeps
        try:
            with traceless_if_failed(self._recipe) if keeps else nullcontext():
                return self._backends[name].train_epoch(members)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error):
                raise torch.OutOfMemoryError(str(error)) from error
            verdict = self._verdict_after(error, name, self.verdict(members[0]))
            if verdict is None:
                raise
            members[0].structure.facts.verdict = verdict
            if self._backend != "auto":
                raise RefusedError(self._backend, verdict.against(self._backend)) from error
        self.warn_of_loss(members)
        return self._advance(members)

    def _verdict_after(self, error: RuntimeError, name: str, verdict: Verdict) -> Verdict | None:
        """Return what an error shows of a network that was examined; None if nothing."""
        if self._backend == "auto" and name in ("vmap", "branches") and "captur" in str(error):
            return Verdict(f"it cannot be captured as a CUDA graph: {first_line(error)}")
        if name == "vmap" and is_of_vmap(error):
            return verdict._replace(no_vmap=against_vmap(error))
        return None

    def _shrink(self, size: int) -> None:
        if size == 1:
            raise torch.OutOfMemoryError("There is no memory to train a single network.")
        if self._largest_part == math.inf:
            warn_user(
                f"There is no memory to train {size} networks at once; fewer are trained at a "
                "time from here on."
            )
        self._largest_part = size // 2

    def _release(self) -> None:
        for backend in self._backends.values():
            backend.release()

    def _name_of_backend(self, members: Sequence[Training]) -> str:
        verdict = self._verdict_of_group(members)
        if self._backend == "auto":
            name, reason = choose(self._recipe, len(members), verdict)
            if self._is_new(members[0].structure, f"Backend {name!r}, since {reason}."):
                _logger.info(f"Backend {name!r}, since {reason}.")
            return name
        if reason := verdict.against(self._backend):
            raise RefusedError(self._backend, reason)
        return self._backend

    def _verdict_of_group(self, members: Sequence[Training]) -> Verdict:
        shares_batches = self._recipe.shares_batches(members)
        return self.verdict(members[0]).for_group(shares_batches=shares_batches)

    def warn_of_loss(self, members: Sequence[Training]) -> None:
        """Warn, once for a network, if members that can train as one have a slower backend."""
        if self._backend != "auto":
            return
        reason = loss_by(self._recipe, len(members), self._verdict_of_group(members))
        words = f"Networks are trained separately: {reason}"
        if reason and self._is_new(members[0].structure, words):
            warn_user(words)

    def check(self, training: Training) -> None:
        """Check that a member can be trained, so that it does not fail together with others.

        Raises:
            Exception: Whatever keeps this member from being trained.
        """
        recipe, member = self._recipe, training.member
        schedule = member.schedule or recipe.schedule
        check_factors(schedule, training.n_epochs, recipe.n_epochs(member))
        if self._backend == _OWN:
            return
        verdict = self._examiner.verdict_on_batches(training)
        if reason := verdict.against(self._backend):
            raise RefusedError(self._backend, reason)

    def verdict(self, training: Training) -> Verdict:
        """Return how a network can be trained; a backend of the trainer's own trains all."""
        return Verdict() if self._backend == _OWN else self._examiner.verdict(training)

    def _is_new(self, structure: Structure, message: str) -> bool:
        """Return whether a message on a network is given for the first time."""
        said = structure.facts.said
        is_new = message not in said
        said.add(message)
        return is_new

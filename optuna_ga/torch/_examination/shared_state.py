"""What members have in common beside the batches, and whether a call changes it.

Members that train in several threads of Python would see each other's changes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from torch import Tensor, nn

from optuna_ga.torch._data.tensor_data import TensorData
from optuna_ga.torch._examination.own_parameters import ByOwnParameters
from optuna_ga.torch._examination.reached import State, differing, named, reached, roots_of
from optuna_ga.torch._examination.steps import differentiated, judged, lengths, numbers_of
from optuna_ga.torch._randomness.generators import python_seeded, seeded
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._torch_internals import is_of_vmap
from optuna_ga.torch._training import Training


def changed_by_calls(recipe: Recipe, training: Training) -> str:
    """Return the name of what the task's methods or a network change for all members, or "".

    What only a first call sets does not count, if it has been made.
    """
    structure = training.structure
    networks = structure.new(), structure.new()
    with _quietly(recipe):
        # Replaces what other ways of computing have left behind, by what other numbers give.
        other = replace(training, weights=1.1 * training.weights + 0.01)
        for _ in _calls(recipe, other, structure.new()):
            pass
        before = _common(recipe, *networks)
        for _ in _calls(recipe, training, *networks):
            after = _common(recipe, *networks)
            if name := _changed(before, after):
                return name
            before = after
    return ""


def call_again(recipe: Recipe, training: Training) -> None:
    """Call the task as trainings do, with batches of all sizes."""
    with _quietly(recipe):
        for _ in _calls(recipe, training, training.structure.new()):
            pass


def left_by_vmap(recipe: Recipe) -> str:
    """Return the name of a tensor in the task that `vmap` has left behind, or ""."""
    found = (each for each in reached(roots_of(recipe)).values() if isinstance(each.value, Tensor))
    names = (each.name for each in found if is_of_vmap(each.value))
    return next((name for name in names if name.startswith("task")), "")


def tensors_of(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return all tensors that a network holds, wherever, with names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = reached({"network": network}).values()
    return [(each.name, each.value) for each in found if isinstance(each.value, Tensor)]


@contextmanager
def _quietly(recipe: Recipe) -> Iterator[None]:
    """Draw from no generator of the user, and ignore warnings of objects that are looked at."""
    with seeded(0, recipe.device), python_seeded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _calls(recipe: Recipe, training: Training, *networks: nn.Module) -> Iterator[None]:
    """Call the task in several ways, with each network, and yield after each call."""
    structure, data, method = training.structure, recipe.train, ByOwnParameters()
    numbers = numbers_of(recipe, [training])
    sizes = sorted(lengths(recipe, training), reverse=True)
    for network, own in zip(networks, (sizes, sizes[:1]), strict=False):
        with structure.computing_with(network):
            for length in own:
                with suppress(Exception):  # Who trains on such batches fails then.
                    batch = data.first_batch(length)
                    differentiated(recipe, method, structure, numbers, batch)
                yield
            judged(recipe, method, structure, numbers)
            yield
    _order(recipe, training)
    yield


def _order(recipe: Recipe, training: Training) -> None:
    """Order the examples of an epoch, unless a loader does."""
    if isinstance(recipe.train, TensorData):
        recipe.train.order(training.member.seed, 0)


def _common(recipe: Recipe, one: nn.Module, other: nn.Module) -> State:
    """Return the present state of what the members have in common."""
    in_other = reached({"network": other})
    in_both = {key: each for key, each in reached({"network": one}).items() if key in in_other}
    return in_both | reached(roots_of(recipe))


def _changed(before: State, after: State) -> str:
    """Return the name of what differs in two states, or ""."""
    for key, held in before.items():
        # Whatever held what is no longer reached has changed.
        for label in differing(held, after[key].parts) if key in after else ():
            # A list may grow, so none of its places is named.
            return held.name if isinstance(label, int) else named(held.name, label)
    return ""

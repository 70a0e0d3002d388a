"""Compare `branches` and `vmap` with what a network computes with parameters of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from optuna_ga.torch._backends.branches import ByBranches
from optuna_ga.torch._backends.method import Method
from optuna_ga.torch._backends.vmap import ByVmap
from optuna_ga.torch._data.tensor_data import TensorData
from optuna_ga.torch._errors import against_vmap, first_line, place_of, steers
from optuna_ga.torch._examination.own_parameters import ByOwnParameters
from optuna_ga.torch._examination.shared_state import left_by_vmap
from optuna_ga.torch._examination.steps import Steps, differentiated, judged, numbers_of
from optuna_ga.torch._examination.traces import traceless
from optuna_ga.torch._networks.differences import (
    contiguous,
    difference,
    is_alike,
    is_whole,
    is_within_noise,
    repeats,
)
from optuna_ga.torch._networks.verdict import Verdict, of_draws
from optuna_ga.torch._randomness.generators import seeded
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._torch_internals import hooks_of
from optuna_ga.torch._training import Training

_CPU = torch.device("cpu")  # Without streams.


class ReferenceResults(NamedTuple):
    """What two members compute by a network's own parameters.

    Attributes:
        pair: The members.
        network: The network.
        found: Gradients, losses, weights and buffers after a batch.
        metrics: Metrics.
        asks_what_is_trained: Whether metrics depend on which parameters need a gradient.
    """

    pair: list[Training]
    network: nn.Module
    found: list[Tensor]
    metrics: list[Tensor]
    asks_what_is_trained: bool


def compared(steps: Steps, reference: ReferenceResults, batch: Any) -> Verdict:
    """Compare `branches` and `vmap` with a network's own parameters."""
    recipe, structure, kept = steps.recipe, reference.pair[0].structure, list[str]()
    if reason := _reason_against_outside(steps, reference, batch):
        return Verdict(no_outside=reason)
    if steps.drew:
        return of_draws(steps.drew)
    # What is computed by `vmap` and kept by a network cannot be copied.
    with structure.computing_with(reference.network):
        try:
            if reason := _reason_against_vmap(recipe, reference, batch, kept):
                return Verdict(no_vmap=reason)
        except Exception as error:  # Whatever fails here, `loop` or `branches` may still work.
            reason = against_vmap(error)
            return Verdict(no_outside=reason) if steers(error) else Verdict(no_vmap=reason)
        separate = ""
        if isinstance(recipe.train, TensorData):  # Members of a loader see the same batches.
            separate = _reason_against_separate(recipe, reference, batch, kept)
    name = next(filter(None, kept), "")
    words = name and f"calls keep a tensor in `{name}`, which has no numbers after `vmap`"
    return Verdict(no_separate=separate, keeps=words)


def _reason_against_vmap(
    recipe: Recipe, reference: ReferenceResults, batch: Any, kept: list[str]
) -> str:
    """Return why `vmap` is not right on batches that members share; empty if it is.

    The names of tensors that it leaves behind are added to `kept`.

    Raises:
        Exception: Whatever fails by `vmap`.
    """
    structure, numbers = reference.pair[0].structure, numbers_of(recipe, reference.pair)
    rounds = structure.facts.rounds
    with _vmap_watched(recipe) as missing:
        found = differentiated(recipe, ByVmap(), structure, numbers, batch)
        kept.append(left_by_vmap(recipe))  # Here, too, since metrics may reset it.
        metrics = judged(recipe, ByVmap(), structure, numbers)
        kept.append(left_by_vmap(recipe))
    if missing:
        return missing[0]
    if reason := _differing(reference.found, found, rounds):
        return reason
    if reference.asks_what_is_trained:
        return "vmap hides from metrics which parameters are trained"
    pairs = zip(reference.metrics, metrics, strict=True)
    sums = [pair for pair in pairs if not is_whole(pair[0])]  # No counts of hits, which may turn.
    return _differing([one for one, _ in sums], [other for _, other in sums], rounds)


def _reason_against_separate(
    recipe: Recipe, reference: ReferenceResults, batch: Any, kept: list[str]
) -> str:
    """Return why `vmap` is not right on batches of the members' own; empty if it is."""
    structure = reference.pair[0].structure
    own = tree_map(lambda rows: torch.stack([rows, rows.flip(0)]), batch)

    def by(method: Method) -> list[Tensor]:
        numbers = numbers_of(recipe, reference.pair)
        return differentiated(recipe, method, structure, numbers, own, shared=False)

    try:
        expected = by(ByBranches(_CPU))
        with _vmap_watched(recipe) as missing:
            found = by(ByVmap())
            kept.append(left_by_vmap(recipe))
    except Exception as error:  # Whatever fails here, `loop` or `branches` may still work.
        return against_vmap(error)
    return missing[0] if missing else _differing(expected, found, structure.facts.rounds)


def _differing(expected: list[Tensor], found: list[Tensor], rounds: bool) -> str:
    """Return how `vmap` differs from what is expected; empty if it does not."""
    if is_alike(expected, found, rounds):
        return ""
    return f"vmap computes something else, by {100 * difference(expected, found):.2g} %"


@contextmanager
def _vmap_watched(recipe: Recipe) -> Iterator[list[str]]:
    """Yield a list that gets the operations for which `vmap` has no rule, and undo its traces.

    For what `vmap` leaves in a task nobody else can compute with.
    """
    missing: list[str] = []
    with (
        warnings.catch_warnings(record=True) as caught,
        seeded(0, recipe.device),
        traceless(recipe),
    ):
        warnings.simplefilter("always")
        yield missing
    words = [str(each.message) for each in caught]
    missing += [f"vmap has no rule: {w.partition('. ')[0]}" for w in words if "batching rule" in w]


def _reason_against_outside(steps: Steps, reference: ReferenceResults, batch: Any) -> str:
    """Return why a network needs parameters of its own; empty if it does not."""
    structure = reference.pair[0].structure
    if any(map(hooks_of, structure.trained(structure.model).values())):
        return "their parameters have hooks"
    if structure.facts.replaces_weights:
        return "they replace the numbers of their parameters by assignments to `.data`"
    unused, structure.facts.unused = structure.facts.unused, {}
    try:
        found, metrics = steps.separately(ByBranches(_CPU), reference.pair, batch)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # Whatever fails here, a network's own parameters have not failed.
        return f"they need parameters of their own, {first_line(error)}{place_of(error)}"
    finally:
        others, structure.facts.unused = structure.facts.unused, unused
    same_unused = all(unused[length] == names for length, names in others.items())
    if same_unused and _is_as_outside(steps, reference, batch, [*found, *metrics]):
        return ""
    return (
        "they compute with parameters or buffers that they hold elsewhere, too, as in a list or "
        "in a function"
    )


def _is_as_outside(
    steps: Steps, reference: ReferenceResults, batch: Any, outside: list[Tensor]
) -> bool:
    """Return whether a network's own parameters give what those from outside do.

    If they do not at once, they may in the same layout, since with another one rounding differs.
    """
    structure, expected = reference.pair[0].structure, [*reference.found, *reference.metrics]
    if repeats(expected, outside, rounds=False):
        return True
    with structure.computing_with(contiguous(structure.new())):
        runs = [steps.separately(ByOwnParameters(), reference.pair, batch) for _ in range(2)]
    (found, metrics), (found_again, metrics_again) = runs
    # What is held stays in its layout.
    if not is_alike(reference.found, found, structure.facts.rounds):
        return False
    return is_within_noise([*found, *metrics], [*found_again, *metrics_again], outside)

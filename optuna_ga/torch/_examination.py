"""Examine which backends train a network rightly, by steps of two members.

The measure is what a network computes with parameters of its own, as `loop` does.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.utils._pytree import tree_map

from optuna_ga.torch._backends.backend import Recipe
from optuna_ga.torch._backends.branches import ByBranches
from optuna_ga.torch._backends.method import Method, Numbers
from optuna_ga.torch._backends.plain import Plainly
from optuna_ga.torch._backends.vmap import ByVmap
from optuna_ga.torch._choice import Verdict, of_draws
from optuna_ga.torch._data import TensorData, n_rows
from optuna_ga.torch._differences import (
    SHORT,
    contiguous,
    difference,
    is_alike,
    is_whole,
    is_within_noise,
    repeats,
    repeats_metrics,
)
from optuna_ga.torch._errors import against_vmap, first_line, place_of, steers
from optuna_ga.torch._generators import python_seeded, seeded
from optuna_ga.torch._memory import check_apart
from optuna_ga.torch._products import counted_products
from optuna_ga.torch._shared_state import changes_by_calls, tensors_of
from optuna_ga.torch._signature import changed_attributes, signature
from optuna_ga.torch._steps import (
    computed,
    differentiated,
    lengths,
    numbers_of,
    separately,
    try_length,
    watched,
)
from optuna_ga.torch._structure import Structure
from optuna_ga.torch._torch_internals import hooks_of, parametrization_cache, set_by_hooks
from optuna_ga.torch._traces import traceless
from optuna_ga.torch._training import Training

_SMALL = 1e-6
_STEP = 0.1  # Of weights, relative to their norm.
_CPU = torch.device("cpu")  # Without streams.
_STATE = "`task` must keep all of a network's state in its parameters and buffers"
_ONE_CACHE = "`parametrize.cached` has one cache for all threads"
_RECOMPUTES = "It computes parts again for their gradients."
_Result = TypeVar("_Result")


def examine(recipe: Recipe, own: nn.Module, *pair: Training) -> Verdict:
    """Compute steps of two members of equal structure in several ways, and compare.

    Args:
        recipe: The settings that all members share.
        own: A network of the structure, as the task makes it.
        pair: The members.

    Raises:
        ValueError: If a member's gradient depends on what was computed before.
    """
    structure = pair[0].structure
    structure.changes_batch = False  # As far as is known.
    cache = parametrization_cache()
    drew: list[str] = []
    size = recipe.batch_size(pair[0].member)
    first_batch = _first_batch(recipe, drew, size)
    convolution, first = _checked_alone(recipe, drew, own, pair[:1], first_batch)
    plain = _checked_together(recipe, drew, first, pair, first_batch)
    for length in lengths(recipe, pair[0]) - {n_rows(first_batch)}:
        # What fails here may never be trained on, since a member has a batch size of its own.
        with suppress(Exception):
            drew += filter(None, [try_length(recipe, pair[0], length)])
    verdict = _compared(recipe, drew, plain, first_batch)
    structure.draws = structure.has_drawn
    if drew:
        return of_draws(drew[0])
    verdict = verdict._replace(convolution=convolution, products=structure.products)
    changes = changes_by_calls(recipe, pair[0])
    if parametrization_cache() is not cache:
        verdict = verdict._replace(no_threads=_ONE_CACHE)
    elif changes.name:
        words = f"calls change `{changes.name}`, which threads share"
        verdict = verdict._replace(no_threads=words)
    if changes.tensor:
        words = f"calls keep a tensor in `{changes.tensor}`, which has no numbers after `vmap`"
        verdict = verdict._replace(keeps=words)
    structure.needs_one_thread = bool(verdict.no_threads)
    return verdict


class _Plain(NamedTuple):
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


def _compared(recipe: Recipe, drew: list[str], plain: _Plain, batch: Any) -> Verdict:
    """Compare `branches` and `vmap` with a network's own parameters."""
    structure = plain.pair[0].structure
    if reason := _reason_against_outside(recipe, drew, plain, batch):
        return Verdict("", "", no_outside=reason)
    if drew:
        return of_draws(drew[0])
    # What is computed by `vmap` and kept by a network cannot be copied.
    with structure.computing_with(plain.network):
        try:
            if reason := _reason_against_vmap(recipe, plain, batch):
                return Verdict("", reason)
        except Exception as error:  # Whatever fails here, `loop` or `branches` may still work.
            reason = against_vmap(error)
            return Verdict("", "", no_outside=reason) if steers(error) else Verdict("", reason)
        if isinstance(recipe.train, TensorData):  # Members of a loader see the same batches.
            return Verdict("", "", no_separate=_reason_against_separate(recipe, plain, batch))
    return Verdict("", "")


def _reason_against_vmap(recipe: Recipe, plain: _Plain, batch: Any) -> str:
    """Return why `vmap` is not right on batches that members share; empty if it is.

    Raises:
        Exception: Whatever fails by `vmap`.
    """
    rounds = plain.pair[0].structure.rounds
    with _vmap_watched(recipe) as missing:
        found, metrics = computed(recipe, ByVmap(), plain.pair, batch)
    if missing:
        return missing[0]
    if reason := _differing(plain.found, found, rounds):
        return reason
    if plain.asks_what_is_trained:
        return "vmap hides from metrics which parameters are trained"
    pairs = zip(plain.metrics, metrics, strict=True)
    sums = [pair for pair in pairs if not is_whole(pair[0])]  # No counts of hits, which may turn.
    return _differing([one for one, _ in sums], [other for _, other in sums], rounds)


def _reason_against_separate(recipe: Recipe, plain: _Plain, batch: Any) -> str:
    """Return why `vmap` is not right on batches of the members' own; empty if it is."""
    structure = plain.pair[0].structure
    own = tree_map(lambda rows: torch.stack([rows, rows.flip(0)]), batch)

    def by(method: Method) -> list[Tensor]:
        numbers = numbers_of(recipe, plain.pair)
        return differentiated(recipe, method, structure, numbers, own, shared=False)

    try:
        expected = by(ByBranches(_CPU))
        with _vmap_watched(recipe) as missing:
            found = by(ByVmap())
    except Exception as error:  # Whatever fails here, `loop` or `branches` may still work.
        return against_vmap(error)
    return missing[0] if missing else _differing(expected, found, structure.rounds)


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


def _reason_against_outside(recipe: Recipe, drew: list[str], plain: _Plain, batch: Any) -> str:
    """Return why a network needs parameters of its own; empty if it does not."""
    structure = plain.pair[0].structure
    if any(map(hooks_of, structure.trained(structure.model).values())):
        return "their parameters have hooks"
    if structure.replaces_weights:
        return "they replace the numbers of their parameters by assignments to `.data`"
    unused, structure.unused = structure.unused, {}
    try:
        found, metrics = separately(recipe, drew, ByBranches(_CPU), plain.pair, batch)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # Whatever fails here, a network's own parameters have not failed.
        return f"they need parameters of their own, {first_line(error)}{place_of(error)}"
    finally:
        others, structure.unused = structure.unused, unused
    same_unused = all(unused[length] == names for length, names in others.items())
    if same_unused and _is_as_outside(recipe, drew, plain, batch, [*found, *metrics]):
        return ""
    return (
        "they compute with parameters or buffers that they hold elsewhere, too, as in a list or "
        "in a function"
    )


def _is_as_outside(
    recipe: Recipe, drew: list[str], plain: _Plain, batch: Any, outside: list[Tensor]
) -> bool:
    """Return whether a network's own parameters give what those from outside do.

    If they do not at once, they may in the same layout, since with another one rounding differs.
    """
    structure, expected = plain.pair[0].structure, [*plain.found, *plain.metrics]
    if repeats(expected, outside, rounds=False):
        return True
    with structure.computing_with(contiguous(structure.new())):
        runs = [separately(recipe, drew, Plainly(), plain.pair, batch) for _ in range(2)]
    (found, metrics), (found_again, metrics_again) = runs
    if not is_alike(plain.found, found, structure.rounds):  # What is held stays in its layout.
        return False
    return is_within_noise([*found, *metrics], [*found_again, *metrics_again], outside)


class _JudgedTwice(Plainly):
    """Computes metrics again with parameters that need no gradient, as `vmap` shows them.

    Attributes:
        asks_what_is_trained: Whether that made a difference.
    """

    asks_what_is_trained = False

    def metrics(
        self, structure: Structure, metrics: Any, numbers: Numbers, batch: Any
    ) -> dict[str, Tensor]:
        """Return sums `(P,)` over a batch, with parameters that need one; see `Method`."""
        found = super().metrics(structure, metrics, numbers, batch)
        trained = structure.trained(structure.model).values()
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            again = super().metrics(structure, metrics, numbers, batch)
            pairs = [*found.values()], [again[name] for name in found]
            differs = not repeats_metrics(*pairs, structure.rounds)
        except Exception:  # Of a task that finds nothing trained.
            differs = True
        for parameter in trained:
            parameter.requires_grad_(True)
        self.asks_what_is_trained = differs
        return found


def _first(
    recipe: Recipe, drew: list[str], one: Sequence[Training], batch: Any
) -> tuple[list[Tensor], object]:
    """Compute a member; see `_by_python`.

    Raises:
        ValueError: If `torch.utils.checkpoint` is used together with dropout, whose numbers
            PyTorch would draw itself the second time, or in the way that takes no gradients of
            single tensors.
    """
    try:
        with disable_saved_tensors_hooks(_RECOMPUTES):
            return _by_python(recipe, drew, one, batch)
    except RuntimeError as error:
        if "use_reentrant" in str(error):
            raise ValueError(
                "`task` must call `torch.utils.checkpoint` with `use_reentrant=False`."
            ) from error
        if _RECOMPUTES not in str(error):
            raise
    found = None
    with suppress(Exception):  # PyTorch may notice what follows, too.
        found = _by_python(recipe, drew, one, batch)
    if one[0].structure.has_drawn:
        raise ValueError(
            "`task` must not use `torch.utils.checkpoint`, or other hooks on saved tensors, "
            "together with dropout or `rand_like`: what is computed again would draw anew."
        )
    return found or _by_python(recipe, drew, one, batch)


def _checked_alone(
    recipe: Recipe, drew: list[str], own: nn.Module, one: Sequence[Training], batch: Any
) -> tuple[int, list[Tensor]]:
    """Compute a member twice; return an example's products of convolutions, and what was computed.

    Raises:
        ValueError: If a network has another state than its parameters and buffers, holds tensors
            in the memory of its parameters, draws from other generators than PyTorch's, or if
            none of its parameters has a gradient.
    """
    structure = one[0].structure
    held = tensors_of(own)
    with structure.computing_with(own):
        first, drawn_first = _first(recipe, drew, one, batch)
        # Not what a call sets anew.
        kept = {id(tensor) for _, tensor in tensors_of(own)} - {*map(id, set_by_hooks(own))}
        check_apart(own, [(name, tensor) for name, tensor in held if id(tensor) in kept])
        sign = partial(signature, own, recipe.task, roughly=recipe.device.type == "cuda")
        before = sign()
        with counted_products(own) as (convolutions, others, types):
            again, drawn_again = _by_python(recipe, drew, one, batch)
    structure.check_trains(n_rows(batch))
    structure.rounds = recipe.precision != "float32" or bool({structure.dtype, *types} & SHORT)
    _check_state(structure, first, again)
    if changed := changed_attributes(before, sign()):
        raise ValueError(
            f"{_STATE}, but each call changes the attribute `{changed[0]}`. `register_buffer` "
            "makes a buffer."
        )
    _check_draws("task", drawn_first if drawn_first == drawn_again else None)
    n_examples = n_rows(batch)
    convolution = sum(convolutions) // n_examples
    structure.products = max(structure.width, convolution + sum(others) // n_examples)
    return convolution, first


def _first_batch(recipe: Recipe, drew: list[str], size: int) -> Any:
    """Return the first batch of the data, which must draw by PyTorch alone.

    Raises:
        ValueError: If it draws otherwise, and not in a first call only.
    """
    states = []
    for _ in range(2):
        with python_seeded() as drawn:
            batch = watched(recipe, drew, lambda: recipe.train.first_batch(size))
        states += drawn
    _check_draws("transform", states[0] if states[0] == states[1] else None)
    return batch


def _check_draws(name: str, drawn: object) -> None:
    """Check that the generators of Python and NumPy have not been drawn from.

    Raises:
        ValueError: If they have.
    """
    if drawn:
        raise ValueError(
            f"`{name}` must draw random numbers by PyTorch, such as `torch.rand(())`, which a "
            "member's seed determines, but it draws from the generator of Python or NumPy."
        )


def _checked_together(
    recipe: Recipe, drew: list[str], first: list[Tensor], pair: Sequence[Training], batch: Any
) -> _Plain:
    """Compute two members, of which the other has gone a step beyond its initial numbers.

    So none of these is by chance that of another network.

    Raises:
        ValueError: If the first one computes something else than before.
    """
    structure = pair[0].structure
    method, network, pair = _JudgedTwice(), structure.new(), list(pair)
    with structure.computing_with(network):
        with suppress(Exception):  # Half the examples may fail where all do not.
            halves = _halves_twice(batch)
            pair[1] = _moved(pair[1], separately(recipe, drew, Plainly(), pair[1:], halves)[0])
        found, metrics = separately(recipe, drew, method, pair, batch)
    _check_state(structure, first, [each[:1] for each in found])
    return _Plain(pair, network, found, metrics, method.asks_what_is_trained)


def _check_state(structure: Structure, one: list[Tensor], other: list[Tensor]) -> None:
    """Check that a member computes the same as before.

    Raises:
        ValueError: If it does not.
    """
    if not repeats(one, other, structure.rounds):
        raise ValueError(
            f"{_STATE}, but a gradient changed when another network was trained before, or the "
            "same one. Look for what is kept in attributes, globals or the task, such as what the "
            "first call sets, and for draws from a `torch.Generator`: a member's seed determines "
            "those of dropout, `rand_like` and `randn_like`."
        )


def _by_python(
    recipe: Recipe, drew: list[str], one: Sequence[Training], batch: Any
) -> tuple[list[Tensor], object]:
    """Compute a member; return the generators of Python and NumPy after a draw, else None."""
    with python_seeded() as drawn:
        found, _ = separately(recipe, drew, Plainly(), one, batch)
    return found, drawn[0]


def _moved(training: Training, found: Sequence[Tensor]) -> Training:
    """Return a member after a large step."""
    gradient, _, weights, *buffers = (each[0] for each in found)
    gradient = gradient.nan_to_num(0.0, 0.0, 0.0)
    size = _STEP * weights.norm() / gradient.norm().clamp(min=_SMALL)
    after = dict(zip(training.buffers, buffers, strict=True))
    return replace(training, weights=weights - size * gradient.to(weights), buffers=after)


def _halves_twice(batch: Any) -> Any:
    """Return a batch as large, of the first half of the examples."""
    return tree_map(lambda rows: rows[torch.arange(len(rows), device=rows.device) // 2], batch)

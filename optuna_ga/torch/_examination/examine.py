"""Examine which backends train a network rightly, by steps of two members.

The measure is what a network computes with parameters of its own, as `loop` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.utils._pytree import tree_map

from optuna_ga.torch._backends.method import Numbers
from optuna_ga.torch._data.tensor_data import n_rows
from optuna_ga.torch._examination.comparison import ReferenceResults, compared
from optuna_ga.torch._examination.own_parameters import ByOwnParameters
from optuna_ga.torch._examination.products import counted_products
from optuna_ga.torch._examination.shared_state import changed_by_calls, tensors_of
from optuna_ga.torch._examination.steps import Steps, lengths
from optuna_ga.torch._networks.differences import SHORT, repeats, repeats_metrics
from optuna_ga.torch._networks.memory import check_apart
from optuna_ga.torch._networks.signature import changed_attributes, signature
from optuna_ga.torch._networks.structure import Structure
from optuna_ga.torch._networks.verdict import Verdict, of_draws
from optuna_ga.torch._randomness.generators import python_seeded
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._torch_internals import parametrization_cache, set_by_hooks
from optuna_ga.torch._training import Training

_SMALL = 1e-6
_STEP = 0.1  # Of weights, relative to their norm.
_STATE = "`task` must keep all of a network's state in its parameters and buffers"
_ONE_CACHE = "`parametrize.cached` has one cache for all threads"
_RECOMPUTES = "It computes parts again for their gradients."


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
    structure.facts.changes_batch = False  # As far as is known.
    cache = parametrization_cache()
    steps = Steps(recipe)
    size = recipe.batch_size(pair[0].member)
    first_batch = _first_batch(steps, size)
    convolution, products, first = _checked_alone(steps, own, pair[:1], first_batch)
    reference = _checked_together(steps, first, pair, first_batch)
    for length in lengths(recipe, pair[0]) - {n_rows(first_batch)}:
        # What fails here may never be trained on, since a member has a batch size of its own.
        with suppress(Exception):
            steps.try_length(pair[0], length)
    verdict = compared(steps, reference, first_batch)
    structure.facts.draws = structure.facts.has_drawn
    if steps.drew:
        return of_draws(steps.drew)
    verdict = verdict._replace(convolution=convolution, products=products)
    changed = changed_by_calls(recipe, pair[0])
    if parametrization_cache() is not cache:
        verdict = verdict._replace(no_threads=_ONE_CACHE)
    elif changed:
        verdict = verdict._replace(no_threads=f"calls change `{changed}`, which threads share")
    return verdict


class _JudgedTwice(ByOwnParameters):
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
            differs = not repeats_metrics(*pairs, structure.facts.rounds)
        except Exception:  # Of a task that finds nothing trained.
            differs = True
        for parameter in trained:
            parameter.requires_grad_(True)
        self.asks_what_is_trained = differs
        return found


def _first(steps: Steps, one: Sequence[Training], batch: Any) -> tuple[list[Tensor], object]:
    """Compute a member; see `_by_python`.

    Raises:
        ValueError: If `torch.utils.checkpoint` is used together with dropout, whose numbers
            PyTorch would draw itself the second time, or in the way that takes no gradients of
            single tensors.
    """
    try:
        with disable_saved_tensors_hooks(_RECOMPUTES):
            return _by_python(steps, one, batch)
    except RuntimeError as error:
        if "use_reentrant" in str(error):
            raise ValueError(
                "`task` must call `torch.utils.checkpoint` with `use_reentrant=False`."
            ) from error
        if _RECOMPUTES not in str(error):
            raise
    found = None
    with suppress(Exception):  # PyTorch may notice what follows, too.
        found = _by_python(steps, one, batch)
    if one[0].structure.facts.has_drawn:
        raise ValueError(
            "`task` must not use `torch.utils.checkpoint`, or other hooks on saved tensors, "
            "together with dropout or `rand_like`: what is computed again would draw anew."
        )
    return found or _by_python(steps, one, batch)


def _checked_alone(
    steps: Steps, own: nn.Module, one: Sequence[Training], batch: Any
) -> tuple[int, int, list[Tensor]]:
    """Compute a member twice; return an example's products, and what was computed.

    The products are those of convolutions, and those of all layers.

    Raises:
        ValueError: If a network has another state than its parameters and buffers, holds tensors
            in the memory of its parameters, draws from other generators than PyTorch's, or if
            none of its parameters has a gradient.
    """
    structure = one[0].structure
    held = tensors_of(own)
    with structure.computing_with(own):
        first, drawn_first = _first(steps, one, batch)
        # Not what a call sets anew.
        kept = {id(tensor) for _, tensor in tensors_of(own)} - {*map(id, set_by_hooks(own))}
        check_apart(own, [(name, tensor) for name, tensor in held if id(tensor) in kept])
        recipe = steps.recipe
        sign = partial(signature, own, recipe.task, roughly=recipe.device.type == "cuda")
        before = sign()
        with counted_products(own) as (convolutions, others, types):
            again, drawn_again = _by_python(steps, one, batch)
    structure.check_trains(n_rows(batch))
    is_short = bool({structure.layout.dtype, *types} & SHORT)
    structure.facts.rounds = is_short or recipe.precision != "float32"
    _check_state(structure, first, again)
    if changed := changed_attributes(before, sign()):
        raise ValueError(
            f"{_STATE}, but each call changes the attribute `{changed[0]}`. `register_buffer` "
            "makes a buffer."
        )
    _check_draws("task", drawn_first if drawn_first == drawn_again else None)
    n_examples = n_rows(batch)
    convolution = sum(convolutions) // n_examples
    products = max(structure.layout.width, convolution + sum(others) // n_examples)
    return convolution, products, first


def _first_batch(steps: Steps, size: int) -> Any:
    """Return the first batch of the data, which must draw by PyTorch alone.

    Raises:
        ValueError: If it draws otherwise, and not in a first call only.
    """
    states = []
    for _ in range(2):
        with python_seeded() as drawn:
            batch = steps.watched(lambda: steps.recipe.train.first_batch(size))
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
    steps: Steps, first: list[Tensor], pair: Sequence[Training], batch: Any
) -> ReferenceResults:
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
            pair[1] = _moved(pair[1], steps.separately(ByOwnParameters(), pair[1:], halves)[0])
        found, metrics = steps.separately(method, pair, batch)
    _check_state(structure, first, [each[:1] for each in found])
    return ReferenceResults(pair, network, found, metrics, method.asks_what_is_trained)


def _check_state(structure: Structure, one: list[Tensor], other: list[Tensor]) -> None:
    """Check that a member computes the same as before.

    Raises:
        ValueError: If it does not.
    """
    if not repeats(one, other, structure.facts.rounds):
        raise ValueError(
            f"{_STATE}, but a gradient changed when another network was trained before, or the "
            "same one. Look for what is kept in attributes, globals or the task, such as what the "
            "first call sets, and for draws from a `torch.Generator`: a member's seed determines "
            "those of dropout, `rand_like` and `randn_like`."
        )


def _by_python(steps: Steps, one: Sequence[Training], batch: Any) -> tuple[list[Tensor], object]:
    """Compute a member; return the generators of Python and NumPy after a draw, else None."""
    with python_seeded() as drawn:
        found, _ = steps.separately(ByOwnParameters(), one, batch)
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

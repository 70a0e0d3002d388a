"""Choose a backend by the device, the population's size, and a step of two members.

The choice depends on nothing that is timed, since another backend rounds otherwise, and a study
is to be repeatable.
"""

from __future__ import annotations

import copy
import math
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.utils._pytree import tree_leaves, tree_map

from optuna_ga.torch._backends.backend import Recipe
from optuna_ga.torch._backends.branches import ByBranches
from optuna_ga.torch._backends.method import Method, Numbers
from optuna_ga.torch._backends.vmap import ByVmap
from optuna_ga.torch._data import TensorData, n_rows
from optuna_ga.torch._environment import generator_states, seeded
from optuna_ga.torch._products import counted_products
from optuna_ga.torch._structure import Structure
from optuna_ga.torch._training import Training

# Below, overhead on a CPU outweighs arithmetic. Measured with twenty networks, batches of 64 and
# two cores: `vmap` takes half as long as `threads` for 784-64-10 and 784-128-10 networks and for
# small encoders, but as long for 784-256-10 and 784-512-10.
_FEW_PRODUCTS = 150_000
_FEW_MEMBERS = 4
# Measured on an H200 with batches of 64: with five members, branches are faster for convolutions
# (103 to 134 microseconds a step and member), vmap for attention (312 to 335). With twenty, vmap
# is for 0.2 million products an example (54 to 84), and branches are for some millions.
_FEW_ON_A_GPU = {False: 4, True: 8}
_LARGE_CONVOLUTION = 1_000_000
# Relative differences of gradients: by the order of atomic sums; by that of float32 sums; and by
# rounding to bfloat16. True differences are of the size of the gradient.
_SAME, _ALIKE, _ALIKE_IN_HALF = 1e-4, 1e-2, 0.3
_SMALL = 1e-6
_RECOMPUTES = "It computes parts again for their gradients."
_STEERS = ("data-dependent control flow", ".item()")  # Of functorch's messages.


class Verdict(NamedTuple):
    """How a network can be trained.

    Attributes:
        loop_only: Reason to train one after the other; empty if there is none.
        no_vmap: Reason against `vmap`; empty if there is none.
        convolution: Number of products in the convolutions of one example, forward.
        products: Number of products with weights of one example, forward: those of convolutions,
            `nn.Linear`, attention and recurrent layers, but at least as many as there are weights.
    """

    loop_only: str
    no_vmap: str
    convolution: int = 0
    products: int = 0


DRAWS = Verdict("they draw from PyTorch's global generator", "")


def examine(recipe: Recipe, *pair: Training) -> Verdict:
    """Compute one step of two members of equal structure in several ways, and compare.

    Raises:
        ValueError: If a member's gradient depends on the other member, or if `vmap` computes
            another gradient than PyTorch without it.
    """
    structure = pair[0].structure
    structure.changes_batch = False  # As far as is known.
    with _watched(recipe) as drew:
        first_batch = recipe.train.first_batch(recipe.batch_size(pair[0].member))
    _check_checkpoints(recipe, drew, pair[:1], first_batch)
    convolution, products = _checked_products(recipe, drew, pair, first_batch)
    for length in lengths(recipe, pair[0]) - {n_rows(first_batch)}:
        # What fails here may never be trained on, since a member has a batch size of its own.
        with suppress(Exception):
            drew += [True] * try_length(recipe, pair[0], length)
    # A first call leaves the same whoever makes it, such as positions, which `vmap` cannot keep.
    separate = _separately(recipe, drew, pair, first_batch)
    structure.draws = structure.has_drawn
    if drew:
        return DRAWS
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # A copy, since what is computed by `vmap` and kept by a network cannot be copied.
            with seeded(0, recipe.device), _copied(structure):
                together = _computed(recipe, ByVmap(), pair, first_batch)
    except Exception as error:  # Whatever fails here, `loop` or `branches` may still work.
        place = _place_of(error)
        if any(words in str(error) for words in _STEERS):
            return Verdict(f"numbers of a tensor steer Python{place}", "")
        return Verdict("", f"vmap refuses them, {first_line(error)}{place}")
    for warning in caught:
        if "batching rule" in str(warning.message):
            return Verdict("", f"vmap has no rule: {str(warning.message).partition('. ')[0]}")
    difference = _difference(separate, together)
    if difference > (_ALIKE if recipe.precision == "float32" else _ALIKE_IN_HALF):
        raise ValueError(
            "`task` computes something else for several networks at once than for each by "
            f"itself: they differ by {100 * difference:.2g} %."
        )
    return Verdict("", "", convolution, products)


def lengths(recipe: Recipe, training: Training) -> set[int]:
    """Return the numbers of examples of a member's batches, as far as they are known."""
    data, size = recipe.train, recipe.batch_size(training.member)
    return {*data.lengths(size)} if isinstance(data, TensorData) else {data.batch_size}


def try_length(recipe: Recipe, training: Training, length: int) -> bool:
    """Compute a step on a batch of a length; return whether it draws from global generators.

    Raises:
        Exception: Whatever the task raises for such a batch.
    """
    structure = training.structure
    draws, structure.draws = structure.draws, True  # It may be for batches of this length alone.
    try:
        with _watched(recipe) as drew, _copied(structure):
            batch = recipe.train.first_batch(length)
            _differentiated(recipe, ByBranches(torch.device("cpu")), [training], batch)
    finally:
        structure.draws = draws or structure.has_drawn
    return bool(drew)


def _check_checkpoints(
    recipe: Recipe, drew: list[bool], one: Sequence[Training], batch: Any
) -> None:
    """Check that nothing is computed again for gradients that would then be another.

    Raises:
        ValueError: If `torch.utils.checkpoint` is used together with dropout, whose numbers
            PyTorch would draw itself the second time, or in the way that takes no gradients of
            single tensors.
    """
    structure = one[0].structure
    try:
        with _copied(structure), disable_saved_tensors_hooks(_RECOMPUTES):
            _separately(recipe, drew, one, batch)
            return
    except RuntimeError as error:
        if "use_reentrant" in str(error):
            raise ValueError(
                "`task` must call `torch.utils.checkpoint` with `use_reentrant=False`."
            ) from error
        if _RECOMPUTES not in str(error):
            raise
    with suppress(Exception), _copied(structure):
        _separately(recipe, drew, one, batch)
    if structure.has_drawn:
        raise ValueError(
            "`task` must not use `torch.utils.checkpoint`, or other hooks on saved tensors, "
            "together with dropout or `rand_like`: what is computed again would draw anew."
        )


def _checked_products(
    recipe: Recipe, drew: list[bool], pair: Sequence[Training], batch: Any
) -> tuple[int, int]:
    """Return the products of convolutions and all products of an example, forward.

    Raises:
        ValueError: If a gradient depends on what was computed before, or no parameter has one.
    """
    structure, one, other = pair[0].structure, pair[:1], pair[1:]
    with _copied(structure):
        with counted_products(structure.template) as (convolutions, others):
            first = _separately(recipe, drew, one, batch)
        again = _separately(recipe, drew, one, batch)
    structure.check_trains(n_rows(batch))
    with _copied(structure):
        with suppress(Exception):  # Half the examples may fail where all do not.
            _separately(recipe, drew, other, _halves_twice(batch))
        later = _separately(recipe, drew, one, batch)
    if max(_difference(first, again), _difference(first, later)) > _SAME:
        raise ValueError(
            "`task` must keep all of a network's state in its parameters and buffers, but a "
            "gradient changed when another network was trained before, or the same one. Look for "
            "what is kept in attributes, globals or the task, such as what the first call sets."
        )
    n_examples = n_rows(batch)
    convolution = sum(convolutions) // n_examples
    structure.products = max(structure.width, convolution + sum(others) // n_examples)
    return convolution, structure.products


def choose(recipe: Recipe, n_members: int, verdict: Verdict) -> tuple[str, str]:
    """Return the name of the backend that is expected to be the fastest, and why."""
    if verdict.loop_only:
        return "loop", verdict.loop_only
    if recipe.device.type == "cuda":
        if verdict.no_vmap:
            return "branches", verdict.no_vmap
        if n_members < _FEW_ON_A_GPU[verdict.convolution > 0]:
            return "branches", "few networks are the fastest side by side"
        if verdict.convolution > _LARGE_CONVOLUTION:
            return "branches", "large convolutions are slower as groups of one"
        return "vmap", "on a GPU one operation for all members is the fastest"
    if verdict.no_vmap:
        return "threads", verdict.no_vmap
    if verdict.convolution or verdict.products > _FEW_PRODUCTS or n_members < _FEW_MEMBERS:
        return "threads", "on a CPU only many small networks without convolutions gain by vmap"
    return "vmap", "many small networks share the overhead of each operation"


def _difference(one: list[Tensor], other: list[Tensor]) -> float:
    """Return the largest difference of two tensors, relative to the size of the first.

    By their norms, since rounding may turn a single ReLU on.
    """
    found = [0.0]
    for mine, theirs in zip(one, other, strict=True):
        wide = torch.complex128 if mine.is_complex() else torch.float64
        difference = (mine.to(wide) - theirs.to(wide)).norm().item()
        if math.isfinite(difference):  # Gradients that are not finite cannot be compared.
            found.append(difference / (mine.to(wide).norm().item() + _SMALL))
    return max(found)


@contextmanager
def _copied(structure: Structure) -> Iterator[None]:
    """Compute with a copy of the template, which stays as it is."""
    template = structure.template
    structure.template = copy.deepcopy(template)
    try:
        yield
    finally:
        structure.template = template


def _halves_twice(batch: Any) -> Any:
    """Return a batch as large, of the first half of the examples."""
    return tree_map(lambda rows: rows[torch.arange(len(rows), device=rows.device) // 2], batch)


@contextmanager
def _watched(recipe: Recipe, drew: list[bool] | None = None) -> Iterator[list[bool]]:
    """Seed PyTorch's global generators, and yield a list that gets an entry if they are used."""
    drew = [] if drew is None else drew
    with seeded(0, recipe.device):
        before = generator_states(recipe.device)
        yield drew
        if not torch.equal(before, generator_states(recipe.device)):
            drew.append(True)


def _separately(
    recipe: Recipe, drew: list[bool], members: Sequence[Training], batch: Any
) -> list[Tensor]:
    """Compute each member by itself; see `_computed` and `_watched`."""
    with _watched(recipe, drew):
        return _computed(recipe, ByBranches(torch.device("cpu")), members, batch)


def _computed(
    recipe: Recipe, method: Method, members: Sequence[Training], batch: Any
) -> list[Tensor]:
    """Return gradients, losses, weights and buffers after a batch; metrics must not fail."""
    numbers, found = _differentiated(recipe, method, members, batch)
    structure = members[0].structure
    structure.template.eval()
    judged = recipe.validation.first_batch(recipe.validation.batch_size)
    with torch.no_grad(), _watched_batch(structure, judged) as own:
        metrics = method.metrics(structure, recipe.task.metrics, numbers, own)
    structure.metric_names = sorted(metrics)
    return found


def _differentiated(
    recipe: Recipe, method: Method, members: Sequence[Training], batch: Any
) -> tuple[Numbers, list[Tensor]]:
    """Return numbers of members, and gradients, losses, weights and buffers after a batch."""
    structure, device = members[0].structure, recipe.device
    buffers = {
        name: torch.stack([each.buffers[name] for each in members]) for name in members[0].buffers
    }
    numbers = Numbers(
        torch.stack([each.weights for each in members]),
        buffers,
        torch.arange(len(members), dtype=torch.int32, device=device),
        torch.zeros((), dtype=torch.int32, device=device),
    )
    structure.template.train()
    with _watched_batch(structure, batch) as own:
        gradient, losses, after = method.gradients(structure, recipe.task.loss, numbers, own, True)
    return numbers, [gradient, losses, numbers.weights, *after.values()]


@contextmanager
def _watched_batch(structure: Structure, batch: Any) -> Iterator[Any]:
    """Yield a copy of a batch, and note whether it is changed in place."""
    own = tree_map(torch.clone, batch)
    yield own
    pairs = zip(tree_leaves(own), tree_leaves(batch), strict=True)
    structure.changes_batch |= not all(torch.equal(*pair) for pair in pairs)


def first_line(error: Exception) -> str:
    """Return an error's type and the beginning of what it says."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"


def _place_of(error: Exception) -> str:
    """Return the last line of the user's code that an error passed through, if there is one."""
    libraries = [Path(torch.__file__).parent, Path(__file__).parent]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if not any(library in path.parents for library in libraries):
            return f" (in {frame.filename}, line {frame.lineno}: `{frame.line}`)"
    return ""

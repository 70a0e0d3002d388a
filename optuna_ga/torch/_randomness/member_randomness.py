"""Random numbers that depend on a member's seed and on nothing else.

A shared generator would give numbers by a member's place in the population. Here they
are a hash of the member's key, the step, the call and the element's place in its tensor: the same
for every backend, device and company, and nothing is to be saved or restored.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from optuna_ga.torch._randomness.dropout import DROPOUTS
from optuna_ga.torch._randomness.random_functions import PLACES, RANDOM_FUNCTIONS
from optuna_ga.torch._randomness.random_numbers import RandomNumbers
from optuna_ga.torch._torch_internals import is_in_vmap, n_transforms

_DRAWING = {**DROPOUTS, **RANDOM_FUNCTIONS}
_LEFT_ALONE = ("generator", "out", "layout")  # With one of these the function is PyTorch's.


class MemberRandomness(TorchFunctionMode):
    """A context in which PyTorch's random functions draw the numbers of one member.

    In a `vmap` within the context they are PyTorch's own, which know what its `randomness` means.

    Args:
        key: The member's key, an int32 tensor `()`, in `vmap` a batched one.
        step: The number of the batch within the epoch, an int32 tensor `()` that the members
            share; batches to evaluate on are counted after those to train on.

    Attributes:
        was_needed: Whether something was drawn.
    """

    def __init__(self, key: Tensor, step: Tensor) -> None:
        super().__init__()
        self.was_needed = False
        self._numbers = RandomNumbers(key, step)
        self._n_outer = n_transforms()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of PyTorch, or its replacement here."""
        kwargs = kwargs or {}
        replacement = _DRAWING.get(func) or PLACES.get(func)
        if replacement is None or self._is_left_alone(kwargs):
            return func(*args, **kwargs)
        self.was_needed |= func in _DRAWING
        return replacement(self._numbers, *args, **kwargs)

    def _is_left_alone(self, kwargs: dict[str, Any]) -> bool:
        """Return whether a call draws by PyTorch."""
        is_otherwise = any(kwargs.get(name) is not None for name in _LEFT_ALONE)
        return is_otherwise or is_in_vmap(self._n_outer)

"""What the calling thread draws from global generators, whatever others draw meanwhile."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from optuna_ga.torch._errors import present_place
from optuna_ga.torch._torch_internals import argument_names


class Draws(TorchDispatchMode):
    """A context that notes whether anything draws from PyTorch's global generators.

    Attributes:
        first: The first function that has, and the user's line that called it; else empty.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.first = ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Carry out an operation."""
        kwargs = kwargs or {}
        if not self.first and _may_draw(func, args, kwargs):
            self.first = f"`{func.overloadpacket.__name__}`{present_place()}"
        return func(*args, **kwargs)


def _may_draw(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a call may draw from a global generator, as attention does by dropout."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    named = {**dict(zip(argument_names(func), args, strict=False)), **kwargs}
    drops_nothing = "attention" in str(func) and not named.get("dropout_p")
    return named.get("generator") is None and not drops_nothing

"""What the calling thread draws from global generators, whatever others draw meanwhile."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from optuna_ga.torch._errors import present_place


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
        # Attention may draw, but its dropout is replaced.
        may_draw = torch.Tag.nondeterministic_seeded in func.tags and "attention" not in str(func)
        if may_draw and kwargs.get("generator") is None and not self.first:
            self.first = f"`{func.overloadpacket.__name__}`{present_place()}"
        return func(*args, **kwargs)

"""Random draws of the calling thread alone, whatever others draw meanwhile."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Draws(TorchDispatchMode):
    """A context that notes whether anything draws from PyTorch's global generators.

    Attributes:
        were_made: Whether something has.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.were_made = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Carry out an operation."""
        kwargs = kwargs or {}
        # Attention may draw, but its dropout is replaced.
        may_draw = torch.Tag.nondeterministic_seeded in func.tags and "attention" not in str(func)
        self.were_made |= may_draw and kwargs.get("generator") is None
        return func(*args, **kwargs)

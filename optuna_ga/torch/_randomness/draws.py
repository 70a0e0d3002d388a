"""What the calling thread draws from global generators, whatever others draw meanwhile."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from optuna_ga.torch._errors import present_place
from optuna_ga.torch._torch_internals import argument_names


class GlobalDraws(TorchDispatchMode):
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
        if not self.first and may_draw(func, args, kwargs):
            self.first = f"`{func.overloadpacket.__name__}`{present_place()}"
        return func(*args, **kwargs)


def may_draw(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a call may draw from a global generator, as some do by dropout alone."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    named = {**dict(zip(argument_names(func), args, strict=False)), **kwargs}
    dropouts = [named[name] for name in ("dropout_p", "dropout") if name in named]
    is_by_dropout = "attention" in str(func) or "_rnn" in str(func)
    return named.get("generator") is None and (not is_by_dropout or any(dropouts))

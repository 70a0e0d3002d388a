"""CUDA graphs without a GPU: a step is recorded once, and only its operations are repeated.

As in a CUDA graph, what Python decides is decided once, operations read and write the places in
memory that they had when they were recorded, and what they made keeps nothing from one replay to
the next: it is overwritten with nonsense.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

_WARM_UP_STEPS = 3
# Operations that make the host wait for the device.
_WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "equal"}
_RESHAPE = ("transpose_", "t_", "squeeze_", "unsqueeze_", "as_strided_")  # They change no number.


class _Operation(NamedTuple):
    """An operation, its arguments, and those of its results that are in new memory."""

    function: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    made: list[Tensor | None]


class Recorder(TorchDispatchMode):
    """Carries out operations and records them.

    Attributes:
        operations: What was recorded.
        made: Tensors in memory that operations made, by the address of that memory.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[_Operation] = []
        self.made: dict[int, Tensor] = {}
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        by_mask = name.startswith("index") and any(
            each.dtype == torch.bool for each in _tensors(args[1:2])
        )
        draws = torch.Tag.nondeterministic_seeded in func.tags and "attention" not in name
        if name in _WAITING or by_mask or draws:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        given = _tensors((args, kwargs))
        for tensor in given:
            self._keep(tensor)
        # As they are now, since their strides may change.
        arguments, options = tree_map_only(Tensor, torch.ops.aten.alias, (args, kwargs))
        result = func(*args, **kwargs)
        places = set(map(_place, given))
        made = [None if _place(each) in places else each for each in _tensors(result)]
        for each in made:
            if each is not None:
                self.made.setdefault(_place(each), each)
        if (func._schema.is_mutable or any(each is not None for each in made)) and (
            name not in _RESHAPE
        ):
            aliases = [None if each is None else torch.ops.aten.alias(each) for each in made]
            self.operations.append(_Operation(func, arguments, options, aliases))
        return result

    def undo(self) -> None:
        """Restore the tensors that were there before, since a capture computes nothing."""
        with torch.no_grad():
            for whole, before in self._before.values():
                whole.copy_(before)

    def replay(self) -> None:
        """Repeat the operations, and leave nothing in the memory that they made."""
        with torch.no_grad():
            self.spoil()
            for function, arguments, options, made in self.operations:
                results = _tensors(function(*arguments, **options))
                for place, result in zip(made, results, strict=True):
                    if place is not None:
                        place.copy_(result)
            self.spoil()

    def spoil(self) -> None:
        """Overwrite the memory that operations made."""
        for tensor in self.made.values():
            if tensor.numel():
                _bytes(tensor).fill_(1 if tensor.dtype == torch.bool else 0x7F)

    def _keep(self, tensor: Tensor) -> None:
        place = _place(tensor)
        if place not in self.made and place not in self._before:
            whole = _bytes(tensor)
            self._before[place] = whole, whole.clone()


class Graphs:
    """Counts captures and replays of steps, in the place of `Capturer.capture`."""

    def __init__(self) -> None:
        self.n_captures = self.n_replays = 0

    def capture(
        self, step: Callable[[], None], reset: Callable[[], object], generator: Any = None
    ) -> Callable[[], None]:
        """Warm up, record the step, and return a function that repeats what was recorded."""
        for _ in range(_WARM_UP_STEPS):
            reset()
            step()
        recorder = Recorder()
        try:
            with recorder:
                step()
        finally:
            recorder.undo()
        self.n_captures += 1

        def replay() -> None:
            self.n_replays += 1
            recorder.replay()

        return replay


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _bytes(tensor: Tensor) -> Tensor:
    return torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())

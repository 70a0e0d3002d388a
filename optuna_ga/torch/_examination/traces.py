"""Undo what calls of a task leave behind that belong to no training."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from optuna_ga.torch._data.tensor_data import TensorData
from optuna_ga.torch._examination.reached import (
    MISSING,
    Held,
    Parts,
    State,
    differing,
    is_same,
    is_users,
    parts_of,
    reached,
    roots_of,
)
from optuna_ga.torch._networks.signature import attributes_of
from optuna_ga.torch._recipe import Recipe

_MAX_NUMBERS = 10_000_000  # Of all tensors that are copied, the nearest ones; others hold data.
_CONTAINERS = (list, set, deque, dict)
_OWN = (
    Tensor, np.ndarray, nn.Module, TensorData, FunctionType, MethodType, SimpleNamespace, type,
    partial, tuple, *_CONTAINERS,
)  # fmt: skip


@contextmanager
def traceless(recipe: Recipe, again: Callable[[], object] | None = None) -> Iterator[None]:
    """Undo what calls of the task in a context leave behind; see `TaskSnapshot.undo`."""
    snapshot = TaskSnapshot(recipe)
    try:
        yield
    finally:
        snapshot.undo(again)


@contextmanager
def traceless_if_failed(recipe: Recipe) -> Iterator[None]:
    """Undo all that calls of the task in a context leave behind if it ends by an error."""
    snapshot = TaskSnapshot(recipe)
    try:
        yield
    except Exception:
        snapshot.undo()
        raise


class _Copy(NamedTuple):
    """An object before calls.

    Attributes:
        held: What it held.
        content: A copy of a container's items, or of the numbers of a tensor or an array; else
            None.
    """

    held: Held
    content: Any


class TaskSnapshot:
    """The state before calls of a task, of its data, and of the globals that they use.

    The objects of libraries stay as they are, as do tensors beyond ten million numbers.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._roots = roots_of(recipe)
        self._before: dict[int, _Copy] = {}
        before, n_left = reached(self._roots), _MAX_NUMBERS
        for key in _own(before, self._roots.values()):
            held = before[key]
            n = _n_numbers(held.value)
            self._before[key] = _Copy(held, _content(held.value) if n <= n_left else None)
            n_left -= n if n <= n_left else 0

    def undo(self, again: Callable[[], object] | None = None) -> None:
        """Undo what has changed since.

        Args:
            again: Calls the task once more. What this does not change stays, since it was set by
                a first call, as a constant of a batch's type. Numbers and texts never stay, since
                equal calls may log them alike. None undoes all.
        """
        copies = self._before.values()
        if not any(differing(c.held, _parts(c.held)) or _is_renumbered(c) for c in copies):
            return
        known = self._now()
        if again is not None:
            with suppress(Exception):  # It has been raised before.
                again()
        after = self._now()
        for key, copy in self._before.items():
            labels = [
                label
                for label in differing(copy.held, after[key].parts)
                if again is None
                or _is_logged(after[key].parts.get(label))
                or self._keeps_changing(key, label, known, after)
            ]
            if labels or _is_renumbered(copy):
                with suppress(Exception):  # Of an object that cannot be changed.
                    _restore(copy, labels)

    def _now(self) -> State:
        """Return the present state of all that was reached, or is."""
        before = {
            key: copy.held._replace(parts=_parts(copy.held)) for key, copy in self._before.items()
        }
        return {**reached(self._roots), **before}

    def _keeps_changing(self, key: int, label: Hashable, known: State, after: State) -> bool:
        """Return whether a part, or something new that it holds, has changed again."""
        one, other = (state[key].parts.get(label, MISSING) for state in (known, after))
        if not is_same(one, other):
            return True
        return any(
            each not in known or differing(known[each], held.parts)
            for each, held in reached({"": other}).items()
            if each not in self._before
        )


def _own(state: State, roots: Iterable[Any]) -> Iterator[int]:
    """Yield the keys of what is reached by no object of a library."""
    waiting, seen = deque(map(id, roots)), set[int]()
    is_root = set(waiting)
    while waiting:
        key = waiting.popleft()
        if key in seen or key not in state:
            continue
        value = state[key].value
        if key in is_root or isinstance(value, _OWN) or is_users(type(value).__module__):
            seen.add(key)
            waiting += map(id, state[key].parts.values())
            yield key


def _is_logged(value: Any) -> bool:
    """Return whether a value is what logs consist of, such as a minimum so far."""
    return isinstance(value, int | float | str | np.number) and not isinstance(value, bool)


def _is_renumbered(copy: _Copy) -> bool:
    """Return whether a tensor has other numbers, of which batch normalisation leaves no mark."""
    with suppress(Exception):  # Of one without numbers, or of another type by now.
        is_tensor = isinstance(copy.held.value, Tensor) and copy.content is not None
        return is_tensor and not torch.equal(copy.held.value, copy.content)
    return False


def _parts(held: Held) -> Parts:
    """Return what an object holds now, or has held if it does not say."""
    try:
        return parts_of(held.value)
    except Exception:
        return held.parts


def _n_numbers(value: Any) -> int:
    """Return the numbers of a tensor or an array; 0 for anything else."""
    if isinstance(value, Tensor):
        return value.numel()
    return int(value.size) if isinstance(value, np.ndarray) else 0


def _content(value: Any) -> Any:
    """Return a copy of a container, or of numbers; else None."""
    if isinstance(value, Tensor):
        with suppress(Exception):  # Of one without numbers.
            return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return dict(value.items())
    return list(value) if isinstance(value, _CONTAINERS) else None


def _restore(copy: _Copy, labels: Iterable[Hashable]) -> None:
    """Restore numbers, or all items and some attributes of an object."""
    value, content = copy.held.value, copy.content
    if isinstance(value, Tensor):
        with torch.no_grad():
            value.copy_(content)
        return
    if isinstance(value, np.ndarray):
        np.copyto(value, content)
        return
    if isinstance(value, _CONTAINERS):
        value.clear()
        (value.extend if isinstance(value, list | deque) else value.update)(content)
    for label in labels:
        if isinstance(label, str):  # Others are of items.
            _restore_attribute(value, label, copy.held.parts.get(label, MISSING))


def _restore_attribute(value: Any, name: str, before: Any) -> None:
    """Restore an attribute, or what a function encloses or looks up."""
    names = attributes_of(value)
    if isinstance(value, FunctionType):
        cells = dict(zip(value.__code__.co_freevars, value.__closure__ or (), strict=True))
        if name in cells:
            value, name, names = cells[name], "cell_contents", {}
        elif name in value.__globals__:
            names = value.__globals__
    if before is MISSING:
        names.pop(name) if name in names else delattr(value, name)
    elif name in names or not hasattr(value, name):
        names[name] = before
    else:
        setattr(value, name, before)

"""What is reached from an object, and the state of each object at a time."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from dis import get_instructions
from functools import lru_cache, partial
from itertools import islice
from types import CodeType, FunctionType, MethodType, SimpleNamespace
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from torch import Tensor

from optuna_ga.torch._data.tensor_data import TensorData
from optuna_ga.torch._networks.signature import attributes_of, slots_of
from optuna_ga.torch._recipe import Recipe
from optuna_ga.torch._torch_internals import n_changes

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
_MAX_OBJECTS = 20_000  # That are looked at, the nearest ones, which takes a tenth of a second.
_WRAPPED = ("__self__", "__func__", "func", "args", "keywords")
_SEQUENCES = (list, tuple, set, frozenset, deque)
_LOADS = ("LOAD_GLOBAL", "LOAD_NAME")
MISSING = object()
Parts = dict[Hashable, Any]


class Held(NamedTuple):
    """An object, and what it held at a time.

    Attributes:
        name: How it is reached.
        value: The object, which is kept, so that its `id` is given to no other.
        parts: What it held.
    """

    name: str
    value: Any
    parts: Parts


State = dict[int, Held]  # By the `id` of the object.


def roots_of(recipe: Recipe) -> dict[str, Any]:
    """Return the objects of a user that all members have in common, by names."""
    task = recipe.task
    roots = {"task": task, "task.loss": task.loss, "task.metrics": task.metrics}
    data = {"train": recipe.train, "validation": recipe.validation}
    return roots | {name: each for name, each in data.items() if isinstance(each, TensorData)}


def reached(roots: dict[str, Any]) -> State:
    """Return objects that are reached from some, the nearest first, and the state of each."""
    found: State = {}
    waiting = deque(roots.items())
    while waiting and len(found) < _MAX_OBJECTS:
        name, value = waiting.popleft()
        if id(value) in found:
            continue
        try:
            parts = parts_of(value)
        except Exception:  # Whatever an object does when it is looked at.
            continue
        if not parts:
            continue
        found[id(value)] = Held(name, value, parts)
        others = (
            (named(name, label), part) for label, part in parts.items() if type(part) not in _PLAIN
        )
        waiting += islice(others, max(_MAX_OBJECTS - len(waiting), 0))
    return found


def parts_of(value: Any) -> Parts:
    """Return what an object holds, by labels.

    Of a tensor these are marks of its numbers; of a container with too many items, its length.
    """
    if isinstance(value, Tensor):
        return _marks(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        if isinstance(value, np.memmap) or not value.flags.writeable:
            return {"place": value.__array_interface__["data"][0]}
        return {"numbers": crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)}
    if isinstance(value, FunctionType):
        return _parts_of_function(value) if is_users(value.__module__) else {}
    if isinstance(value, type):
        return _parts_of_class(value) if is_users(value.__module__) else {}
    if isinstance(value, MethodType | partial):
        return {name: getattr(value, name) for name in _WRAPPED if hasattr(value, name)}
    found: Parts = {}
    if isinstance(value, (dict, *_SEQUENCES)) and len(value) > _MAX_OBJECTS:
        found[0] = len(value)
    elif isinstance(value, dict):
        for n, (key, each) in enumerate(list(value.items())):
            found[(key,) if type(key) in _PLAIN else n] = each
    elif isinstance(value, _SEQUENCES):
        found |= dict(enumerate(list(value)))
    elif type(value) is not SimpleNamespace and _is_pythons(type(value).__module__):
        return {}  # As locks, loggers, and what belongs to a thread.
    if _is_own(type(value).__module__) and not isinstance(value, TensorData):
        return {}  # As the trainer, whose state changes as it looks.
    return found | slots_of(value) | {**attributes_of(value), "__class__": type(value)}


def _marks(tensor: Tensor) -> Parts:
    """Return the place of a tensor's numbers, and how often they were changed there."""
    found: Parts = {}
    with suppress(RuntimeError):  # Of one that `vmap` has left behind, or without a count.
        found["place"] = tensor.data_ptr()
        found["changes"] = n_changes(tensor)
    return found or {"place": None}


def _parts_of_function(function: FunctionType) -> Parts:
    """Return what a function encloses, and the globals that it names."""
    found: Parts = {"__defaults__": function.__defaults__}
    found.update(vars(function).items())
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # It is empty yet.
            found[name] = cell.cell_contents
    held = function.__globals__
    return found | {name: held[name] for name in _names(function.__code__) if name in held}


@lru_cache(maxsize=1_000)
def _names(code: CodeType) -> frozenset[str]:
    """Return the globals that code, and the functions in it, may look up."""
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    own = {step.argval for step in get_instructions(code) if step.opname in _LOADS}
    return frozenset(own).union(*map(_names, inner))


def _parts_of_class(kind: type) -> Parts:
    return {"__bases__": kind.__bases__} | {
        name: each
        for name, each in vars(kind).items()
        if isinstance(each, FunctionType) or not name.startswith("__")
    }


def is_users(module: str | None) -> bool:
    """Return whether a module is the user's, and no installed one."""
    if module is None or _is_pythons(module) or _is_own(module):
        return False
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return "-packages" not in file


def _is_pythons(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in sys.stdlib_module_names


def _is_own(module: object) -> bool:
    """Return whether a module is of this package or Optuna, and holds no user's functions."""
    if not isinstance(module, str) or module.startswith("optuna_ga.fashion_mnist"):
        return False
    return module.partition(".")[0] in ("optuna", "optuna_ga")


def differing(before: Held, now: Parts) -> list[Hashable]:
    """Return the labels of the parts in which an object differs from before."""
    parts = before.parts
    return [
        label
        for label in {**parts, **now}
        if not is_same(parts.get(label, MISSING), now.get(label, MISSING))
    ]


def named(holder: str, label: Hashable) -> str:
    """Return the name of a part: an attribute, or an item of a dictionary or a list."""
    if isinstance(label, str):
        return f"{holder}.{label}"
    return f"{holder}[{(label[0] if isinstance(label, tuple) else label)!r}]"


def is_same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    return type(one) is type(other) and type(one) in _PLAIN and bool(one == other)

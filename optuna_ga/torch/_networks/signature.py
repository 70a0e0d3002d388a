"""Keys that are equal for equal content: which networks can train as one.

A key never rests on an address, which another object may get later.
"""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, MemberDescriptorType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from optuna_ga.torch._networks.differences import SHORT, repeats
from optuna_ga.torch._torch_internals import hooks_of

_OF_EACH = [*vars(nn.Module())]
_HOOKS = frozenset(name for name in _OF_EACH if "_hooks" in name)
_LEFT_OUT = frozenset(
    # The last has a recurrent layer's references to its parameters: copies keep those of another.
    ["_parameters", "_buffers", "_modules", "_flat_weight_refs"]
    + [name for name in _OF_EACH if "state_dict" in name]  # Called when a state is saved.
)


def signature(model: nn.Module, task: object = None, *, roughly: bool = False) -> Hashable:
    """Return a key that is equal for models that differ in the numbers of their tensors alone.

    Tensors that are neither parameters nor buffers count by their values, functions by their code
    and by what they hold. A copy of a model has its key, unless it computes with parts of the
    model itself, or lacks some.

    Args:
        model: The model.
        task: The task, to which models may refer; all have the same one.
        roughly: Whether values that differ as by the order of a sum are equal. So compares what
            a GPU has computed, not what models are made of.

    >>> signature(nn.Linear(2, 3)) == signature(nn.Linear(2, 3))
    True
    >>> signature(nn.LSTM(2, 3)) == signature(nn.LSTM(2, 3))
    True
    >>> signature(nn.Dropout(0.1)) == signature(nn.Dropout(0.2))
    False
    """
    tensors = [*model.named_parameters(), *model.named_buffers()]
    parts = [*tensors, *model.named_modules()]
    names = {id(part): f"{type(part).__name__} {name}" for name, part in parts}
    keys = _Keys({id(task): "task", **names}, roughly)
    return (
        tuple((name, t.shape, t.dtype, t.requires_grad) for name, t in tensors),
        tuple((name, _kind(m), keys.of_attributes(m)) for name, m in model.named_modules()),
        tuple((name, keys.of((vars(t), hooks_of(t)))) for name, t in tensors),
    )


def changed_attributes(before: Any, after: Any) -> list[str]:
    """Return the names of the attributes, of any module, in which two signatures differ.

    >>> changed_attributes(signature(nn.Dropout(0.1)), signature(nn.Dropout(0.2)))
    ['p']
    """
    found = []
    for (prefix, _, (_, held)), (_, _, (_, held_after)) in zip(before[1], after[1], strict=False):
        found += [f"{prefix}.{name}".lstrip(".") for (_, name), _ in {*held} ^ {*held_after}]
    return sorted({*found})


def _kind(module: nn.Module) -> type:
    """Return a module's class, without that which a parametrization makes for it alone."""
    kind: type = parametrize.type_before_parametrizations(module)
    return kind


def value_key(value: object) -> Hashable:
    """Return a key that is equal for values of equal content and type.

    >>> value_key(1) == value_key(True) or value_key(1) == value_key(1.0)
    False
    """
    return _Keys({}, roughly=False).of(value)


def attributes_of(value: object) -> dict[str, Any]:
    """Return what an object holds by name, without asking its class for more."""
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def slots_of(value: object) -> dict[str, object]:
    """Return what an object holds in the slots of its classes, by name."""
    found = {}
    for kind in type(value).__mro__:
        if "__slots__" not in vars(kind):
            continue
        for name, slot in vars(kind).items():
            if isinstance(slot, MemberDescriptorType):
                with suppress(AttributeError):  # It is not set.
                    found[name] = slot.__get__(value)
    return found


class _Identity:
    """A key that equals those of the same object alone.

    It keeps the object only if there are no weak references to it. Once that is gone, another one
    may get its `id`, but the key equals none but itself.
    """

    def __init__(self, value: object) -> None:
        self._id = id(value)
        try:
            self._value: Callable[[], object] = weakref.ref(value)
        except TypeError:
            self._value = lambda: value

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        value = self._value()
        return isinstance(other, _Identity) and value is not None and value is other._value()

    def __hash__(self) -> int:
        return self._id


class _Values:
    """A key that equals those of tensors of close values."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor.detach().clone()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Values) or self._tensor.shape != other._tensor.shape:
            return False
        return repeats([self._tensor], [other._tensor], self._tensor.dtype in SHORT)

    def __hash__(self) -> int:
        return hash(self._tensor.shape)


class _Keys:
    """Makes keys of the objects that one model holds.

    Args:
        names: Names that stand for the model's parts, by their `id`.
        roughly: Whether tensors of close values have equal keys.
    """

    def __init__(self, names: Mapping[int, str], roughly: bool) -> None:
        self._names, self._roughly = names, roughly
        # With the objects, so that no `id` is reused.
        self._seen: dict[int, tuple[int, object]] = {}

    def of_attributes(self, module: nn.Module) -> Hashable:
        """Return the key of what a module holds beside its parts, and computes with."""
        ranks: dict[object, int] = {}  # PyTorch numbers the hooks of all modules of a process.
        found: dict[str, object] = {}
        for name, each in (vars(module) | slots_of(module)).items():
            if name in _HOOKS:
                each = [(ranks.setdefault(n, len(ranks)), hook) for n, hook in each.items()]
            if name not in _LEFT_OUT:
                found[name] = each
        return self.of(found)

    def of(self, value: Any) -> Hashable:
        """Return a key that is equal for equal values of the same type."""
        kind = type(value)
        if kind is float:
            return kind, value.hex()  # It tells zeros apart, and NaN equals itself.
        if value is None or kind in (bool, int, str, bytes, torch.dtype):
            return kind, value
        if id(value) in self._names:
            return self._names[id(value)]
        if isinstance(value, weakref.ref):  # Recurrent cells have some to their parameters.
            return kind, self.of(value())
        if kind is tuple:
            return kind, tuple(map(self.of, value))
        if isinstance(value, type | BuiltinFunctionType):
            return _Identity(value)
        if id(value) in self._seen:
            return _Identity, self._seen[id(value)][0]
        self._seen[id(value)] = len(self._seen), value
        try:
            return kind, self._content(value)
        except Exception:  # Such as of a lock, which equals nothing but itself.
            return _Identity(value)

    def _content(self, value: Any) -> Hashable:
        """Return the key of what is in a mutable object: all that `copy.deepcopy` would copy."""
        if isinstance(value, Tensor):
            return _tensor_key(value, self._roughly)
        if isinstance(value, MethodType):
            return self.of(value.__func__), self.of(value.__self__)
        if isinstance(value, FunctionType):  # Made anew for each network, it is still the same.
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            held = cells, value.__defaults__, value.__kwdefaults__, vars(value)
            return value.__code__, _Identity(value.__globals__), *map(self.of, held)
        if type(value) in (dict, OrderedDict):
            return tuple((self.of(key), self.of(each)) for key, each in value.items())
        if type(value) is list:
            return tuple(map(self.of, value))
        if type(value) in (set, frozenset):
            n_seen = len(self._seen)
            keys = tuple(map(self.of, value))
            # The order of what may be met again matters.
            return frozenset(keys) if len(self._seen) == n_seen else keys
        reduced = value.__reduce_ex__(4)
        if isinstance(reduced, str):
            return _Identity(value)
        make, arguments, *others = reduced
        # The others are a state, and iterators over items.
        parts = (each if each is None or n == 0 else list(each) for n, each in enumerate(others))
        return _Identity(make), self.of(arguments), *map(self.of, [*parts, *_unreduced(value)])


def _unreduced(value: object) -> list[object]:
    """Return what an object holds whose class says itself how to copy it, and may forget some."""
    kind = type(value)
    if isinstance(kind.__reduce__, FunctionType) or isinstance(kind.__reduce_ex__, FunctionType):
        return [attributes_of(value), slots_of(value)]
    return []


def _tensor_key(tensor: Tensor, roughly: bool) -> Hashable:
    """Return a key of a tensor's values, or of its layout if it has none."""
    layout = tensor.shape, tensor.dtype, tensor.device, tensor.requires_grad
    if tensor.device.type == "meta":
        return layout
    has_fractions = tensor.is_floating_point() or tensor.is_complex()
    if roughly and has_fractions and tensor.layout == torch.strided:
        return layout, _Values(tensor)
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    numbers = plain.reshape(-1).view(torch.uint8).numpy()
    return layout, hashlib.sha256(numbers.tobytes()).digest()

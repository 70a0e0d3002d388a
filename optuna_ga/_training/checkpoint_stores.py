"""Where states of training are kept: in an artifact store, or in this process.

A state is made of tensors, numbers, strings, bytes, None, dictionaries, lists and tuples of these.
PyTorch, which is imported when the first state is saved, writes and reads it; reading runs no
pickled code.
"""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, Protocol
from weakref import WeakKeyDictionary

from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage


class States(Protocol):
    """Keeps states under keys that no other study's trial has."""

    def put(self, storage: BaseStorage, key: str, state: Any) -> None:
        """Keep a state as it is now, in the place of what there was.

        Raises:
            TypeError: If it has something in it that could not be read again.
        """

    def get(self, key: str, map_location: Any) -> Any:
        """Return a copy of a state.

        Raises:
            KeyError: If there is none.
            ValueError: If there is something else.
        """

    def remove(self, storage: BaseStorage, key: str) -> None:
        """Remove a state if there is one."""


class InStore:
    """Keeps states in one of Optuna's artifact stores."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def put(self, storage: BaseStorage, key: str, state: Any) -> None:
        """Write a state; see `States`."""
        # A view would take the whole of what it is a view of with it.
        self._store.write(key, _written({"key": key, "state": _copied(state)}))

    def get(self, key: str, map_location: Any) -> Any:
        """Read a state, to the CPU if nothing else is said; see `States`."""
        import torch

        try:
            with self._store.open_reader(key) as reader:
                content = io.BytesIO(reader.read())
        except ArtifactNotFound as error:
            raise KeyError(key) from error
        try:
            saved = torch.load(content, map_location="cpu", weights_only=True)
        except Exception as error:  # Damage may look like anything, even like a missing key.
            raise ValueError(f"is damaged or no state: {error}") from error
        if not isinstance(saved, dict) or saved.keys() != {"key", "state"}:
            raise ValueError("is no state that was saved here.")
        if saved["key"] != key:
            raise ValueError(f"is that of {saved['key']!r}.")
        return _on(map_location, saved["state"])

    def remove(self, storage: BaseStorage, key: str) -> None:
        """Remove a state; see `States`."""
        with suppress(ArtifactNotFound):  # Another worker was faster.
            self._store.remove(key)


class InMemory:
    """Keeps states in this process, on their devices, as long as the study's storage is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: WeakKeyDictionary[BaseStorage, dict[str, Any]] = WeakKeyDictionary()

    def put(self, storage: BaseStorage, key: str, state: Any) -> None:
        """Copy a state; see `States`."""
        import torch

        _written(_mapped(state, lambda tensor: torch.empty(0)))  # What a store would refuse.
        copied = _copied(state)
        with self._lock:
            self._kept.setdefault(storage, {})[key] = copied

    def get(self, key: str, map_location: Any) -> Any:
        """Return a copy, on its device if nothing else is said; see `States`."""
        with self._lock:
            found = [kept[key] for kept in self._kept.values() if key in kept]
        if not found:
            raise KeyError(key)
        return _on(map_location, _copied(found[0]))

    def remove(self, storage: BaseStorage, key: str) -> None:
        """Forget a state; see `States`."""
        with self._lock:
            self._kept.get(storage, {}).pop(key, None)

    def __getstate__(self) -> NoReturn:
        """Refuse: another process would find no state.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "`Checkpoints()` keeps states in the memory of one process, so that it cannot go to "
            "another one. Give it a folder that all processes reach: `Checkpoints(folder)`."
        )


def _copied(state: Any) -> Any:
    return _mapped(state, lambda tensor: tensor.detach().clone())


def _on(device: Any, state: Any) -> Any:
    """Return a state on a device, or where it is for None."""
    return state if device is None else _mapped(state, lambda tensor: tensor.to(device))


def _mapped(state: Any, function: Callable[[Any], Any]) -> Any:
    """Return a state with each tensor replaced."""
    import torch

    if isinstance(state, torch.Tensor):
        return function(state)
    if isinstance(state, dict):
        mapped = copy.copy(state)  # A module's state_dict() has its version as an attribute.
        mapped.update({name: _mapped(part, function) for name, part in state.items()})
        return mapped
    if type(state) in (list, tuple):
        return type(state)(_mapped(part, function) for part in state)
    return state


def _written(content: Any) -> io.BytesIO:
    import torch

    written = io.BytesIO()
    torch.save(content, written)
    written.seek(0)
    if unsafe := torch.serialization.get_unsafe_globals_in_checkpoint(written):
        raise TypeError(
            "`state` must be made of tensors, numbers, strings, bytes, None, dictionaries, lists "
            f"and tuples, but it has {', '.join(sorted(unsafe))} in it."
        )
    written.seek(0)
    return written

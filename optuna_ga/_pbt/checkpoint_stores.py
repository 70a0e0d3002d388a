"""Stores of training states: one of Optuna's artifact stores, or the memory of this process.

A state consists of tensors, numbers, strings, bytes, None, and dictionaries, lists and tuples of
them. PyTorch serializes it and is imported on first use. Loading a state runs no pickled code.
"""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, NoReturn, Protocol
from weakref import WeakKeyDictionary
from zipfile import ZIP_STORED, ZipFile

from optuna.storages import BaseStorage

from optuna_ga._pbt.state_folder import artifact_not_found

_FOLDER = 0x10  # The attribute of folders in an archive.


class StateStore(Protocol):
    """Stores states under keys, each of which belongs to one trial of one study."""

    def put(self, storage: BaseStorage, key: str, state: Any) -> None:
        """Store a copy of a state, in place of an earlier state with the same key.

        Raises:
            TypeError: If the state has a part that cannot be loaded without running pickled code.
        """

    def get(self, key: str, map_location: Any) -> Any:
        """Return a copy of a state.

        Args:
            key: The key that the state was stored under.
            map_location: Device for the tensors; None for the store's default.

        Raises:
            KeyError: If the store has no such key.
            OSError: If it cannot be read.
            ValueError: If the stored object is damaged, or was stored under another key.
        """

    def remove(self, storage: BaseStorage, key: str) -> None:
        """Remove a state if it exists."""


class ArtifactStateStore:
    """Stores states in one of Optuna's artifact stores."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def put(self, storage: BaseStorage, key: str, state: Any) -> None:
        """Write a state; see `StateStore`."""
        # `torch.save` stores a view's whole underlying storage, so clone first.
        self._store.write(key, _serialized({"key": key, "state": _cloned(state)}))

    def get(self, key: str, map_location: Any) -> Any:
        """Read a state, by default to the CPU; see `StateStore`."""
        try:
            with self._store.open_reader(key) as reader:
                is_file = isinstance(reader, io.BufferedReader)
                saved = _loaded(reader if is_file else io.BytesIO(reader.read()))
        except artifact_not_found() as error:
            raise KeyError(key) from error
        if not isinstance(saved, dict) or saved.keys() != {"key", "state"}:
            raise ValueError("was not written by `Checkpoints`.")
        if saved["key"] != key:
            raise ValueError(f"was saved under another key, {saved['key']!r}.")
        return _moved(saved["state"], map_location)

    def remove(self, storage: BaseStorage, key: str) -> None:
        """Remove a state; see `StateStore`."""
        with suppress(artifact_not_found()):  # Another worker may have removed it already.
            self._store.remove(key)


class MemoryStateStore:
    """Stores states in this process, on their devices, while their study's storage is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_storage: WeakKeyDictionary[BaseStorage, dict[str, Any]] = WeakKeyDictionary()

    def put(self, storage: BaseStorage, key: str, state: Any) -> None:
        """Copy a state; see `StateStore`."""
        import torch

        # Refuse whatever an artifact store refuses; empty tensors make this check cheap.
        _serialized(_map_tensors(state, lambda tensor: torch.empty(0)))
        cloned = _cloned(state)
        with self._lock:
            self._by_storage.setdefault(storage, {})[key] = cloned

    def get(self, key: str, map_location: Any) -> Any:
        """Return a copy of a state, by default on its own devices; see `StateStore`."""
        with self._lock:
            found = [states[key] for states in self._by_storage.values() if key in states]
        if not found:
            raise KeyError(key)
        return _moved(_cloned(found[0]), map_location)

    def remove(self, storage: BaseStorage, key: str) -> None:
        """Remove a state; see `StateStore`."""
        with self._lock:
            self._by_storage.get(storage, {}).pop(key, None)

    def __getstate__(self) -> NoReturn:
        """Refuse to be pickled, since another process could not reach the states.

        Raises:
            TypeError: Always.
        """
        raise TypeError(
            "`Checkpoints()` keeps states in the memory of one process, so it cannot be sent to "
            "another process. Give it a folder that all processes can reach: "
            "`Checkpoints(folder)`."
        )


def _cloned(state: Any) -> Any:
    return _map_tensors(state, lambda tensor: tensor.detach().clone())


def _moved(state: Any, device: Any) -> Any:
    """Return a state with its tensors on a device; None leaves them where they are."""
    return state if device is None else _map_tensors(state, lambda tensor: tensor.to(device))


def _map_tensors(state: Any, function: Callable[[Any], Any]) -> Any:
    """Return a state with the function applied to each of its tensors."""
    import torch

    if isinstance(state, torch.Tensor):
        return function(state)
    if isinstance(state, dict):
        mapped = copy.copy(state)  # Keeps the attribute `_metadata` of a module's state_dict().
        mapped.update({name: _map_tensors(part, function) for name, part in state.items()})
        return mapped
    if type(state) in (list, tuple):
        return type(state)(_map_tensors(part, function) for part in state)
    return state


def _serialized(content: Any) -> io.BytesIO:
    """Return the content as PyTorch saves it.

    Raises:
        TypeError: If PyTorch could not load it with `weights_only=True`.
    """
    import torch

    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    if unsafe := torch.serialization.get_unsafe_globals_in_checkpoint(file):
        raise TypeError(
            "`state` must be made of tensors, numbers, strings, bytes, None, dictionaries, lists "
            f"and tuples, but it contains {', '.join(sorted(unsafe))}."
        )
    file.seek(0)
    return file


def _loaded(file: BinaryIO) -> Any:
    """Return the content of a file, with tensors on the CPU; read no more than is stored in it.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is damaged or not a file that `_serialized` wrote.
    """
    import torch

    file.read(1)  # ZipFile calls a file that cannot be read damaged.
    try:
        with ZipFile(file) as archive:
            _check_parts(archive)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # A damaged file can raise anything, even a KeyError.
        raise ValueError(f"is damaged or not a state: {error}") from error


def _check_parts(archive: ZipFile) -> None:
    """Check what PyTorch does not, but relies on: kinds, sizes, places and checksums of parts.

    Raises:
        ValueError: If a part is compressed, so that its size is unknown, or is damaged.
        Exception: Other errors of `ZipFile` about a damaged part.
    """
    parts = archive.infolist()
    for part in parts:
        if part.compress_type != ZIP_STORED:
            raise ValueError("it is compressed, so its size is unknown")
        is_folder = part.external_attr & _FOLDER  # PyTorch would return whatever is in memory.
        # Before its start, the system's error would blame the disk.
        if is_folder or part.compress_size != part.file_size or part.header_offset < 0:
            raise ValueError(f"{part.filename} has an impossible header")
    # Without any, if the user has told PyTorch to write none.
    has_checksums = any(part.CRC for part in parts)
    if has_checksums and (damaged := archive.testzip()):
        raise ValueError(f"{damaged} has another checksum")

"""A folder of states, with the methods of Optuna's artifact stores.

Others may be able to write in the folder, and a process may be killed or find the disk full. So a
file appears under its name once it is whole, only its owner can read it, and it replaces whatever
had its name. Links are not followed, and only regular files are read.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO

_UNFINISHED = ".part"  # Suffix of a file that is being written.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)


class StateFolder:
    """Stores files in a folder under keys that are valid names of files.

    Args:
        folder: The folder, which is created if necessary.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open a file.

        Raises:
            ArtifactNotFound: If it does not exist.
            ValueError: If it is a link, or not a regular file, such as a device.
        """
        with _missing_as_artifact():
            handle = _opened(self._folder / artifact_id)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return os.fdopen(handle, "rb")
        os.close(handle)
        raise ValueError("is not a regular file.")

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write a file in place of an earlier file, whatever that is; on failure nothing is left.

        Raises:
            OSError: If the file cannot be written, such as on a full disk.
        """
        handle, path = mkstemp(_UNFINISHED, f"{artifact_id}.", self._folder)  # Of mode 0600.
        try:
            with os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(content_body, file)
                file.flush()
                os.fsync(file.fileno())
            Path(path).replace(self._folder / artifact_id)
        except BaseException:
            with suppress(OSError):
                Path(path).unlink()
            raise

    def remove(self, artifact_id: str) -> None:
        """Remove a file, and what processes that were killed have written of it.

        Raises:
            ArtifactNotFound: If it does not exist.
        """
        for path in self._folder.glob(f"{artifact_id}.*{_UNFINISHED}"):
            path.unlink(missing_ok=True)
        with _missing_as_artifact():
            (self._folder / artifact_id).unlink()


@contextmanager
def _missing_as_artifact() -> Iterator[None]:
    """Raise the error of Optuna's stores for a file that does not exist."""
    try:
        yield
    except FileNotFoundError as error:
        raise artifact_not_found()("not found") from error


def artifact_not_found() -> type[Exception]:
    """Return Optuna's `ArtifactNotFound`, whose module takes long to import."""
    from optuna.artifacts.exceptions import ArtifactNotFound

    return ArtifactNotFound


def _opened(path: Path) -> int:
    """Open a file for reading, without following a link or waiting for the writer of a FIFO."""
    try:
        return os.open(path, os.O_RDONLY | _NO_LINK | _NO_WAITING)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("is a link.") from error
        raise

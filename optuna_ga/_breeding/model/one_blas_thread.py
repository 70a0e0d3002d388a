"""Linear algebra on one thread: the models' matrices are too small to share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from optuna_ga._process_setting import ProcessSetting


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Have NumPy and SciPy compute with one thread, and restore the user's numbers afterwards.

    Several threads would wait for each other most of the time, the more the more processes share
    the cores. And rounding, on which a search depends, would depend on their number.
    """
    with _n_threads.changed(lambda: _set([1] * len(_libraries()))):
        yield


@cache
def _libraries() -> list[Any]:
    """Return the libraries of linear algebra of this process."""
    import scipy.linalg  # noqa: F401 (which may have a library of its own)

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _get() -> list[int]:
    return [library.num_threads for library in _libraries()]


def _set(numbers: list[int]) -> None:
    for library, number in zip(_libraries(), numbers, strict=True):
        library.set_num_threads(number)


_n_threads = ProcessSetting(_get, _set, "nothing")

"""The global generators of PyTorch, Python and NumPy, seeded for a while and restored."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from optuna_ga._process_setting import ProcessSetting

_CPU = torch.device("cpu")
seeding = threading.RLock()  # Of the threads that seed generators, or make networks by them.


@cache
def _generator(device: torch.device) -> ProcessSetting:
    """Return the keeper of PyTorch's global generator of a device."""
    if device.type != "cuda":
        return ProcessSetting(torch.get_rng_state, torch.set_rng_state, "found")
    return ProcessSetting(
        partial(torch.cuda.get_rng_state, device),
        partial(torch.cuda.set_rng_state, device=device),
        "found",
    )


@contextmanager
def seeded(seed: int, device: torch.device = _CPU, *, alone: bool = True) -> Iterator[None]:
    """Seed PyTorch's global generators of the CPU and a device, and restore them.

    They belong to the process. So other threads of Python that draw meanwhile change the numbers,
    unless they are seeded alone, too.

    Args:
        seed: The seed.
        device: The device.
        alone: Whether to wait until no other thread is in such a context. `loop` does not wait,
            which would have it train in one thread of Python at a time. So networks that draw
            from the global generators repeat exactly only if one thread trains.
    """
    with ExitStack() as stack:
        if alone:
            stack.enter_context(seeding)
        seed_cpu = partial(torch.default_generator.manual_seed, seed)
        stack.enter_context(_generator(_CPU).changed(seed_cpu))
        if device.type == "cuda":
            stack.enter_context(_generator(device).changed(partial(_seed_gpu, device, seed)))
        yield


def _seed_gpu(device: torch.device, seed: int) -> None:
    with torch.cuda.device(device):
        torch.cuda.manual_seed(seed)


@contextmanager
def python_kept() -> Iterator[None]:
    """Restore the generators of Python and NumPy afterwards; one thread at a time."""
    with seeding:
        before = random.getstate(), np.random.get_state()
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


@contextmanager
def python_seeded(seed: int = 0) -> Iterator[list[object]]:
    """Seed the generators of Python and NumPy, and restore them.

    Yields a list that gets their state afterwards, None if nothing was drawn.
    """

    def states() -> object:
        _, numbers, *others = np.random.get_state(legacy=True)  # Of these, arrays have no truth.
        return random.getstate(), np.asarray(numbers).tobytes(), others

    drawn: list[object] = []
    with python_kept():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        fresh = states()
        try:
            yield drawn
        finally:
            after = states()
            drawn.append(None if after == fresh else after)


def cpu_states() -> tuple[Any, ...]:
    """Return the states of the global generators of PyTorch on the CPU, Python and NumPy."""
    return torch.get_rng_state(), random.getstate(), np.random.get_state()


def set_cpu_states(states: tuple[Any, ...]) -> None:
    """Set these states."""
    of_torch, of_python, of_numpy = states
    torch.set_rng_state(of_torch)
    random.setstate(of_python)
    np.random.set_state(of_numpy)


def generator_states(device: torch.device) -> Tensor:
    """Return the states of PyTorch's global generators of the CPU and a device."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)

"""Settings and generators of the process, which several threads change at the same time."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from optuna_ga.torch import computing
from optuna_ga.torch._randomness.generators import python_seeded, seeded

GPU = torch.device("cuda")  # Its switches can be set without one.
MATMUL: Any = torch.backends.cuda.matmul
CUDNN: Any = torch.backends.cudnn
# PyTorch has had other switches of TF32 before.
IS_NEW = hasattr(MATMUL, "fp32_precision")
NAME, EXACT, ROUNDED = (
    ("fp32_precision", "ieee", "tf32") if IS_NEW else ("allow_tf32", False, True)
)
HOLDERS = (MATMUL, CUDNN.conv if IS_NEW else CUDNN)


def switches() -> list[Any]:
    """Return how a GPU is to compute."""
    return [CUDNN.deterministic, CUDNN.benchmark, *(getattr(each, NAME) for each in HOLDERS)]


@pytest.fixture(params=[False, True], ids=["default", "own"])
def users(request: pytest.FixtureRequest) -> Iterator[list[Any]]:
    """Return the user's switches, PyTorch's own and others."""
    before = switches()
    if request.param:
        CUDNN.benchmark = True
        setattr(HOLDERS[1], NAME, ROUNDED)
    yield switches()
    CUDNN.deterministic, CUDNN.benchmark = before[:2]
    for holder, value in zip(HOLDERS, before[2:], strict=True):
        setattr(holder, NAME, value)


def test_who_computes_longest_restores_the_users_switches(users: list[Any]) -> None:
    """Until then all kernels repeat exactly, whoever has entered first."""
    first, second = computing("float32", GPU), computing("float32", GPU)
    with first:
        second.__enter__()
    during = switches()
    second.__exit__(None, None, None)

    assert during == [True, False, EXACT, EXACT]
    assert switches() == users


def test_tf32_is_for_who_asks_for_it(users: list[Any]) -> None:
    """Products are rounded in that context alone."""
    with computing("tf32", GPU):
        during = switches()

    assert during == [True, False, ROUNDED, ROUNDED]
    assert switches() == users


def state() -> tuple[object, bytes]:
    """Return the state of the generators of Python and NumPy."""
    return random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tobytes()


def in_threads(*functions: Callable[[], None]) -> None:
    """Run functions in threads, and wait for them."""
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert not any(thread.is_alive() for thread in threads)


def test_threads_that_seed_python_leave_the_users_generators_alone() -> None:
    """A thread that enters while another is seeded would restore the other's seed."""
    random.seed(5)
    np.random.seed(6)
    before, has_entered, may_leave = state(), threading.Event(), threading.Event()

    def seed_first() -> None:
        with python_seeded():
            has_entered.set()
            may_leave.wait(0.2)

    def seed_second() -> None:
        has_entered.wait()
        with python_seeded():
            may_leave.set()

    in_threads(seed_first, seed_second)

    assert state() == before


def test_seeding_all_generators_in_any_order_never_waits_for_ever() -> None:
    """There is one lock for all of them."""

    def python_in_torch() -> None:
        for n in range(200):
            with seeded(n), python_seeded(n):
                pass

    def torch_in_python() -> None:
        for n in range(200):
            with python_seeded(n), seeded(n):
                pass

    in_threads(python_in_torch, torch_in_python)


def test_what_is_seeded_alone_draws_the_numbers_of_its_seed() -> None:
    """Another thread that seeds meanwhile waits until it has left."""
    has_entered, has_seeded, has_drawn = (threading.Event() for _ in range(3))
    drawn: list[torch.Tensor] = []

    def draw() -> None:
        with seeded(1):
            has_entered.set()
            has_seeded.wait(0.2)
            drawn.append(torch.rand(3))
        has_drawn.set()

    def seed() -> None:
        has_entered.wait()
        with seeded(2):
            has_seeded.set()
            has_drawn.wait(0.2)

    in_threads(draw, seed)

    assert torch.equal(drawn[0], torch.rand(3, generator=torch.Generator().manual_seed(1)))

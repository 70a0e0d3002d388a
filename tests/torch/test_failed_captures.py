"""A capture that fails costs neither the process its GPU nor a network its training.

PyTorch's functions for graphs are played; nothing is computed by a GPU.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import count
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor, nn

from optuna_ga.torch import Capturer, Member, PopulationTrainer
from optuna_ga.torch._backends import cuda_graph
from optuna_ga.torch._backends.branches import ByBranches
from tests.torch.tasks import MEMBERS, Classes, difference, mlp, rows, trained

GPU = torch.device("cuda", 0)


class Played:
    """Functions of `torch.cuda` that note what is done with graphs.

    Attributes:
        pools: The memory of each capture that began, None for memory of its own.
        ended: Memory whose use was ended after a failed capture.
        mode: Whether waiting for the device is an error.
        fails_at_end: Whether captures cannot end.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pools: list[Any] = []
        self.ended: list[Any] = []
        self.mode: int | str = 0
        self.fails_at_end = False
        handles = count()
        parts = {
            "device": lambda device: nullcontext(),
            "stream": lambda stream: nullcontext(),
            "graph": self.graph,
            "graph_pool_handle": lambda: next(handles),
            "get_sync_debug_mode": lambda: self.mode,
            "set_sync_debug_mode": lambda mode: setattr(self, "mode", mode),
            "memory_allocated": lambda: 0,
            "max_memory_allocated": lambda: 0,
            "mem_get_info": lambda: (1, 1),
            "current_device": lambda: 0,
        }
        others = ["CUDAGraph", "Stream", "current_stream", "set_stream", "synchronize",
                  "reset_peak_memory_stats", "empty_cache"]  # fmt: skip
        for name, part in {**parts, **dict.fromkeys(others, MagicMock())}.items():
            monkeypatch.setattr(torch.cuda, name, part)
        monkeypatch.setattr(cuda_graph, "end_recording", lambda *place: self.ended.append(place))
        zeros = torch.zeros
        monkeypatch.setattr(torch, "zeros", lambda *shape, device, **_: zeros(*shape))

    @contextmanager
    def graph(self, graph: Any, *, pool: Any = None, **options: Any) -> Iterator[None]:
        """Stand in for `torch.cuda.graph`, which ends a capture in any case."""
        self.pools.append(pool)
        try:
            yield
        finally:
            if self.fails_at_end and pool is not None:
                raise RuntimeError("operation failed due to a previous error during capture")

    def wait(self) -> None:
        """Wait for the device, as `.item()` does."""
        if self.mode == "error":
            raise RuntimeError("called a synchronizing CUDA operation")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    """Play a GPU."""
    return Played(monkeypatch)


def nothing() -> None:
    """Reset nothing."""


def test_a_step_that_waits_is_refused_before_a_capture_begins(played: Played) -> None:
    """The user's mode is restored."""
    played.mode = 1
    with pytest.raises(RuntimeError, match=r"cannot be captured: .* synchronizing"):
        Capturer(GPU).capture(played.wait, nothing)

    assert played.pools == []
    assert played.mode == 1


@pytest.mark.parametrize(("free", "n_captures"), [(59, 0), (60, 1)])
def test_a_step_is_captured_where_a_fifth_more_than_its_memory_is_free(
    free: int, n_captures: int, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs 50 bytes beside the 100 that others have; what they needed before is no matter."""
    peaks = [10_000]
    parts: dict[str, Callable[[], object]] = {
        "memory_allocated": lambda: 100,
        "max_memory_allocated": lambda: max(peaks),
        "reset_peak_memory_stats": peaks.clear,
        "mem_get_info": lambda: (free, 1000),
    }
    for name, part in parts.items():
        monkeypatch.setattr(torch.cuda, name, part)
    with nullcontext() if n_captures else pytest.raises(torch.OutOfMemoryError, match="needs"):
        Capturer(GPU).capture(lambda: peaks.append(150), nothing)

    assert len(played.pools) == n_captures


def test_other_threads_may_wait_meanwhile(played: Played) -> None:
    """The check would fail what they compute, so that the capture itself has to find it."""
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        Capturer(GPU).capture(played.wait, nothing)
    finally:
        done.set()
        other.join()

    assert played.pools == [0]
    assert played.mode == 0


def failing(error: BaseException) -> Any:
    """Return a step that fails once it is captured."""
    n_calls = count()

    def step() -> None:
        if next(n_calls) >= 3:
            raise error

    return step


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), KeyboardInterrupt()])
def test_a_capture_that_fails_is_ended_and_hides_no_error(
    error: BaseException, played: Played
) -> None:
    """Later captures take other memory, and one of nothing ends that of the generator."""
    played.fails_at_end = True
    capturer = Capturer(GPU)
    with pytest.raises(type(error)) as caught:
        capturer.capture(failing(error), nothing)
    played.fails_at_end = False
    capturer.capture(nothing, nothing)

    assert caught.value is error
    assert played.ended == [(0, 0)]
    assert played.pools == [0, None, 1]


def test_an_error_within_a_capture_that_ends_needs_no_repair(played: Played) -> None:
    """As one of memory, whose streams are joined."""
    with pytest.raises(torch.OutOfMemoryError):
        Capturer(GPU).capture(failing(torch.OutOfMemoryError("full")), nothing)

    assert played.ended == []
    assert played.pools == [0]


def test_streams_are_joined_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture with streams apart could not end."""
    method, current = ByBranches(torch.device("cpu")), MagicMock()
    stream: Any = MagicMock()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current)
    method._streams = [stream]
    with pytest.raises(torch.OutOfMemoryError), method._side_by_side(2):
        raise torch.OutOfMemoryError("full")

    current.wait_stream.assert_called_once_with(stream)


class Failing(Classes):
    """A task that fails once it has been examined."""

    n_calls: int | None = None

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        if self.n_calls is not None:
            self.n_calls += 1
            raise RuntimeError("Offset increment outside graph capture encountered unexpectedly.")
        return super().loss(model, batch)


def test_an_error_of_the_loop_is_raised_at_once() -> None:
    """No other backend is tried, whatever it says."""
    task = Failing(mlp)
    subject = PopulationTrainer(task, train=rows(30), validation=rows(20), epochs=1, device="cpu")
    started = [subject._engine.start(Member(0.1))]
    task.n_calls = 0
    with pytest.raises(RuntimeError, match="Offset increment"):
        subject._engine.train(started, None)

    assert task.n_calls == 1


def test_a_network_that_cannot_be_captured_trains_in_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a warning that says why."""

    def refuse(self: Capturer, step: Any, reset: Any) -> Any:
        raise RuntimeError("A step that waits for the GPU cannot be captured: it waits")

    monkeypatch.setattr(Capturer, "capture", refuse)
    members = [*MEMBERS, *MEMBERS]
    loop = trained(Classes(mlp), rows, members, backend="loop")
    with pytest.warns(RuntimeWarning, match="cannot be captured: it waits"):
        auto = trained(Classes(mlp), rows, members)

    assert difference(loop, auto) == 0.0


def test_graphs_take_other_memory_after_all_were_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch refuses memory without graphs in which a tensor lives.

    With what has been freed all members may fit, so that nobody is warned.
    """
    used: list[Capturer] = []

    def capture(self: Capturer, step: Any, reset: Any) -> Any:
        used.append(self)
        if len(used) == 1:
            raise torch.OutOfMemoryError("full")
        return step

    monkeypatch.setattr(Capturer, "capture", capture)
    trained(Classes(mlp), rows, backend="branches")

    assert used[0] is not used[1]
    assert used[1] is used[-1]

"""CUDA graphs of steps, which the GPU repeats without the host."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch

from optuna_ga.torch._environment import check_is_device
from optuna_ga.torch._torch_internals import end_recording

_WARM_UP_STEPS = 3
_MARGIN = 1.2  # A graph's own memory cannot use gaps between other tensors.
# Graphs are small, and the allocator of pinned memory may go on asking those that failed.
_FAILED: list[torch.cuda.CUDAGraph] = []


class Capturer:
    """Captures steps as CUDA graphs that share a stream and memory; on a CPU steps stay plain.

    A step may read and change only tensors that live as long as its graph: the graph has their
    addresses.

    Args:
        device: Where the steps compute.

    Raises:
        TypeError: If `device` is not a `torch.device`.
    """

    def __init__(self, device: torch.device) -> None:
        check_is_device(device)
        self._device = device
        if device.type == "cuda":
            with torch.cuda.device(device):
                self._begin_anew()

    def _begin_anew(self) -> None:
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()

    def capture(self, step: Callable[[], None], reset: Callable[[], object]) -> Callable[[], None]:
        """Warm up with a few steps, and return a function that repeats the step.

        Args:
            step: The step; warming up changes the tensors that it writes.
            reset: Called before each step to warm up.

        Raises:
            torch.OutOfMemoryError: If there is no memory for it.
            RuntimeError: If the step waits for the device, as `.item()` does.
        """
        if self._device.type != "cuda":
            return step
        with torch.cuda.device(self._device):
            outer = torch.cuda.current_stream()
            try:
                self._stream.wait_stream(outer)
                try:
                    with torch.cuda.stream(self._stream):
                        self._warm_up(step, reset)
                finally:
                    outer.wait_stream(self._stream)
                graph = torch.cuda.CUDAGraph()
                with _no_garbage_collection():
                    self._record(graph, step)
            finally:  # An error in a capture would leave its stream the current one.
                torch.cuda.set_stream(outer)
        return _Replay(graph, step)

    def _record(self, graph: torch.cuda.CUDAGraph, step: Callable[[], None]) -> None:
        """Capture a step; its own error goes before that of a capture that cannot end."""
        outer = torch.cuda.current_stream()
        error: BaseException | None = None
        try:
            with torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ):
                try:
                    step()
                except BaseException as first:
                    error = first
        except RuntimeError as last:
            torch.cuda.set_stream(outer)
            self._recover(graph)
            error = error or last
        try:
            if error is not None:
                raise error
        finally:
            del error  # Its traceback would keep itself, and the memory.

    def _recover(self, graph: torch.cuda.CUDAGraph) -> None:
        """End what a failed capture leaves begun, and take other memory from here on.

        PyTorch would go on taking memory for the graph, and its generator would go on capturing,
        so that neither draws nor other graphs would work.
        """
        _FAILED.append(graph)
        graph.reset()
        end_recording(torch.cuda.current_device(), self._pool)
        self._begin_anew()
        with suppress(RuntimeError):  # Of a device that is lost, as the first error says.
            number = torch.zeros((), device=self._device)
            # A capture that ends has the generator end, too, in whatever state others hold it.
            with torch.cuda.graph(
                torch.cuda.CUDAGraph(), stream=self._stream, capture_error_mode="thread_local"
            ):
                number.fill_(0.0)

    def _warm_up(self, step: Callable[[], None], reset: Callable[[], object]) -> None:
        reset()
        step()  # Libraries take their workspaces.
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        for n in range(1, _WARM_UP_STEPS):
            reset()
            if n < _WARM_UP_STEPS - 1:
                step()
            else:
                _check_waits_for_nothing(step)
        torch.cuda.synchronize()
        needed = _MARGIN * (torch.cuda.max_memory_allocated() - before)
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        if free < needed:  # Running out inside of a capture is harder to recover from.
            raise torch.OutOfMemoryError(
                f"A CUDA graph needs {needed / 2**20:.0f} MiB, but {free / 2**20:.0f} are free."
            )


def new_capturer(device: torch.device) -> Capturer:
    """Return a capturer after others lost their graphs, whose memory is freed first."""
    gc.collect()  # What keeps a graph and its steps refer to each other.
    if device.type == "cuda":
        torch.cuda.empty_cache()
    # Memory whose graphs are gone takes no other graph while some tensor in it lives.
    return Capturer(device)


def _check_waits_for_nothing(step: Callable[[], None]) -> None:
    """Call a step, which must not wait for the device: a capture that fails is hard to undo.

    The check is of the process. So it is left out where another thread may wait for the device.

    Raises:
        RuntimeError: If it waits.
    """
    others = {*threading.enumerate()} - {threading.current_thread()}
    before = torch.cuda.get_sync_debug_mode()
    try:
        if all(each.daemon for each in others):
            torch.cuda.set_sync_debug_mode("error")
        step()
    except RuntimeError as error:
        if "synchronizing CUDA operation" not in str(error):
            raise
        raise RuntimeError(f"A step that waits for the GPU cannot be captured: {error}") from error
    finally:
        torch.cuda.set_sync_debug_mode(before)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect garbage now, and not again until the capture ends.

    Freeing older graphs or tensors during a capture breaks it, with an error of the library that
    happens to be computing.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Replay:
    """Repeats a step, whose tensors it keeps alive."""

    def __init__(self, graph: torch.cuda.CUDAGraph, step: Callable[[], None]) -> None:
        self._graph = graph
        self._step = step

    def __call__(self) -> None:
        self._graph.replay()

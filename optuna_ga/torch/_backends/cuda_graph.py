"""CUDA graphs of steps, which the GPU repeats without the host."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from optuna_ga.torch._environment import check_is_device

_WARM_UP_STEPS = 3
_MARGIN = 1.2  # A graph's own memory cannot use gaps between other tensors.


class Capturer:
    """Captures steps as CUDA graphs that share a stream and memory; on a CPU steps stay plain.

    A step may read and change only tensors that live as long as its graph: the graph has their
    addresses.

    Args:
        device: Where the steps compute.

    Raises:
        TypeError: If `device` is no `torch.device`.
    """

    def __init__(self, device: torch.device) -> None:
        check_is_device(device)
        self._device = device
        if device.type == "cuda":
            with torch.cuda.device(device):
                self._stream = torch.cuda.Stream()
                self._pool = torch.cuda.graph_pool_handle()

    def capture(
        self,
        step: Callable[[], None],
        reset: Callable[[], object],
        generator: torch.Generator | None = None,
    ) -> Callable[[], None]:
        """Warm up with a few steps, and return a function that repeats the step.

        Args:
            step: The step; warming up changes the tensors that it writes.
            reset: Called before each step to warm up.
            generator: A generator that the step draws from.

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
                with torch.cuda.stream(self._stream):
                    self._warm_up(step, reset)
                outer.wait_stream(self._stream)
                graph = torch.cuda.CUDAGraph()
                if generator is not None:
                    graph.register_generator_state(generator)
                with (
                    _no_garbage_collection(),
                    torch.cuda.graph(
                        graph,
                        pool=self._pool,
                        stream=self._stream,
                        capture_error_mode="thread_local",
                    ),
                ):
                    step()
            finally:  # An error in a capture would leave its stream the current one.
                torch.cuda.set_stream(outer)
        return _Replay(graph, step)

    def _warm_up(self, step: Callable[[], None], reset: Callable[[], object]) -> None:
        reset()
        step()  # Libraries take their workspaces.
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        for _ in range(_WARM_UP_STEPS - 1):
            reset()
            step()
        torch.cuda.synchronize()
        needed = _MARGIN * (torch.cuda.max_memory_allocated() - before)
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        if free < needed:  # Running out inside of a capture is harder to recover from.
            raise torch.OutOfMemoryError(
                f"A CUDA graph needs {needed / 2**20:.0f} MiB, but {free / 2**20:.0f} are free."
            )


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

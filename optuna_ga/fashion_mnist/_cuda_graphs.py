"""Work that is repeated many times on a GPU, captured once as a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable

import torch

_WARM_UP_RUNS = 3


class GraphCapture:
    """Captures work as CUDA graphs that share one stream and one pool of memory.

    Graphs that share a pool overwrite each other's temporary tensors, so they must not run at the
    same time, and what is to outlast a replay lies outside of the captured work.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._stream = torch.cuda.Stream()
            self._pool = torch.cuda.graph_pool_handle()

    def __call__(
        self,
        work: Callable[[], None],
        prepare: Callable[[], object],
        generator: torch.Generator | None = None,
    ) -> Callable[[], None]:
        """Return a function that replays the work.

        Args:
            work: Launches kernels on the current stream and never waits for them.
            prepare: Called before each run while warming up, and before the capture.
            generator: A generator that the work draws from.

        Raises:
            torch.OutOfMemoryError: If the memory does not suffice for a graph of this work.
        """
        with torch.cuda.device(self._device):
            before = torch.cuda.current_stream()
            try:
                self._warm_up(work, prepare)
                graph = torch.cuda.CUDAGraph()
                if generator is not None:
                    graph.register_generator_state(generator)
                prepare()
                with torch.cuda.graph(
                    graph,
                    pool=self._pool,
                    stream=self._stream,
                    capture_error_mode="thread_local",  # Other threads may use the GPU meanwhile.
                ):
                    work()
            finally:
                torch.cuda.set_stream(before)  # A capture that fails leaves its own current.

        def replay() -> None:
            graph.replay()
            # The graph knows addresses alone: holding `work` keeps the tensors behind them.
            _ = work

        return replay

    def _warm_up(self, work: Callable[[], None], prepare: Callable[[], object]) -> None:
        """Run the work, so that libraries have chosen their kernels, and see what memory it takes.

        A capture that runs out of memory would lose the pool, hence the check beforehand.
        """
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(_WARM_UP_RUNS):
                prepare()
                work()
        torch.cuda.current_stream().wait_stream(self._stream)
        torch.cuda.synchronize()
        needed = torch.cuda.max_memory_allocated() - held
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        if needed > free:
            raise torch.OutOfMemoryError(
                f"The graph of a step needs {needed:,} bytes of GPU memory; {free:,} are free."
            )

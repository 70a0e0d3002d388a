"""PyTorch's settings while members train; those of the user are restored afterwards."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

# float32 throughout; its matrix products in TF32, on a GPU alone; or all but the losses and the
# weights that are updated in bfloat16.
Precision = Literal["float32", "tf32", "bfloat16"]
_CPU = torch.device("cpu")
PRECISIONS: tuple[str, ...] = get_args(Precision)


@contextmanager
def usual_settings(device: torch.device) -> Iterator[None]:
    """Compute with gradients, and create float32 tensors on the CPU, whatever is set outside."""
    dtype = torch.get_default_dtype()
    is_usual = torch.get_default_device().type == "cpu"  # The context would slow every call.
    torch.set_default_dtype(torch.float32)
    try:
        with (
            nullcontext() if is_usual else torch.device("cpu"),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(device.type, enabled=False),
        ):
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def seeded(seed: int, device: torch.device = _CPU) -> Iterator[None]:
    """Seed PyTorch's global generators of the CPU and a device, and restore them."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def generator_states(device: torch.device) -> Tensor:
    """Return the states of PyTorch's global generators of the CPU and a device."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)


class _OneThread:
    """Keeps the user's number of threads while some thread of Python computes with one.

    PyTorch keeps a number for each thread of Python, and another for threads yet to start.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._n_threads = 1

    def enter(self) -> None:
        with self._lock:
            if self._n_users == 0:
                self._n_threads = torch.get_num_threads()
            self._n_users += 1
            torch.set_num_threads(1)

    def leave(self) -> None:
        with self._lock:
            self._n_users -= 1
            torch.set_num_threads(self._n_threads)


_one_thread = _OneThread()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute each operation with one thread, which for small ones is faster on any machine.

    This holds in the calling thread of Python. The first to enter saves the user's number of
    threads, and everyone who leaves restores it.
    """
    _one_thread.enter()
    try:
        yield
    finally:
        _one_thread.leave()


def checked_device(device: str | torch.device | None) -> torch.device:
    """Return a device that PyTorch can use here; None is the GPU if there is one, else the CPU.

    Raises:
        ValueError: If PyTorch cannot use the device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (AssertionError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"`device` must be a device that PyTorch can use here, but {device!r} was given: "
            f"{error}"
        ) from error


def n_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute on a GPU as the trainers do: TF32 only if asked for, kernels that repeat exactly.

    PyTorch's own settings are restored afterwards. On a CPU nothing changes.

    Args:
        precision: "float32", "tf32" or "bfloat16". Only "tf32" lets products of float32 round to
            TF32; computing in bfloat16 is left to the model.
        device: The device of the tensors.
    """
    if device.type != "cuda":
        yield
        return
    with ExitStack() as stack:
        for holder, name, value in _gpu_settings(tf32=precision == "tf32"):
            stack.callback(setattr, holder, name, getattr(holder, name))
            setattr(holder, name, value)
        yield


def _gpu_settings(*, tf32: bool) -> Iterator[tuple[Any, str, Any]]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    yield cudnn, "deterministic", True
    yield cudnn, "benchmark", False
    # The old switches must not be touched where there are new ones: PyTorch refuses a mixture.
    if hasattr(matmul, "fp32_precision"):
        for holder in (matmul, cudnn.conv, cudnn.rnn):  # type: ignore[attr-defined]
            yield holder, "fp32_precision", "tf32" if tf32 else "ieee"
    else:
        yield matmul, "allow_tf32", tf32
        yield cudnn, "allow_tf32", tf32


def compute_in_bfloat16(model: nn.Module) -> None:
    """Have a model take its floating-point inputs in bfloat16, and give float32 outputs.

    `torch.autocast` cannot be used: inside `vmap(grad)` it fails for normalisation and attention.
    """
    model.register_forward_pre_hook(
        lambda module, args, kwargs: (_cast(args), _cast(kwargs)), with_kwargs=True
    )
    model.register_forward_hook(lambda module, args, output: _cast(output, torch.float32))


def _cast(tree: Any, dtype: torch.dtype = torch.bfloat16) -> Any:
    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return tree_map_only(Tensor, cast, tree)


class Float32Statistics(TorchFunctionMode):
    """A context in which batch normalisation computes in float32, the type of its statistics."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of PyTorch, in float32 if it is batch normalisation."""
        kwargs = kwargs or {}
        if func is F.batch_norm:
            args, kwargs = _cast((args, kwargs), torch.float32)
            return func(*args, **kwargs).to(torch.bfloat16)
        return func(*args, **kwargs)

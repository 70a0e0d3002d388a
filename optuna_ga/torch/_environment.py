"""PyTorch's settings while members train; those of the user are restored afterwards."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache, partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from optuna_ga._checks import check_choice, shown

# float32 throughout; its matrix products in TF32, on a GPU alone; or all but the losses and the
# weights that are updated in bfloat16.
Precision = Literal["float32", "tf32", "bfloat16"]
_CPU = torch.device("cpu")
PRECISIONS: tuple[str, ...] = get_args(Precision)


class _Kept:
    """Keeps a setting of the process that several threads of Python change at the same time.

    Args:
        get: Returns the user's setting.
        restore: Sets it.
        early: What a thread restores that leaves before the last: nothing, what it found, or the
            user's setting.
    """

    def __init__(
        self,
        get: Callable[[], Any],
        restore: Callable[[Any], None],
        early: Literal["nothing", "found", "user's"],
    ) -> None:
        self._get, self._restore, self._early = get, restore, early
        self._lock = threading.Lock()
        self._n_users = 0
        self._of_user: Any = None

    @contextmanager
    def changed(self, change: Callable[[], object]) -> Iterator[None]:
        """Change the setting; the first to enter saves the user's, and the last restores it."""
        with self._lock:
            found = self._get()
            change()
            if self._n_users == 0:
                self._of_user = found
            self._n_users += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_users -= 1
                if self._n_users == 0 or self._early == "user's":
                    self._restore(self._of_user)
                elif self._early == "found":
                    self._restore(found)


_dtype = _Kept(torch.get_default_dtype, torch.set_default_dtype, "nothing")
_n_threads = _Kept(torch.get_num_threads, torch.set_num_threads, "user's")
_seeding = threading.RLock()
_KERNELS = "flash", "mem_efficient", "math", "cudnn"  # Of attention.


@cache
def _generator(device: torch.device) -> _Kept:
    """Return the keeper of PyTorch's global generator of a device."""
    if device.type != "cuda":
        return _Kept(torch.get_rng_state, torch.set_rng_state, "found")
    return _Kept(
        partial(torch.cuda.get_rng_state, device),
        partial(torch.cuda.set_rng_state, device=device),
        "found",
    )


def _attention_kernels() -> list[bool]:
    kernels = [getattr(torch.backends.cuda, f"{name}_sdp_enabled")() for name in _KERNELS]
    return [*kernels, torch.backends.mha.get_fastpath_enabled()]


def _enable_attention_kernels(are_enabled: list[bool]) -> None:
    *kernels, fastpath = are_enabled
    for name, is_enabled in zip(_KERNELS, kernels, strict=True):
        getattr(torch.backends.cuda, f"enable_{name}_sdp")(is_enabled)
    torch.backends.mha.set_fastpath_enabled(fastpath)


_attention = _Kept(_attention_kernels, _enable_attention_kernels, "nothing")


@contextmanager
def plain_attention() -> Iterator[None]:
    """Compute attention by matrix products, since `vmap` has no rule for the fused kernels.

    Nor has it one for the nested tensors by which encoders evaluate masked sequences.
    """
    plain = [*[name == "math" for name in _KERNELS], False]
    with _attention.changed(partial(_enable_attention_kernels, plain)):
        yield


@contextmanager
def usual_settings(device: torch.device) -> Iterator[None]:
    """Compute with gradients, and create float32 tensors on the CPU, whatever is set outside."""
    is_usual = torch.get_default_device().type == "cpu"  # The context would slow every call.
    with (
        _dtype.changed(lambda: torch.set_default_dtype(torch.float32)),
        nullcontext() if is_usual else torch.device("cpu"),
        torch.inference_mode(False),
        torch.enable_grad(),
        # A cache would outlast the steps, since only the outermost `autocast` clears it.
        torch.autocast(device.type, enabled=False, cache_enabled=False),
    ):
        yield


def forget_casts() -> None:
    """Clear what `torch.autocast` keeps of weights, which steps change in place.

    A task's own context has a cache if it was made before the training, as a decorator is.
    """
    torch.clear_autocast_cache()


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
            stack.enter_context(_seeding)
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
    """Restore the generators of Python and NumPy afterwards."""
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


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute each operation with one thread, which for small ones is faster on any machine.

    This holds in the calling thread of Python: PyTorch keeps a number for each, and another for
    threads yet to start. So everyone who leaves restores the user's number.
    """
    with _n_threads.changed(partial(torch.set_num_threads, 1)):
        yield


def checked_device(device: str | torch.device | None) -> torch.device:
    """Return a device that PyTorch can use here; None is the GPU if there is one, else the CPU.

    Raises:
        ValueError: If PyTorch cannot use the device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=device).item()  # The "meta" device computes nothing.
        return torch.device(device)
    except (AssertionError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"`device` must be a device that PyTorch can use here, but {device!r} was given: "
            f"{error}"
        ) from error


def check_is_device(device: object) -> None:
    """Check that an argument is a device, and not its name.

    Raises:
        TypeError: If it is anything else.
    """
    if not isinstance(device, torch.device):
        raise TypeError(f"`device` must be a `torch.device`, but {shown(device)} was given.")


def n_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute as the trainers do: TF32 only if asked for, kernels that repeat exactly.

    PyTorch's own settings are restored afterwards. On a CPU products of float32 are not rounded,
    as `torch.set_float32_matmul_precision` lets them be there, too.

    Args:
        precision: "float32", "tf32" or "bfloat16". Only "tf32" lets products of float32 round to
            TF32; computing in bfloat16 is left to the model.
        device: The device of the tensors.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such precision.
    """
    check_choice("precision", precision, PRECISIONS)
    check_is_device(device)
    if device.type != "cuda":
        with _cpu_products.changed(_do_not_round_on_cpu):
            yield
        return
    with ExitStack() as stack:
        for holder, name, value in _gpu_settings(tf32=precision == "tf32"):
            stack.callback(setattr, holder, name, getattr(holder, name))
            setattr(holder, name, value)
        yield


def _cpu_holders() -> list[Any]:
    """Return the holders of the precisions of float32 on a CPU, where PyTorch has them."""
    onednn: Any = torch.backends.mkldnn
    return [getattr(onednn, name) for name in ("matmul", "conv", "rnn") if hasattr(onednn, name)]


def _cpu_precisions() -> list[str]:
    """Return what restores the settings: "none" for those that are inherited."""
    inherited = getattr(torch.backends.mkldnn, "fp32_precision", "none")
    found = [holder.fp32_precision for holder in _cpu_holders()]
    return ["none" if each == inherited else each for each in found]


def _set_cpu_precisions(precisions: list[str]) -> None:
    for holder, precision in zip(_cpu_holders(), precisions, strict=True):
        holder.fp32_precision = precision


def _do_not_round_on_cpu() -> None:
    _set_cpu_precisions(["ieee"] * len(_cpu_holders()))


# A setting of the process, in which several threads may train.
_cpu_products = _Kept(_cpu_precisions, _set_cpu_precisions, "nothing")


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

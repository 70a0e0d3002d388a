"""PyTorch's settings while members train; those of the user are restored afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Literal, get_args

import torch

from optuna_ga._checks import check_choice, shown
from optuna_ga._process_setting import ProcessSetting

# float32 throughout; its matrix products in TF32, on a GPU alone; or all but the losses and the
# weights that are updated in bfloat16.
Precision = Literal["float32", "tf32", "bfloat16"]
_CPU = torch.device("cpu")
PRECISIONS: tuple[str, ...] = get_args(Precision)


_dtype = ProcessSetting(torch.get_default_dtype, torch.set_default_dtype, "nothing")
_n_threads = ProcessSetting(torch.get_num_threads, torch.set_num_threads, "user's")
_KERNELS = "flash", "mem_efficient", "math", "cudnn"  # Of attention.


def _attention_kernels() -> list[bool]:
    kernels = [getattr(torch.backends.cuda, f"{name}_sdp_enabled")() for name in _KERNELS]
    return [*kernels, torch.backends.mha.get_fastpath_enabled()]


def _enable_attention_kernels(are_enabled: list[bool]) -> None:
    *kernels, fastpath = are_enabled
    for name, is_enabled in zip(_KERNELS, kernels, strict=True):
        getattr(torch.backends.cuda, f"enable_{name}_sdp")(is_enabled)
    torch.backends.mha.set_fastpath_enabled(fastpath)


_attention = ProcessSetting(_attention_kernels, _enable_attention_kernels, "nothing")


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

    PyTorch's own settings are restored afterwards; threads that overlap must ask for the same
    precision, since the settings belong to the process. On a CPU products of float32 are not
    rounded, as `torch.set_float32_matmul_precision` lets them be there, too.

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
    wanted = [True, False, *_rounding(tf32=precision == "tf32")]
    with _gpu_kernels.changed(partial(_set_gpu_kernels, wanted)):
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
_cpu_products = ProcessSetting(_cpu_precisions, _set_cpu_precisions, "nothing")


def _gpu_switches() -> list[tuple[Any, str]]:
    """Return the attributes that decide on the kernels of a GPU, those of TF32 last.

    The old switches of TF32 must not be touched where there are new ones, since PyTorch refuses a
    mixture.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    repeats = [(cudnn, "deterministic"), (cudnn, "benchmark")]
    if hasattr(matmul, "fp32_precision"):
        holders = (matmul, cudnn.conv, cudnn.rnn)  # type: ignore[attr-defined]
        return [*repeats, *((holder, "fp32_precision") for holder in holders)]
    return [*repeats, (matmul, "allow_tf32"), (cudnn, "allow_tf32")]


def _rounding(*, tf32: bool) -> list[Any]:
    """Return the values of the switches of TF32."""
    names = [name for _, name in _gpu_switches()[2:]]
    return [tf32 if name == "allow_tf32" else "tf32" if tf32 else "ieee" for name in names]


def _get_gpu_kernels() -> list[Any]:
    return [getattr(holder, name) for holder, name in _gpu_switches()]


def _set_gpu_kernels(values: list[Any]) -> None:
    for (holder, name), value in zip(_gpu_switches(), values, strict=True):
        setattr(holder, name, value)


_gpu_kernels = ProcessSetting(_get_gpu_kernels, _set_gpu_kernels, "nothing")

"""What the methods of a task return, checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from optuna_ga._checks import is_number, shown


def undecayed(task: object, parameters: Mapping[str, nn.Parameter]) -> frozenset[str]:
    """Return the names of the parameters that weight decay leaves alone.

    Raises:
        TypeError: If `task.decays` does not return a bool.
    """
    decays = getattr(task, "decays", None)
    if decays is None:
        return frozenset()
    found = {name: decays(name, parameter) for name, parameter in parameters.items()}
    for name, decay in found.items():
        if not isinstance(decay, bool):
            raise TypeError(
                f"`task.decays` must return a bool, but for {name!r} it returned {shown(decay)}."
            )
    return frozenset(name for name, decay in found.items() if not decay)


def check_model(model: object) -> nn.Module:
    """Return what `Task.model` returned, if it is a network whose parameters exist.

    Raises:
        TypeError: If it is not a network.
        ValueError: If it has lazy parameters.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"`task.model` must return an `nn.Module`, but it returned {shown(model)}."
        )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise ValueError(
                "`task.model` must return a network whose parameters have a shape, but "
                f"`{name}` is lazy. Call the network with a batch first, or give the sizes."
            )
    return model


def check_loss(loss: object) -> Tensor:
    """Return what `Task.loss` returned, if it is a scalar that depends on parameters.

    Raises:
        TypeError: If it is not a tensor.
        ValueError: If it has several numbers, is complex, or depends on no parameter.
    """
    rule = "`task.loss` must return a tensor `()`, the mean over a batch"
    if not isinstance(loss, Tensor):
        raise TypeError(f"{rule}, but it returned {shown(loss)}.")
    if loss.dim():
        raise ValueError(f"{rule}, but it returned one of shape {tuple(loss.shape)}.")
    if loss.is_complex():
        raise ValueError(f"{rule}, which must be real, but it returned one of {loss.dtype}.")
    if not loss.requires_grad:
        raise ValueError(
            "`task.loss` must depend on the network's parameters, but it returned a tensor "
            "without a gradient."
        )
    return loss


def check_metrics(metrics: object) -> dict[str, Tensor]:
    """Return what `Task.metrics` returned, if it is a dictionary of scalars.

    Raises:
        TypeError: If it is something else.
        ValueError: If it is empty, or has a tensor of several numbers, or a complex one.
    """
    rule = "`task.metrics` must return a dictionary of tensors `()`, sums over a batch"
    if not isinstance(metrics, dict):
        raise TypeError(f"{rule}, but it returned {shown(metrics)}.")
    if not metrics:
        raise ValueError(f"{rule}, but it returned an empty one.")
    for name, value in metrics.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            hint = " Without `.item()` it stays a tensor." if is_number(value) else ""
            raise TypeError(f"{rule}, but {shown(name)} is {shown(value)}.{hint}")
        if value.dim():
            raise ValueError(f"{rule}, but {name!r} has the shape {tuple(value.shape)}.")
        if value.is_complex():
            raise ValueError(f"{rule}, which must be real, but {name!r} is of {value.dtype}.")
    return metrics


def check_names(metrics: Collection[str], before: Collection[str]) -> None:
    """Check that a batch has the metrics of the batches before it, if there are any.

    Raises:
        ValueError: If it has others, which could not be averaged over all examples.
    """
    if before and (differing := {*metrics} ^ {*before}):
        raise ValueError(
            "`task.metrics` must return the same names for every batch, but only some batches "
            f"have {shown(sorted(differing, key=str))}."
        )

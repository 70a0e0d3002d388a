"""SGD, Adam and AdamW for many members, each with its own settings.

A member's weights are one row: every function takes `(P, W)` and settings `(P, 1)`, and changes
weights and moments in place. The formulas and their order are those of `torch.optim`.

Shapes: P members, W weights of a member.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from optuna_ga.torch._task import Member

_EPSILON = 1e-8


class Settings(NamedTuple):
    """Settings `(P, 1)` of all members at one step.

    Attributes:
        learning_rate: That of this step.
        momentum: Of SGD.
        weight_decay: Of all.
        beta1: Of Adam.
        beta2: Of Adam.
        step: Steps since the initial weights, this one included.
    """

    learning_rate: Tensor
    momentum: Tensor
    weight_decay: Tensor
    beta1: Tensor
    beta2: Tensor
    step: Tensor


Update = Callable[[Tensor, tuple[Tensor, ...], Tensor, Settings], None]


def sgd(weights: Tensor, moments: tuple[Tensor, ...], gradient: Tensor, s: Settings) -> None:
    """Take one step of `torch.optim.SGD`."""
    (buffer,) = moments
    buffer.mul_(s.momentum).add_(torch.addcmul(gradient, weights, s.weight_decay))
    weights.addcmul_(buffer, s.learning_rate, value=-1)


def nesterov(weights: Tensor, moments: tuple[Tensor, ...], gradient: Tensor, s: Settings) -> None:
    """Take one step of `torch.optim.SGD(nesterov=True)`."""
    (buffer,) = moments
    decayed = torch.addcmul(gradient, weights, s.weight_decay)
    buffer.mul_(s.momentum).add_(decayed)
    weights.addcmul_(decayed.addcmul_(buffer, s.momentum), s.learning_rate, value=-1)


def adam(weights: Tensor, moments: tuple[Tensor, ...], gradient: Tensor, s: Settings) -> None:
    """Take one step of `torch.optim.Adam`."""
    _adapt(weights, moments, torch.addcmul(gradient, weights, s.weight_decay), s)


def adamw(weights: Tensor, moments: tuple[Tensor, ...], gradient: Tensor, s: Settings) -> None:
    """Take one step of `torch.optim.AdamW`."""
    weights.mul_(1 - s.learning_rate * s.weight_decay)
    _adapt(weights, moments, gradient, s)


def _adapt(weights: Tensor, moments: tuple[Tensor, ...], gradient: Tensor, s: Settings) -> None:
    mean, square = moments
    mean.lerp_(gradient, 1 - s.beta1)
    square.mul_(s.beta2).addcmul_(gradient * gradient, 1 - s.beta2)
    correction1, correction2 = 1 - s.beta1**s.step, 1 - s.beta2**s.step
    deviation = square.sqrt().div_(correction2.sqrt()).add_(_EPSILON)
    weights.addcdiv_(mean * (s.learning_rate / correction1), deviation, value=-1)


def clip(gradient: Tensor, largest: Tensor) -> None:
    """Scale gradients `(P, W)` down to norms `(P, 1)`, as `clip_grad_norm_` does for one."""
    norm = gradient.norm(dim=1, keepdim=True)
    gradient.mul_((largest / (norm + 1e-6)).clamp_(max=1.0))


class Optimizer(NamedTuple):
    """An optimizer in both forms.

    Attributes:
        moments: Names that PyTorch gives to the tensors it keeps for each weight.
        update: The form for many members.
        separate: PyTorch's own for the parameters of one, with learning rate 0.
    """

    moments: tuple[str, ...]
    update: Update
    separate: Callable[[Iterable[nn.Parameter], Member], torch.optim.Optimizer]


def _sgd(nesterov: bool) -> Callable[[Iterable[nn.Parameter], Member], torch.optim.Optimizer]:
    return lambda parameters, member: torch.optim.SGD(
        parameters,
        lr=0.0,
        momentum=member.momentum,
        weight_decay=member.weight_decay,
        nesterov=nesterov and member.momentum > 0,  # Without momentum they are the same.
    )


def _adams(
    kind: Callable[..., torch.optim.Optimizer],
) -> Callable[[Iterable[nn.Parameter], Member], torch.optim.Optimizer]:
    return lambda parameters, member: kind(
        parameters, lr=0.0, betas=member.betas, eps=_EPSILON, weight_decay=member.weight_decay
    )


_MEAN_AND_SQUARE = ("exp_avg", "exp_avg_sq")

OPTIMIZERS: Mapping[str, Optimizer] = {
    "sgd": Optimizer(("momentum_buffer",), sgd, _sgd(False)),
    "nesterov": Optimizer(("momentum_buffer",), nesterov, _sgd(True)),
    "adam": Optimizer(_MEAN_AND_SQUARE, adam, _adams(torch.optim.Adam)),
    "adamw": Optimizer(_MEAN_AND_SQUARE, adamw, _adams(torch.optim.AdamW)),
}

"""SGD, Adam and AdamW for many members, each with its own settings.

A member's weights are one row: every function takes `(P, W)` and settings `(P, 1)`, and changes
weights and moments in place. The formulas and their order are those of `torch.optim`.

Shapes: P members, W weights of a member.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optuna_ga.torch._task import Member

_EPSILON = 1e-8


class Settings(NamedTuple):
    """What multiplies the numbers of all members at one step, `(P, 1)`, decay also `(P, W)`.

    Attributes:
        learning_rate: That of this step.
        decayed: Share of the weights that AdamW's decay leaves.
        correction: The learning rate of Adam, divided by the weight of the mean's steps.
        deviation: Root of the weight of the square's steps.
        momentum: Of SGD.
        weight_decay: Of all.
        new_mean: 1 - beta1 of Adam.
        old_square: beta2 of Adam.
        new_square: 1 - beta2 of Adam.
        clip_norm: Largest norm of a gradient.
    """

    learning_rate: Tensor
    decayed: Tensor
    correction: Tensor
    deviation: Tensor
    momentum: Tensor
    weight_decay: Tensor
    new_mean: Tensor
    old_square: Tensor
    new_square: Tensor
    clip_norm: Tensor

    def decaying(self, places: Tensor | None) -> Settings:
        """Return the settings of weights that decay at some places `(W,)` only, or at all."""
        if places is None:
            return self
        return self._replace(
            decayed=torch.where(places, self.decayed, 1.0),
            weight_decay=torch.where(places, self.weight_decay, 0.0),
        )


N_BY_STEP, N_CONSTANT = 4, 6  # The first of the settings change from step to step.


def settings_of_epoch(
    members: Sequence[Member], rates: Sequence[Sequence[float]], n_before: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the settings by step `(N_BY_STEP, P, S)` and the constant ones `(N_CONSTANT, P, 1)`.

    They are computed in float64: in the type of the weights, 1 - beta**step can be 0.

    Args:
        members: P members.
        rates: Their learning rates at S steps.
        n_before: Their steps before these.
    """
    rate = torch.tensor(rates, dtype=torch.float64)  # (P, S)
    step = torch.tensor(n_before).unsqueeze(-1) + torch.arange(1, rate.shape[1] + 1)  # (P, S)
    numbers = [(each.momentum, each.weight_decay, *each.betas, each.clip_norm) for each in members]
    rows = torch.tensor(numbers, dtype=torch.float64).T.unsqueeze(-1)
    momentum, decay, beta1, beta2, clip_norm = rows  # (P, 1)
    by_step = [
        rate, 1 - rate * decay, rate / (1 - beta1**step), (1 - beta2**step).sqrt()
    ]  # fmt: skip
    constant = [momentum, decay, 1 - beta1, beta2, 1 - beta2, clip_norm]
    return torch.stack(by_step), torch.stack(constant)


def type_of_settings(weights: torch.dtype) -> torch.dtype:
    """Return the type of settings: that of the weights, with 24 bits at least.

    >>> type_of_settings(torch.bfloat16)
    torch.float32
    """
    real = weights.to_real()
    return real if real == torch.float64 else torch.float32


Update = Callable[[Tensor, tuple[Tensor, ...], Tensor, Settings], None]


def sgd(weights: Tensor, moments: tuple[Tensor, ...], gradient: Tensor, s: Settings) -> None:
    """Take one step of `torch.optim.SGD`."""
    (buffer,) = moments
    buffer.mul_(s.momentum).add_(_decayed(gradient, weights, s))
    weights.addcmul_(buffer, s.learning_rate, value=-1)


def nesterov(weights: Tensor, moments: tuple[Tensor, ...], gradient: Tensor, s: Settings) -> None:
    """Take one step of `torch.optim.SGD(nesterov=True)`."""
    (buffer,) = moments
    decayed = _decayed(gradient, weights, s)
    buffer.mul_(s.momentum).add_(decayed)
    weights.addcmul_(decayed.addcmul_(buffer, s.momentum), s.learning_rate, value=-1)


def adam(weights: Tensor, moments: tuple[Tensor, ...], gradient: Tensor, s: Settings) -> None:
    """Take one step of `torch.optim.Adam`."""
    _adapt(weights, moments, _decayed(gradient, weights, s), s)


def adamw(weights: Tensor, moments: tuple[Tensor, ...], gradient: Tensor, s: Settings) -> None:
    """Take one step of `torch.optim.AdamW`."""
    weights.mul_(s.decayed)
    _adapt(weights, moments, gradient, s)


def _decayed(gradient: Tensor, weights: Tensor, s: Settings) -> Tensor:
    """Return the gradient with the decay of the weights, in its place unless that would round."""
    if gradient.dtype == s.weight_decay.dtype:
        return gradient.addcmul_(weights, s.weight_decay)
    return torch.addcmul(gradient, weights, s.weight_decay)


def _adapt(weights: Tensor, moments: tuple[Tensor, ...], gradient: Tensor, s: Settings) -> None:
    mean, square = moments
    mean.lerp_(gradient.to(mean.dtype), s.new_mean.to(mean.dtype))
    square.mul_(s.old_square).addcmul_(gradient.mul_(gradient), s.new_square)
    place = gradient if gradient.dtype == square.dtype else None
    deviation = torch.sqrt(square, out=place).div_(s.deviation).add_(_EPSILON)
    weights.addcdiv_(mean * s.correction, deviation, value=-1)


def clip(gradient: Tensor, largest: Tensor) -> None:
    """Scale gradients `(P, W)` down to norms `(P, 1)`, as `clip_grad_norm_` does for one."""
    norm = gradient.norm(dim=1, keepdim=True)
    scale = (largest / (norm + 1e-6)).clamp_(max=1.0)
    gradient.mul_(torch.where(largest == math.inf, 1.0, scale))  # The norm may be infinite, too.


class Optimizer(NamedTuple):
    """An optimizer in both forms.

    Attributes:
        moments: Names that PyTorch gives to the tensors it keeps for each weight.
        update: The form for many members.
        separate: PyTorch's own for the parameters of one, or groups of them, with learning rate 0.
    """

    moments: tuple[str, ...]
    update: Update
    separate: Callable[[Iterable[Any], Member], torch.optim.Optimizer]


def _sgd(nesterov: bool) -> Callable[[Iterable[Any], Member], torch.optim.Optimizer]:
    return lambda parameters, member: torch.optim.SGD(
        parameters,
        lr=0.0,
        momentum=member.momentum,
        weight_decay=member.weight_decay,
        nesterov=nesterov and member.momentum > 0,  # Without momentum they are the same.
    )


def _adams(
    kind: Callable[..., torch.optim.Optimizer],
) -> Callable[[Iterable[Any], Member], torch.optim.Optimizer]:
    return lambda parameters, member: kind(
        parameters,
        lr=0.0,
        betas=tuple(map(float, member.betas)),
        eps=_EPSILON,
        weight_decay=member.weight_decay,
    )


_MEAN_AND_SQUARE = ("exp_avg", "exp_avg_sq")

OPTIMIZERS: Mapping[str, Optimizer] = {
    "sgd": Optimizer(("momentum_buffer",), sgd, _sgd(False)),
    "nesterov": Optimizer(("momentum_buffer",), nesterov, _sgd(True)),
    "adam": Optimizer(_MEAN_AND_SQUARE, adam, _adams(torch.optim.Adam)),
    "adamw": Optimizer(_MEAN_AND_SQUARE, adamw, _adams(torch.optim.AdamW)),
}

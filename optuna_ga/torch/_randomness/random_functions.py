"""PyTorch's random functions, by a member's random numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

from optuna_ga.torch._randomness.dropout import check_probability
from optuna_ga.torch._randomness.random_numbers import RandomNumbers, Shape, check_is_continuous
from optuna_ga.torch._torch_internals import holds_any, sample_dirichlet, sample_gamma

_WIDEST = 2**53  # Ranges of integers, whose numbers are then equally likely up to a thousandth.


def _rand(
    numbers: RandomNumbers, *size: Any, dtype: torch.dtype | None = None, **options: Any
) -> Tensor:
    shape = _shape(size, options)
    return _placed(numbers.uniform(shape, dtype or torch.get_default_dtype()), **options)


def _randn(
    numbers: RandomNumbers, *size: Any, dtype: torch.dtype | None = None, **options: Any
) -> Tensor:
    shape = _shape(size, options)
    return _placed(numbers.normal(shape, dtype or torch.get_default_dtype()), **options)


def _rand_like(numbers: RandomNumbers, input: Tensor, **options: Any) -> Tensor:
    return _rand(numbers, input.shape, **_like(input, options))


def _randn_like(numbers: RandomNumbers, input: Tensor, **options: Any) -> Tensor:
    return _randn(numbers, input.shape, **_like(input, options))


def _randint(
    numbers: RandomNumbers, *bounds: Any, low: int = 0, high: int | None = None,
    size: Any = None, dtype: torch.dtype | None = None, **options: Any,
) -> Tensor:  # fmt: skip
    if size is None:
        *bounds, size = bounds  # type: ignore[assignment]
    low, high = _bounds(low, high, bounds)
    return _placed(_integers(numbers, tuple(size), low, high, dtype or torch.int64), **options)


def _randint_like(numbers: RandomNumbers, input: Tensor, *bounds: Any, **options: Any) -> Tensor:
    return _randint(numbers, *bounds, size=input.shape, **_like(input, options))


def _like(input: Tensor, options: dict[str, Any]) -> dict[str, Any]:
    """Return options, with a tensor's type and device where none is given."""
    given = {name: each for name, each in options.items() if each is not None}
    return {"dtype": input.dtype, "device": input.device, **given}


def _bounds(low: int, high: int | None, positional: Any) -> tuple[int, int]:
    """Return the bounds of integers, of which the lower may be left out."""
    given = [*positional, *([] if high is None else [high])]
    low, high = (low, *given)[-2:]
    if low >= high:
        raise RuntimeError(f"Random integers need a range, but got {low} to {high}.")
    return low, high


def _integers(
    numbers: RandomNumbers, shape: Shape, low: int, high: int, dtype: torch.dtype
) -> Tensor:
    _check_range(low, high - 1, dtype)
    if high - low > _WIDEST:
        return torch.randint(low, high, shape, dtype=dtype)  # PyTorch's.
    return (numbers.long_bits(shape).remainder(high - low) + low).to(dtype)


def _check_range(least: int, most: int, dtype: torch.dtype) -> None:
    """Check that a type has the least and the most of the integers to draw."""
    if dtype == torch.bool:
        limits = 0, 1
    else:
        info = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
        limits = int(info.min), int(info.max)
    if least < limits[0] or most > limits[1]:
        raise RuntimeError(f"{dtype} does not have all integers from {least} to {most}.")


def _randperm(
    numbers: RandomNumbers, n: int, *, dtype: torch.dtype = torch.int64, **options: Any
) -> Tensor:
    _check_range(0, max(n - 1, 0), dtype)
    return _placed(numbers.long_bits((n,)).argsort().to(dtype), **options)


def _bernoulli(numbers: RandomNumbers, input: Tensor, p: Any = None, **_: Any) -> Tensor:
    if p is None:
        _check_is_real(input.dtype)
        p = input.detach()
    return _successes(numbers, input, p)


def _bernoulli_(numbers: RandomNumbers, input: Tensor, p: Any = 0.5, **_: Any) -> Tensor:
    return input.copy_(_successes(numbers, input, p))


def _successes(numbers: RandomNumbers, like: Tensor, p: Any) -> Tensor:
    """Return ones with a probability, else zeros."""
    check_probability(p)
    draws = numbers.uniform(like.shape).to(like.device)
    successes: Tensor = draws < p
    return successes.to(like.dtype)


def _normal(
    numbers: RandomNumbers, mean: Any = 0.0, std: Any = 1.0, size: Any = None, *,
    dtype: torch.dtype | None = None, **options: Any,
) -> Tensor:  # fmt: skip
    _check_deviation(std)
    tensors = [each.detach() for each in (mean, std) if isinstance(each, Tensor)]
    if not tensors:
        values = _normal_values(
            numbers, tuple(size), mean, std, dtype or torch.get_default_dtype()
        )
        return _placed(values, **options)
    shape = torch.broadcast_shapes(*(each.shape for each in tensors))
    noise = _placed(numbers.normal(shape, tensors[0].dtype), device=tensors[0].device)
    mean, std = (each.detach() if isinstance(each, Tensor) else each for each in (mean, std))
    shifted: Tensor = noise * std + mean
    return shifted.to(noise.dtype)


def _normal_(
    numbers: RandomNumbers, input: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any
) -> Tensor:
    _check_deviation(std)
    return input.copy_(_normal_values(numbers, input.shape, mean, std, input.dtype))


def _normal_values(
    numbers: RandomNumbers, shape: Shape, mean: float, std: float, dtype: torch.dtype
) -> Tensor:
    """Return normal numbers; both parts of complex ones have the mean."""
    noise = numbers.normal(shape, dtype)
    return noise * std + (complex(mean, mean) if dtype.is_complex else mean)


def _uniform_(numbers: RandomNumbers, input: Tensor, *bounds: float, **named: Any) -> Tensor:
    low, high = (*bounds, *(0.0, 1.0)[len(bounds) :])
    low, high = named.get("from", low), named.get("to", high)
    if low > high:
        raise RuntimeError(f"Uniform numbers need a range, but got {low} to {high}.")
    return input.copy_(_between(numbers, input.shape, low, high, input.dtype))


def _between(
    numbers: RandomNumbers, shape: Shape, low: float, high: float, dtype: torch.dtype
) -> Tensor:
    """Return numbers in [`low`, `high`), in 16 bits rounded down; parts of complex ones alike."""
    if dtype.is_complex:
        parts = _between(numbers, (*shape, 2), low, high, dtype.to_real())
        return torch.view_as_complex(parts)
    check_is_continuous(dtype)
    largest = torch.finfo(dtype).max
    if max(-low, high, high - low) > largest:
        raise RuntimeError(f"{dtype} does not have the range from {low} to {high}.")
    wide = torch.promote_types(dtype, torch.float32)
    shares = numbers.uniform(shape, wide)
    low, high = torch.tensor([low, high], dtype=dtype, device="cpu").tolist()
    values = shares * (high - low) + low
    values = torch.where(values < high, values, low)  # Where it was rounded up.
    rounded = values.to(dtype)
    above = rounded.to(wide)
    below = above - above.abs() * (0.6 * torch.finfo(dtype).eps)  # Nearest to the next lower one.
    return torch.where(above > values, below.to(dtype), rounded)


def _exponential_(numbers: RandomNumbers, input: Tensor, lambd: float = 1.0, **_: Any) -> Tensor:
    if lambd <= 0:
        raise RuntimeError(f"Exponential numbers need a rate above 0, but got {lambd}.")
    _check_is_real(input.dtype)
    return input.copy_(numbers.exponential(input.shape) / lambd)


def _check_is_real(dtype: torch.dtype) -> None:
    """Check that a type has fractions and no imaginary part."""
    if not dtype.is_floating_point:
        raise RuntimeError(f"Such random numbers need a floating-point type, not {dtype}.")


def _multinomial(
    numbers: RandomNumbers, input: Tensor, num_samples: int, replacement: bool = False, **_: Any
) -> Tensor:
    weights = input.detach()
    _check_weights(weights)
    if num_samples < 1:
        raise RuntimeError(f"At least one place must be drawn, but got {num_samples}.")
    if replacement:
        return _places_by_weights(numbers, weights, num_samples)
    # The first of several exponential times, whose rates are the weights.
    times = _placed(numbers.exponential(weights.shape), device=weights.device)
    return (weights / times).topk(num_samples).indices


def _check_weights(weights: Tensor) -> None:
    """Check type and shape of weights, and the numbers as far as they can be read."""
    if not weights.is_floating_point() or weights.dim() not in (1, 2):
        raise RuntimeError(
            "Weights must be floating-point numbers of 1 or 2 dimensions, but got "
            f"{weights.dim()} of {weights.dtype}."
        )
    is_wrong = ~(weights >= 0) | weights.isinf()
    if holds_any(is_wrong) or holds_any(weights.sum(-1) == 0):
        raise RuntimeError("Weights must be finite and at least 0, and some above 0.")


def _places_by_weights(numbers: RandomNumbers, weights: Tensor, n: int) -> Tensor:
    """Return places that are drawn with replacement, where the running total passes a number."""
    totals = weights.double().cumsum(-1)
    # Rounding may let totals fall; and those of a place without weight pass nothing.
    totals = torch.where(weights > 0, totals, 0.0).cummax(-1).values
    shape = (*weights.shape[:-1], n)
    # Of 48 bits, since weights may be many.
    shares = numbers.uniform(shape).double() + numbers.uniform(shape).double() * 2.0**-24
    passed = _placed(shares, device=weights.device) * totals[..., -1:]
    places: Tensor = torch.searchsorted(totals, passed, right=True)
    return places.clamp(max=weights.shape[-1] - 1)  # Weights may be no numbers.


def _gamma(numbers: RandomNumbers, alpha: Tensor, *_: Any, **__: Any) -> Tensor:
    if alpha.requires_grad:
        found: Tensor = sample_gamma(alpha)  # PyTorch's, since it has a gradient.
        return found
    return numbers.gamma(alpha)


def _dirichlet(numbers: RandomNumbers, alpha: Tensor, *_: Any, **__: Any) -> Tensor:
    times = numbers.gamma(alpha.detach())
    return times / times.sum(-1, keepdim=True)


def _gumbel_softmax(
    numbers: RandomNumbers, logits: Tensor, tau: float = 1, hard: bool = False,
    eps: float = 1e-10, dim: int = -1,
) -> Tensor:  # fmt: skip
    gumbels = -numbers.exponential(logits.shape).log().to(logits)
    soft = ((logits + gumbels) / tau).softmax(dim)
    if not hard:
        return soft
    chosen = torch.zeros_like(soft).scatter(dim, soft.argmax(dim, keepdim=True), 1.0)
    return chosen - soft.detach() + soft


def _rrelu(
    numbers: RandomNumbers, input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3,
    training: bool = False, inplace: bool = False,
) -> Tensor:  # fmt: skip
    if lower > upper:
        raise RuntimeError(f"Slopes need a range, but got {lower} to {upper}.")
    if not training:
        return F.leaky_relu(input, (lower + upper) / 2, inplace)  # Which `vmap` can map.
    slopes = numbers.uniform(input.shape, input.dtype) * (upper - lower) + lower
    result = torch.where(input >= 0, input, input * slopes)
    return input.copy_(result) if inplace else result


def _empty(
    numbers: RandomNumbers, *size: Any, dtype: torch.dtype | None = None, **options: Any
) -> Tensor:
    device = torch.device(options.get("device") or torch.get_default_device())
    shape = _shape(size, options)
    place = numbers.empty(shape, dtype or torch.get_default_dtype(), device)
    return _placed(place, **{**options, "device": device})


def _empty_like(
    numbers: RandomNumbers, like: Tensor, *, dtype: torch.dtype | None = None, **options: Any
) -> Tensor:
    device = torch.device(options.get("device") or like.device)
    place = numbers.empty(like.shape, dtype or like.dtype, device)
    return _placed(place, **{**options, "device": device})


def _new(numbers: RandomNumbers, like: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if len(args) == 1 and isinstance(args[0], torch.Size):
        return numbers.empty(args[0], like.dtype, like.device)
    return like.new(*args, **kwargs)  # Of given numbers.


def _shape(size: tuple[Any, ...], options: dict[str, Any]) -> Shape:
    """Return a shape that is given as numbers, as one sequence or by its name."""
    if "size" in options:
        size = options.pop("size")
    is_one_sequence = len(size) == 1 and isinstance(size[0], Sequence)
    return tuple(size[0] if is_one_sequence else size)


def _placed(values: Tensor, device: Any = None, requires_grad: bool = False, **_: Any) -> Tensor:
    placed = values.to(torch.get_default_device() if device is None else device)
    return placed.requires_grad_() if requires_grad else placed


def _check_deviation(std: Any) -> None:
    is_wrong = holds_any(std < 0) if isinstance(std, Tensor) else not std >= 0
    if is_wrong:
        raise RuntimeError(f"Normal numbers need a deviation of at least 0, but got {std}.")


RANDOM_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    torch.rand: _rand,
    torch.randn: _randn,
    torch.rand_like: _rand_like,
    torch.randn_like: _randn_like,
    torch.randint: _randint,
    torch.randint_like: _randint_like,
    torch.randperm: _randperm,
    torch.bernoulli: _bernoulli,
    Tensor.bernoulli: _bernoulli,
    Tensor.bernoulli_: _bernoulli_,
    torch.normal: _normal,
    Tensor.normal_: _normal_,
    Tensor.uniform_: _uniform_,
    Tensor.exponential_: _exponential_,
    torch.multinomial: _multinomial,
    Tensor.multinomial: _multinomial,
    sample_gamma: _gamma,
    sample_dirichlet: _dirichlet,
    F.gumbel_softmax: _gumbel_softmax,
    F.rrelu: _rrelu,
}

# Where the functions that end in `_` may write to.
PLACES: dict[Any, Callable[..., Tensor]] = {
    torch.empty: _empty,
    torch.empty_like: _empty_like,
    Tensor.new: _new,
}

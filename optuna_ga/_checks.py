"""Argument checks whose errors name the argument, the rule and the value."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from numbers import Integral, Real
from typing import ParamSpec, TypeGuard, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

MAX_COUNT = 1_000_000  # Of trials, repeats or epochs that are held in memory together.
MAX_SEED = 2**1024 - 1
MAX_TRAINING_SEED = 2**63 - 1  # PyTorch's seeds have 64 bits, and trials count from the first.

_LONGEST_SHOWN = 200  # Characters.


def shown(value: object) -> str:
    """Return the `repr` of a value for a message: short, and without passwords in addresses.

    A value without a `repr`, such as an integer of more digits than Python converts, is shown as
    its type.
    """
    try:
        text = re.sub(r"(://[^\s/@:]*):[^\s/]*@", r"\1:***@", repr(value))
    except Exception:
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def kind_of(value: object) -> str:
    """Return the type of a value with its article, for a message.

    >>> kind_of(5), kind_of({})
    ('an int', 'a dict')
    """
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' or name.startswith('NSGA') else 'a'} {name}"


def listed_trials(numbers: Sequence[int]) -> str:
    """Return the numbers of trials for a message.

    >>> listed_trials([6]), listed_trials([6, 7])
    ('trial 6', 'trials 6, 7')
    """
    return f"trial{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def check_study(study: object) -> None:
    """Check that an argument is a study; what stands in for one has the same methods.

    Raises:
        TypeError: If it is not one.
    """
    if isinstance(study, type) or not hasattr(study, "get_trials"):
        raise TypeError(f"`study` must be an `optuna.Study`, but {shown(study)} was given.")


def check_callable(name: str, value: object) -> None:
    """Check that an argument can be called.

    Raises:
        TypeError: If it cannot.
    """
    if not callable(value):
        raise TypeError(f"`{name}` must be callable, but {shown(value)} was given.")


def check_text(name: str, value: object) -> None:
    """Check that an argument is a string.

    Raises:
        TypeError: If it is anything else.
    """
    if not isinstance(value, str):
        raise TypeError(f"`{name}` must be a string, but {shown(value)} was given.")


def check_int(name: str, value: object, *, minimum: int, maximum: int | None = None) -> int:
    """Return `value` as a Python int of at least `minimum` and at most `maximum`.

    Raises:
        TypeError: If `value` is not an integer.
        ValueError: If it is smaller than `minimum` or greater than `maximum`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"`{name}` must be an integer, but {shown(value)} was given.")
    number = operator.index(value)
    if number < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}, but {shown(value)} was given.")
    if maximum is not None and number > maximum:
        raise ValueError(f"`{name}` must be at most {maximum}, but {shown(value)} was given.")
    return number


def refuse_constraints_func(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return the constructor of a sampler with an error for an argument of Optuna's samplers."""

    @wraps(function)
    def checked(*arguments: _P.args, **options: _P.kwargs) -> _R:
        if "constraints_func" in options:
            raise TypeError(
                "A GASampler has no `constraints_func`. Call `trial.set_constraint(name, value)` "
                "in the objective; a trial is feasible if no value is above 0."
            )
        return function(*arguments, **options)

    return checked


def check_population_size(value: object, *, minimum: int = 2) -> int:
    """Return `value` as a Python int from `minimum` to 1,000,000.

    Raises:
        TypeError: If `value` is not an integer.
        ValueError: If it is out of the range.
    """
    return check_int("population_size", value, minimum=minimum, maximum=MAX_COUNT)


def check_seed(value: object) -> int | None:
    """Return `value` as a Python int from 0 to 2**1024 - 1, or None.

    Raises:
        TypeError: If `value` is neither an integer nor None.
        ValueError: If it is out of the range.
    """
    return None if value is None else check_int("seed", value, minimum=0, maximum=MAX_SEED)


def is_number(value: object) -> TypeGuard[Real]:
    """Return whether a value is a real number; a bool is none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_fraction(name: str, value: object, *, zero: bool) -> float:
    """Return `value` as a Python float in [0, 1], or in (0, 1] where `zero` is False.

    Raises:
        TypeError: If `value` is not a real number.
        ValueError: If it lies outside the interval or is NaN.
    """
    if not is_number(value):
        raise TypeError(f"`{name}` must be a number, but {shown(value)} was given.")
    number = as_float(value)
    if math.isnan(number) or number > 1.0 or number < 0.0 or (number == 0.0 and not zero):
        interval = "[0, 1]" if zero else "(0, 1]"
        raise ValueError(f"`{name}` must lie in {interval}, but {shown(value)} was given.")
    return number


def check_at_least_zero(name: str, value: object, unit: str = "") -> float:
    """Return `value` as a Python float of at least 0, infinite if it is beyond all floats.

    Raises:
        TypeError: If `value` is not a real number.
        ValueError: If it is negative or NaN.
    """
    if not is_number(value):
        raise TypeError(f"`{name}` must be a number{unit}, but {shown(value)} was given.")
    number = as_float(value)
    if not number >= 0.0:
        raise ValueError(f"`{name}` must be at least 0, but {shown(value)} was given.")
    return number


def as_float(value: Real) -> float:
    """Return a number as a float, infinite if it is beyond all floats."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if operator.gt(value, 0) else -math.inf


def check_bool(name: str, value: object) -> bool:
    """Return `value` if it is True or False.

    Raises:
        TypeError: If it is anything else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, but {shown(value)} was given.")
    return value


def check_choice(name: str, value: object, choices: Iterable[str]) -> str:
    """Return `value` if it is one of some strings.

    Raises:
        TypeError: If it is not a string.
        ValueError: If it is another string.
    """
    check_text(name, value)
    known = list(choices)
    if value not in known:
        words = " or ".join(f'"{choice}"' for choice in known)
        raise ValueError(f"`{name}` must be {words}, but {shown(value)} was given.")
    return str(value)


def set_checked(settings: object, **checked: object) -> None:
    """Set fields of a frozen dataclass, from its `__post_init__`, to their checked values."""
    for name, value in checked.items():
        object.__setattr__(settings, name, value)

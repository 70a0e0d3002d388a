"""Which choices of categorical parameters are the same, in this process and in a storage.

Databases keep choices as JSON, in which tuples are lists and all keys are strings: a choice is the
same before and after.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalChoiceType,
    CategoricalDistribution,
)


def find_choice(distribution: CategoricalDistribution, value: CategoricalChoiceType) -> int:
    """Return the position of a value among the choices, -1 if it is not among them."""
    try:
        return int(distribution.to_internal_repr(value))
    except ValueError:
        choices = stored_choices(distribution.choices)
        (wanted,) = stored_choices([value])
        return choices.index(wanted) if wanted in choices else -1


def choice_position(distribution: CategoricalDistribution, value: CategoricalChoiceType) -> int:
    """Return the position of a value among the choices.

    Raises:
        ValueError: If it is not among them.
    """
    position = find_choice(distribution, value)
    if position < 0:
        raise ValueError(f"{value!r} is not among the choices {distribution.choices}.")
    return position


def stored_choices(choices: Sequence[CategoricalChoiceType]) -> list[str]:
    """Return choices as Optuna's storages write them; what JSON cannot write stays in memory."""
    return [json.dumps(choice, default=repr) for choice in choices]


def are_equal(first: BaseDistribution | None, second: BaseDistribution) -> bool:
    """Return whether two distributions are equal, their choices as a storage keeps them."""
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if not (
        isinstance(first, CategoricalDistribution) and isinstance(second, CategoricalDistribution)
    ):
        return vars(first) == vars(second)  # As Optuna compares, without its test of the type.
    # Optuna compares choices in Python: milliseconds for thousands, several times for a trial.
    return (
        first.choices == second.choices
        or first == second
        or stored_choices(first.choices) == stored_choices(second.choices)
    )


def first_equals(distribution: CategoricalDistribution) -> np.ndarray | None:
    """Return the position `(n,)` of the first choice that equals each; None if all differ.

    Python holds `1`, `1.0` and `True` equal, and Optuna keeps them all as the first of them.
    """
    choices = distribution.choices
    with suppress(TypeError):  # Such as of lists, which have no hash.
        if len(set(choices)) == len(choices):
            return None
    firsts = np.array([int(distribution.to_internal_repr(choice)) for choice in choices])
    return firsts if (np.diff(firsts) != 1).any() else None

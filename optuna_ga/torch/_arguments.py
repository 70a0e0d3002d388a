"""The arguments of `PopulationTrainer`, checked before anything trains."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from optuna_ga._checks import check_choice, shown
from optuna_ga.torch._task import Member


def check_optimizer(value: object, known: Collection[str]) -> None:
    """Check that a text is the name of an optimizer.

    Raises:
        TypeError: If it is not a text.
        ValueError: If it is another text.
    """
    kind = value if isinstance(value, type) else type(value)
    name = kind.__name__.lower()
    if issubclass(kind, torch.optim.Optimizer) and name in known:
        raise TypeError(
            f"`optimizer` must be a name, for this one {name!r}, but {shown(value)} was given."
        )
    check_choice("optimizer", value, known)


def check_tf32(precision: str, device: torch.device) -> None:
    """Check that a precision is not "tf32" on a device without it.

    Raises:
        ValueError: If it is.
    """
    if precision == "tf32" and device.type != "cuda":
        raise ValueError(f"`precision` must not be 'tf32' on {device}, because TF32 needs a GPU.")


def check_member(member: object) -> None:
    """Check that an argument is a member.

    Raises:
        TypeError: If it is not one.
    """
    if not isinstance(member, Member):
        raise TypeError(f"`member` must be a `Member`, but {shown(member)} was given.")


def check_members(members: object) -> None:
    """Check the members to train.

    Raises:
        TypeError: If they are not several `Member`.
    """
    if not isinstance(members, Sequence) or isinstance(members, str | bytes):
        raise TypeError(f"`members` must be a list of `Member`, but {shown(members)} was given.")
    for member in members:
        if not isinstance(member, Member):
            raise TypeError(f"`members` must be a list of `Member`, but it has {shown(member)}.")


def check_state(state: object) -> None:
    """Check that an argument is a state, or None.

    Raises:
        TypeError: If it is neither.
    """
    if state is not None and not isinstance(state, Mapping):
        raise TypeError(
            f"`state` must be a `Trained.state` or None, but {shown(state)} was given."
        )


def checked_states(states: Any, n_members: int) -> Sequence[Mapping[str, Any] | None]:
    """Return the states of members to resume, None for those that begin anew.

    Raises:
        TypeError: If they are not several states.
        ValueError: If there are not as many as members.
    """
    if states is None:
        return [None] * n_members
    if not isinstance(states, Sequence):
        raise TypeError(f"`states` must be a list of states, but {shown(states)} was given.")
    if len(states) != n_members:
        raise ValueError(
            f"`states` must be as many as `members`, {n_members}, but {len(states)} were given."
        )
    for state in states:
        if state is not None and not isinstance(state, Mapping):
            raise TypeError(
                f"`states` must have a `Trained.state` or None for each member, but it has "
                f"{shown(state)}."
            )
    return states


def checked_dropped(dropped: object, n_members: int) -> Collection[int]:
    """Return the positions of members to train no further.

    Raises:
        TypeError: If they are neither positions nor None.
        ValueError: If there is no member at one of them.
    """
    if dropped is None:
        return ()
    rule = "`after_epoch` must return the positions of members to train no further, or None"
    if not isinstance(dropped, Collection) or isinstance(dropped, Mapping):
        raise TypeError(f"{rule}, but it returned {shown(dropped)}.")
    try:
        positions = {operator.index(each) for each in dropped}
    except TypeError as error:
        raise TypeError(f"{rule}, but it returned {shown(dropped)}.") from error
    if wrong := positions - {*range(n_members)}:
        raise ValueError(f"{rule}, but there is no member {min(wrong)} of {n_members}.")
    return positions


def takes_a_seed_alone(function: Callable[..., Any]) -> bool:
    """Return whether a function can be called with one argument, as far as its signature shows."""
    try:
        inspect.signature(function).bind(0)
    except (TypeError, ValueError):
        return False
    return True


def takes_any_settings(function: Callable[..., Any]) -> bool:
    """Return whether a function takes any keyword, which it may forward."""
    kinds = {each.kind for each in inspect.signature(function).parameters.values()}
    return inspect.Parameter.VAR_KEYWORD in kinds

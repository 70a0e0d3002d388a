"""The arguments of `optimize_generations`, checked before it asks for a trial."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import optuna
from optuna import Trial
from optuna.samplers import TPESampler
from optuna.study import Study

from optuna_ga._checks import check_callable, check_population_size, kind_of, shown
from optuna_ga._optuna_internals import free_sampler
from optuna_ga._records import shown_sampler

_logger = optuna.logging.get_logger("optuna.generations")

OBJECTIVE_GIVEN = (
    "`evaluate` must take a list of trials; of an ordinary objective make "
    "`lambda trials: map(objective, trials)` or `InParallel(objective, executor)`"
)


def check_evaluate(evaluate: Callable[..., Any]) -> None:
    """Check that a function takes the trials of a generation, as far as its signature shows.

    Raises:
        TypeError: If it cannot be called with one argument, or takes a single trial.
    """
    check_callable("evaluate", evaluate)
    try:
        signature = inspect.signature(evaluate)
    except ValueError:  # Some functions in C have no signature.
        return
    try:
        signature.bind([])
    except TypeError as error:
        raise TypeError(
            "`evaluate` must be a function that can be called with a list of trials alone, but "
            f"{shown(evaluate)} cannot: {error}."
        ) from error
    for first in list(signature.parameters.values())[:1]:
        kind = getattr(first.annotation, "__name__", str(first.annotation))
        if first.name == "trial" or kind.rpartition(".")[2] == Trial.__name__:
            raise TypeError(f"{OBJECTIVE_GIVEN}. {shown(evaluate)} takes a single trial.")


def exceptions(catch: object) -> tuple[type[Exception], ...]:
    """Return the argument `catch` as a tuple.

    Raises:
        TypeError: If it is neither a type of exceptions nor several.
    """
    caught = tuple(catch) if isinstance(catch, Iterable) else (catch,)
    for kind in caught:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(
                "`catch` must be a subclass of Exception, or a tuple of several, but "
                f"{shown(catch)} was given."
            )
    return caught


def functions(callbacks: object) -> tuple[Callable[..., Any], ...]:
    """Return the argument `callbacks` as a tuple.

    Raises:
        TypeError: If it is neither None nor several functions.
    """
    if callbacks is None:
        return ()
    several = tuple(callbacks) if isinstance(callbacks, Iterable) else (None,)
    if not all(map(callable, several)):
        raise TypeError(
            f"`callbacks` must be a list of functions, but {shown(callbacks)} was given."
        )
    return several


def generation_size_of(study: Study, given: int | None) -> int:
    """Return the given population size, or that of the study's sampler.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is out of range, or neither given nor known.
    """
    sampler = free_sampler(study)
    if given is None:
        given = getattr(sampler, "population_size", None)
    if given is None:
        words = "`population_size` must be given, because the study's sampler, "
        raise ValueError(f"{words}{kind_of(sampler)}, has none. {_hint(study)}".rstrip())
    return check_population_size(given, minimum=1)


def warn_of_default_sampler(study: Study) -> None:
    """Warn if new trials come from Optuna's default sampler, but another one is recorded."""
    sampler, hint = free_sampler(study), _hint(study)
    if hint and isinstance(sampler, TPESampler):  # Others are no oversight.
        _logger.warning(
            f"New trials come from Optuna's default sampler, {kind_of(sampler)}. {hint}"
        )


def _hint(study: Study) -> str:
    """Return how to continue with the recorded sampler; empty if none is recorded."""
    recorded = shown_sampler(study)
    if recorded is None:
        return ""
    return (
        f"The latest sampler of the study that `optuna_ga` recorded was `{recorded}`. To continue "
        "with it, load the study with it as `sampler=`."
    )

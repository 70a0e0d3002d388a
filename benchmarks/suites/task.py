"""The parts of a suite: tasks, each of which has an objective for every seed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar
from zlib import crc32

import numpy as np
from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Problem = TypeVar("Problem")
Space = Mapping[str, BaseDistribution]
Params = Mapping[str, Any]


class Objective(Protocol):
    """A function of a trial to minimize, and the score of an answer."""

    space: Space
    """Every parameter that a trial may have, those of all branches included."""

    def __call__(self, trial: Trial) -> float:
        """Return the value of a trial, with noise if the task has any."""
        ...

    def score(self, params: Params) -> float:
        """Return the value of parameters without noise; lower is better."""
        ...


class SeveralObjectives(Protocol):
    """A function of a trial with several values to minimize, and the score of such values."""

    space: Space
    """Every parameter that a trial may have, those of all branches included."""
    n_objectives: int
    """The number of values."""

    def __call__(self, trial: Trial) -> Sequence[float]:
        """Return the values of a trial."""
        ...

    def score(self, values: np.ndarray) -> float:
        """Return the score of the values `(n, n_objectives)` of trials; lower is better."""
        ...


class Task(NamedTuple):
    """One function or data set with its search space.

    Attributes:
        name: Its name, unique within the suite.
        held_out: Whether it is for the report alone; nothing may be tuned on it.
        objective: Returns the objective of a seed, which sets the instance of the function or the
            noise, and is the same for every sampler. It is an `Objective`, or of a suite with
            several objectives a `SeveralObjectives`.
    """

    name: str
    held_out: bool
    objective: Callable[[int], Any]


class Suite(NamedTuple):
    """Tasks that are reported on together.

    Attributes:
        name: Its name on the command line.
        tasks: The tasks.
        n_trials: Trials of a study, which is the largest budget.
        n_seeds: Seeds of each task, 0 and up.
        optimum: Score of a perfect answer to any task; None if it is not known.
        several: Whether the tasks have several objectives.
    """

    name: str
    tasks: tuple[Task, ...]
    n_trials: int
    n_seeds: int
    optimum: float | None = None
    several: bool = False


def tasks_of(
    objective: Callable[[Problem, int], Any],
    problems: Mapping[str, Problem],
    held_out: Collection[str],
) -> tuple[Task, ...]:
    """Return a task for each problem, whose objective is made of the problem and a seed.

    Args:
        objective: Returns the objective of a problem and a seed, as that of a `Task`.
        problems: The problems by name.
        held_out: Names of the problems on which nothing may be tuned.
    """
    return tuple(
        Task(name, name in held_out, partial(objective, problem))
        for name, problem in problems.items()
    )


def paired_tasks(makers: Mapping[str, Callable[[np.random.Generator], Any]]) -> tuple[Task, ...]:
    """Return tasks that come in pairs of a kind; the second of each pair is held out.

    Args:
        makers: By the tasks' names, functions that return an objective, as that of a `Task`, of a
            random generator. The name is part of its key, so that tasks of a kind do not have the
            same best point.
    """

    def objective(name: str, seed: int) -> Any:
        return makers[name](np.random.default_rng((seed, crc32(name.encode()))))

    return tuple(
        Task(name, held_out=number % 2 == 1, objective=partial(objective, name))
        for number, name in enumerate(makers)
    )


def suggested_branch(trial: Trial, space: Space) -> dict[str, Any]:
    """Return a trial's suggestions for the parameters of a space that it has, in their order.

    A parameter whose name begins with a choice and `_` belongs to trials with that choice alone.
    """
    params: dict[str, Any] = {}
    for name, distribution in space.items():
        branch, is_own, _ = name.partition("_")
        if not is_own or branch in params.values():
            params[name] = suggest(trial, name, distribution)
    return params


def suggest(trial: Trial, name: str, distribution: BaseDistribution) -> Any:
    """Return a trial's suggestion for one parameter."""
    d = distribution
    match d:
        case FloatDistribution():
            return trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
        case IntDistribution():
            return trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
        case CategoricalDistribution():
            return trial.suggest_categorical(name, d.choices)
    raise AssertionError(d)

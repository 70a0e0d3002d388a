"""An objective of the user's own in the place of the paper's: `--objective module:name`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from time import perf_counter
from typing import Any

from optuna import Trial, TrialPruned

from optuna_ga import Result

Evaluate = Callable[[list[Trial]], Iterable[Result]]


def load_objective(reference: str) -> Evaluate:
    """Return the evaluation of generations by an objective that is to be minimized.

    The user attribute `training_s` of each trial, if the objective does not write it, is its time,
    or its share of its generation's.

    Args:
        reference: "module:name" of a function of a trial; of an object with the method
            `evaluate_generation`, such as a `FashionMNISTObjective`; or of the objective of a
            `PopulationTrainer`.

    Raises:
        ImportError: If the module cannot be imported.
        ValueError: If the reference has another form, or names nothing that can be called.
    """
    module, _, name = reference.partition(":")
    if not module or not name:
        raise ValueError(f"argument --objective: must be module:name, but {reference!r} was given")
    objective = getattr(import_module(module), name, None)
    together = _evaluates_generations(objective)
    if together is not None:
        return lambda trials: _together(together, trials)
    if not callable(objective) or isinstance(objective, type):
        raise ValueError(f"argument --objective: {module} has no function or object {name!r}")
    return lambda trials: _one_by_one(objective, trials)


def _evaluates_generations(objective: Any) -> Evaluate | None:
    from optuna_ga.torch import GenerationObjective

    if isinstance(objective, GenerationObjective):
        return objective
    method = getattr(objective, "evaluate_generation", None)
    return method if callable(method) and not isinstance(objective, type) else None


def _together(evaluate: Evaluate, trials: list[Trial]) -> list[Result]:
    start = perf_counter()
    results = list(evaluate(trials))
    share = (perf_counter() - start) / len(trials)
    for trial in trials:
        _note_seconds(trial, share)
    return results


def _one_by_one(objective: Callable[[Trial], float], trials: list[Trial]) -> Iterator[Result]:
    for trial in trials:
        start = perf_counter()
        result: Result
        try:
            result = objective(trial)
        except TrialPruned as pruned:
            result = pruned
        _note_seconds(trial, perf_counter() - start)
        yield result


def _note_seconds(trial: Trial, seconds: float) -> None:
    if "training_s" not in trial.user_attrs:
        trial.set_user_attr("training_s", seconds)

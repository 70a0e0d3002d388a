"""The attributes `ga_*` that trials and studies show: their names, their writing and reading.

They are user attributes, since optuna-dashboard shows these and hides system attributes; only
`ga_unfinished`, which serves the sampler alone, is a system attribute. Values
are plain Python numbers, strings and lists: databases take no NumPy scalars.
"""

from __future__ import annotations

from collections.abc import Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._optuna_internals import (
    current,
    is_retry,
    write_hidden_on_trial,
    write_on_study,
    write_on_trial,
)

GENERATION = "ga_generation"
PARENTS = "ga_parents"
MUTATED = "ga_mutated"
CHECKPOINT = "ga_checkpoint"
UNFINISHED = "ga_unfinished"
POPULATION_SIZE = "ga_population_size"  # On the study.


def record_population_size(study: Study, population_size: int) -> None:
    """Write the population size on the study, unless it is there."""
    write_on_study(study, POPULATION_SIZE, population_size)


def record_generation(study: Study, trial: FrozenTrial, generation: int) -> None:
    """Write a trial's generation; a retried trial keeps the generation its genes came with."""
    if trial.user_attrs.get(GENERATION) != generation and not is_retry(trial):
        write_on_trial(study, trial, GENERATION, generation)


def record_unfinished(study: Study, trial: FrozenTrial, numbers: Sequence[int]) -> None:
    """Write which earlier trials had not finished when a trial started."""
    write_hidden_on_trial(study, trial, UNFINISHED, numbers)


def recorded_unfinished(trial: FrozenTrial) -> list[int] | None:
    """Return which earlier trials had not finished when a trial started, None if unknown.

    A trial that was copied from a study in which it had another number may show later numbers.
    """
    numbers = trial.system_attrs.get(UNFINISHED)
    if not isinstance(numbers, list):
        return None
    valid = all(type(number) is int and 0 <= number < trial.number for number in numbers)
    return numbers if valid else None


def record_origin(
    study: Study, trial: FrozenTrial, parents: Sequence[int], mutated: Sequence[str] = ()
) -> None:
    """Write the parents' numbers and the mutated genes of a bred trial, unless they are there."""
    if not parents or parents == recorded_parents(study, trial):
        return
    if mutated or MUTATED in trial.user_attrs:
        write_on_trial(study, trial, MUTATED, mutated)
    # Last, since parents that are recorded mean that everything is.
    write_on_trial(study, trial, PARENTS, parents)


def record_mutated(study: Study, trial: FrozenTrial, mutated: Sequence[str]) -> None:
    """Write the genes that were drawn afresh rather than inherited, if there are any."""
    if mutated:
        write_on_trial(study, trial, MUTATED, mutated)


def recorded_parents(study: Study, trial: FrozenTrial) -> list[int]:
    """Return the numbers of the parents that a running trial was given earlier, if any.

    They exist if the trial was half suggested when its process died, or retries such a trial. If
    it has parameters, another sampler object may have chosen them and recorded the parents since
    Optuna made the copy that it hands on, so the storage is read.
    """
    return shown_parents(current(study, trial) if trial.params else trial)


def shown_parents(trial: FrozenTrial) -> list[int]:
    """Return the parents that a trial shows, unless they belong to a study it was copied from."""
    parents: list[int] = trial.user_attrs.get(PARENTS, [])
    return list(parents) if all(number < trial.number for number in parents) else []

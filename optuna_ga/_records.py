"""The attributes `ga_*` that trials and studies show: their names, their writing and reading.

They are user attributes, since optuna-dashboard shows these and hides system attributes; only
`ga_unfinished`, which serves the sampler alone, is a system attribute. Values are plain Python
numbers, strings and lists: databases take no NumPy scalars.

Anybody can write attributes, so they are validated when they are read: an attribute that this
package cannot have written counts as missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._checks import MAX_COUNT, MAX_SEED
from optuna_ga._optuna_internals import (
    enqueued_params,
    is_retry,
    stored,
    study_attr,
    write_hidden_on_trial,
    write_on_study,
    write_on_trial,
)

GENERATION = "ga_generation"
PARENTS = "ga_parents"
MUTATED = "ga_mutated"
CHECKPOINT = "ga_checkpoint"
LOST = "ga_lost_parents"
UNFINISHED = "ga_unfinished"
SEED = "ga_seed"  # On the study.
POPULATION_SIZE = "ga_population_size"  # On the study.
SAMPLER = "ga_sampler"  # On the study.


def record_population_size(study: Study, population_size: int) -> None:
    """Write the population size on the study, unless it is there."""
    if shown_population_size(study) != population_size:
        write_on_study(study, POPULATION_SIZE, population_size)


def record_sampler(study: Study, sampler: str) -> None:
    """Write the sampler with its settings on the study, unless it is there."""
    if study_attr(study, SAMPLER) != sampler:
        write_on_study(study, SAMPLER, sampler)


def shown_sampler(study: Study) -> str | None:
    """Return the sampler with its settings that a study shows, if any."""
    sampler = study_attr(study, SAMPLER)
    return sampler if isinstance(sampler, str) else None


def record_seed(study: Study, seed: int) -> None:
    """Write the study's own seed."""
    write_on_study(study, SEED, seed)


def shown_seed(study: Study) -> int | None:
    """Return the study's own seed, if it shows one."""
    seed = study_attr(study, SEED)
    return seed if _is_int(seed, 0, MAX_SEED) else None


def record_generation(study: Study, trial: FrozenTrial, generation: int) -> None:
    """Write a trial's generation; a retried trial keeps the generation its genes came with."""
    if shown_generation(trial) != generation and not is_retry(trial):
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
    valid = all(_is_int(number, 0, trial.number - 1) for number in numbers)
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
    """Write the genes that were drawn afresh rather than inherited, if there are any.

    A retried trial keeps the genes that the failed trial drew.
    """
    kept = shown_mutated(trial) if is_retry(trial) else []
    if mutated and {*mutated} != {*kept}:
        write_on_trial(study, trial, MUTATED, list(dict.fromkeys([*kept, *mutated])))


def recorded_parents(study: Study, trial: FrozenTrial) -> list[int]:
    """Return the numbers of the parents that a running trial was given earlier, if any.

    They exist if the trial was half suggested when its process died, or retries such a trial. If
    it has parameters, another sampler object may have chosen them and recorded the parents since
    Optuna made the copy that it hands on, so the storage is read.
    """
    return shown_parents(stored(study, trial) if trial.params else trial)


def shown_parents(trial: FrozenTrial) -> list[int]:
    """Return the numbers of the parents that a trial shows; they are distinct earlier trials.

    Later numbers belong to a study that the trial was copied from.
    """
    numbers = _items(trial, PARENTS)
    valid = all(_is_int(number, 0, trial.number - 1) for number in numbers)
    return numbers if valid and len(set(numbers)) == len(numbers) else []


def record_lost(study: Study, trial: FrozenTrial, numbers: Sequence[int]) -> None:
    """Write which parents' states a trial could not load, unless the trial shows just these."""
    if numbers != shown_lost(trial):
        write_on_trial(study, trial, LOST, numbers)


def shown_lost(trial: FrozenTrial) -> list[int]:
    """Return the numbers of the parents whose states the trial could not load."""
    return [number for number in _items(trial, LOST) if _is_int(number, 0, trial.number - 1)]


def shown_mutated(trial: FrozenTrial) -> list[str]:
    """Return the names of the mutated genes that a bred trial shows, as far as it has them."""
    names = _items(trial, MUTATED) if shown_parents(trial) else []
    if not all(isinstance(name, str) for name in names):
        return []
    params = trial.params
    return [name for name in names if name in params]


def shown_generation(trial: FrozenTrial) -> int | None:
    """Return the generation that a trial shows, if any."""
    generation = trial.user_attrs.get(GENERATION)
    return generation if _is_int(generation, 0, trial.number) else None


def is_drawn(trial: FrozenTrial) -> bool:
    """Return whether a trial shows no parents and has genes that the sampler drew."""
    has_drawn = not trial.params.keys() <= enqueued_params(trial).keys()
    return has_drawn and shown_generation(trial) is not None and not shown_parents(trial)


def shown_population_size(study: Study) -> int | None:
    """Return the population size that a study shows, if any."""
    size = study_attr(study, POPULATION_SIZE)
    return size if _is_int(size, 2, MAX_COUNT) else None


def _items(trial: FrozenTrial, key: str) -> list[Any]:
    value = trial.user_attrs.get(key)
    return list(value) if isinstance(value, (list, tuple)) else []


def _is_int(value: object, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high  # A bool is no number.

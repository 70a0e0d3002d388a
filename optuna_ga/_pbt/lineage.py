"""The lineage of a trial: the ancestors whose training it resumes, and their hyperparameters."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from optuna import Trial
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._breeding.population_based_training import ContinuingBreeder
from optuna_ga._checks import MAX_COUNT, check_int, kind_of, shown
from optuna_ga._optuna_internals import free_sampler, only_direction, stored
from optuna_ga._population.fitness import fittest
from optuna_ga._records import (
    CHECKPOINT,
    GENERATION,
    PARENTS,
    shown_generation,
    shown_lost,
    shown_parents,
)
from optuna_ga._sampler import GASampler, breeder_of


def parent_to_continue(trial: Trial) -> FrozenTrial | None:
    """Return the fitter of a trial's two parents, whose training the trial continues.

    Call it in the objective, before or after the parameters are suggested. Every call returns
    the same parent, and the trial inherits its parameters from the same two parents. An enqueued
    trial continues a parent too, with the enqueued parameters. To get the parent's state, call
    `Checkpoints.load_parent`; a parent whose state that did not find is passed over.

    Args:
        trial: A running trial of a study with `GASampler.population_based_training`.

    Returns:
        A copy of the parent; None if the trial trains from scratch, as all trials of generation 0
        do.

    Raises:
        TypeError: If `trial` is not an `optuna.Trial`.
        ValueError: If the study has another sampler or several objectives.
    """
    if not isinstance(trial, Trial):
        raise TypeError(f"`trial` must be a running `optuna.Trial`, but {shown(trial)} was given.")
    lost = shown_lost(stored(trial.study, trial))
    left = [parent for parent in parents_by_fitness(trial) if parent.number not in lost]
    return copy.deepcopy(left[0]) if left else None


def parents_by_fitness(trial: Trial) -> list[FrozenTrial]:
    """Return a running trial's parents, the fitter first.

    Raises:
        ValueError: If the study has another sampler or several objectives.
    """
    study = trial.study
    direction = only_direction(study, "`parent_to_continue`", "Train each trial from scratch.")
    parents = continuing_breeder(study).origin(study, stored(study, trial)).parents
    return fittest(parents, len(parents), [direction])


def schedule_of(study: Study, trial: FrozenTrial | int, epochs: int = 1) -> list[dict[str, Any]]:
    """Return the hyperparameters that a trial's network was trained with, epoch by epoch.

    They are the parameters of the trial's lineage: the ancestor that trained from scratch, the
    trial that continued it, and so on down to the trial itself. A trial whose parents' states were
    lost trained from scratch.

    Args:
        study: The study.
        trial: A trial of the study, or its number. The study's sampler must have been
            `GASampler.population_based_training` with `record=True`.
        epochs: Number of epochs that each trial trains, 1 to 1,000,000.

    Returns:
        A list of parameter dictionaries, one per epoch: `epochs` for each trial of the lineage.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the study has no such trial or several objectives, if the lineage was not
            recorded, or if an argument is out of range.
    """
    epochs = check_int("epochs", epochs, minimum=1, maximum=MAX_COUNT)
    lineage = lineage_of(study, trial)
    return [copy.deepcopy(segment.params) for segment in lineage for _ in range(epochs)]


def lineage_of(study: Study, trial: FrozenTrial | int) -> list[FrozenTrial]:
    """Return the trials whose training led to a trial, from scratch up to the trial itself.

    Raises:
        TypeError: If `trial` is neither a trial nor an integer.
        ValueError: If the study has no such trial or several objectives, or if the lineage was
            not recorded.
    """
    direction = only_direction(study, "A lineage", "No sampler continues trainings of several.")
    number = (
        trial.number if isinstance(trial, FrozenTrial) else check_int("trial", trial, minimum=0)
    )
    trials = {known.number: known for known in study.get_trials(deepcopy=False)}
    if number not in trials:
        raise ValueError(f"`trial` must belong to the study, but the study has no trial {number}.")
    child = trials[number]
    if isinstance(trial, FrozenTrial) and not _start_together(trial, child):
        raise ValueError(
            f"`trial` must belong to the study, but the study's trial {number} is another one: it "
            f"started at {child.datetime_start}, and the given trial at {trial.datetime_start}."
        )
    lineage = [child]
    while parent := _recorded_parent(child, trials, direction):
        lineage.append(parent)
        child = parent
    return lineage[::-1]


def _start_together(trial: FrozenTrial, other: FrozenTrial) -> bool:
    """Return whether two trials started at the same time, of which MariaDB keeps whole seconds."""
    first, second = trial.datetime_start, other.datetime_start
    if first is None or second is None or (first.microsecond and second.microsecond):
        return first == second
    return abs((first - second).total_seconds()) < 1.0


def continued_parent(
    child: FrozenTrial, trials: Mapping[int, FrozenTrial], direction: StudyDirection
) -> FrozenTrial | None:
    """Return the parent whose training a trial continued, as far as it shows one.

    Args:
        child: The trial.
        trials: The study's trials by number.
        direction: The study's direction.
    """
    lost = shown_lost(child)
    numbers = [number for number in shown_parents(child) if number not in lost]
    best = fittest([trials[number] for number in numbers if number in trials], 1, [direction])
    return best[0] if best else None


def continuing_breeder(study: Study) -> ContinuingBreeder:
    """Return the breeder of a study whose trials continue their parents.

    Raises:
        ValueError: If the sampler is not `GASampler.population_based_training`.
    """
    sampler = free_sampler(study)
    found = kind_of(sampler)
    if isinstance(sampler, GASampler):
        breeder = breeder_of(sampler, study)
        if isinstance(breeder, ContinuingBreeder):
            return breeder
        found = f"`{sampler!r}`"
    raise ValueError(
        "The study's sampler must be `GASampler.population_based_training(...)`, because only its "
        f"trials continue their parents, but the study has {found}."
    )


def unneeded_trials(study: Study, number: int) -> Iterator[FrozenTrial]:
    """Yield the finished trials that no present or later trial can continue.

    Args:
        study: The study.
        number: Number of a running trial.
    """
    breeder = continuing_breeder(study)
    unfinished = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
    # These trials may still choose parents from an old pool: an enqueued trial belongs to the
    # generation of its number however late it starts, and a trial that has just started may not
    # have chosen yet while other workers are generations ahead.
    undecided = [
        trial.number
        for trial in unfinished
        if not shown_parents(trial) and breeder.chosen(trial.number) is None
    ]
    kept, finished = breeder.generations.needed(study, number, undecided)
    for trial in unfinished:
        kept.update(shown_parents(trial))
        kept.update(parent.number for parent in breeder.chosen(trial.number) or ())
    yield from (trial for trial in finished if trial.number not in kept)


def _recorded_parent(
    child: FrozenTrial, trials: Mapping[int, FrozenTrial], direction: StudyDirection
) -> FrozenTrial | None:
    """Return the parent that a trial continued, or None if it trained from scratch."""
    if shown_generation(child) is None:
        raise ValueError(
            f"The trials of a lineage must have the attributes `{GENERATION}` and `{PARENTS}`, "
            f"but trial {child.number} has none: its sampler was not a GASampler, or had "
            "`record=False`."
        )
    parent = continued_parent(child, trials, direction)
    if parent is not None and CHECKPOINT not in parent.user_attrs:
        raise ValueError(
            f"The trials of a lineage must continue each other, but trial {child.number} did not "
            f"continue its parent {parent.number}, which saved no state: its sampler was not "
            "`GASampler.population_based_training`."
        )
    return parent

"""Which trial another one continues, and the hyperparameters along such a line of trials."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from optuna import Trial
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._checks import check_int
from optuna_ga._optuna_internals import (
    CHECKPOINT,
    GENERATION,
    PARENTS,
    only_direction,
    parents_shown,
    stored,
)
from optuna_ga._population.fitness import fittest
from optuna_ga._sampler import GASampler


def parent_to_continue(trial: Trial) -> FrozenTrial | None:
    """Return the trial whose training this one continues: the fitter of its two parents.

    To be called in an objective, before or after parameters are suggested, as often as wanted:
    a trial's parents stay the same, those of the parameters that it inherits. An enqueued trial
    continues a parent as well, with the parameters that were enqueued.

    Args:
        trial: A running trial of a study with `GASampler.population_based_training`.

    Returns:
        The parent, of which `Checkpoints.load` loads the state; None if the trial trains from
        scratch, as those of generation 0 do.

    Raises:
        TypeError: If `trial` is no `optuna.Trial`.
        ValueError: If the study's sampler is another, or if the study has several objectives.
    """
    if not isinstance(trial, Trial):
        raise TypeError(f"`trial` must be a running `optuna.Trial`, but {trial!r} was given.")
    study = trial.study
    direction = only_direction(study)
    sampler = continuing_sampler(study)
    parents = sampler._parents_of(study, stored(trial))
    return copy.deepcopy(_fitter(list(parents), direction))


def schedule_of(study: Study, trial: FrozenTrial | int, epochs: int = 1) -> list[dict[str, Any]]:
    """Return the hyperparameters that led to a trial's value, epoch by epoch.

    They are those of its line: the trial that began from scratch, the one that continued it, and
    so on up to the trial itself.

    Args:
        study: The study.
        trial: A trial of it that was sampled by `GASampler.population_based_training` with
            `record=True`, or its number.
        epochs: Epochs that each trial trains, at least 1.

    Returns:
        A dictionary of parameters for each epoch: `epochs` times as many as the line has trials.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such trial, if one of the line was not recorded, or if an
            argument is out of its range.
    """
    check_int("epochs", epochs, minimum=1)
    return [dict(one.params) for one in line_of(study, trial) for _ in range(epochs)]


def line_of(study: Study, trial: FrozenTrial | int) -> list[FrozenTrial]:
    """Return a trial and those that it continues, the one that began from scratch first."""
    direction = only_direction(study)
    number = (
        trial.number if isinstance(trial, FrozenTrial) else check_int("trial", trial, minimum=0)
    )
    trials = {one.number: one for one in study.get_trials(deepcopy=False)}
    line: list[FrozenTrial] = []
    while True:
        if number not in trials:
            raise ValueError(f"`trial` must be of the study, which has no trial {number}.")
        line.append(trials[number])
        if GENERATION not in trials[number].user_attrs:
            raise ValueError(
                f"`trial` must be of a line whose trials show `{GENERATION}` and `{PARENTS}`, "
                f"but trial {number} does not: its sampler was no GASampler, or one with "
                "`record=False`."
            )
        parents = [trials[n] for n in parents_shown(trials[number]) if n in trials]
        parent = _fitter(parents, direction)
        if parent is None:
            return line[::-1]
        if CHECKPOINT not in parent.user_attrs:
            raise ValueError(
                "`trial` must be of a line whose trials continue each other, but trial "
                f"{number} did not continue its parent {parent.number}, which left no state: its "
                "sampler was not `GASampler.population_based_training`."
            )
        number = parent.number


def continuing_sampler(study: Study) -> GASampler:
    """Return the study's sampler if its trials continue their parents.

    Raises:
        ValueError: If it is another.
    """
    sampler = study.sampler
    if isinstance(sampler, GASampler) and sampler._continues:
        return sampler
    raise ValueError(
        "The study's sampler must be `GASampler.population_based_training(...)`, since no other "
        f"has trials that continue their parents, but it is a {type(sampler).__name__}."
    )


def outdated(study: Study, number: int) -> Iterator[FrozenTrial]:
    """Yield the finished trials that no trial will continue, while the numbered one runs."""
    sampler = continuing_sampler(study)
    memory = sampler._memory_of(study)
    unfinished = study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING))
    # An enqueued trial belongs to the generation of its number, however late it starts; one that
    # has just started may not have chosen yet, however far others are.
    choosing = [
        trial.number
        for trial in unfinished
        if not parents_shown(trial) and trial.number not in memory.parents
    ]
    kept, finished = memory.generations.needed(study, number, choosing)
    for trial in unfinished:
        kept.update(parents_shown(trial))
        kept.update(parent.number for parent in memory.parents.get(trial.number, ()))
    yield from (trial for trial in finished if trial.number not in kept)


def _fitter(parents: list[FrozenTrial], direction: StudyDirection) -> FrozenTrial | None:
    best = fittest(parents, 1, direction)
    return best[0] if best else None

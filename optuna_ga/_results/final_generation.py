"""The paper's answer to a search (section 4.6): the best of the final generation, or its front."""

from __future__ import annotations

import copy
import math
from collections import defaultdict

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from optuna_ga._checks import check_study
from optuna_ga._optuna_internals import only_direction
from optuna_ga._population.fitness import can_be_continued, first_front, fittest, rank
from optuna_ga._records import CHECKPOINT
from optuna_ga._results.history import population_size_of


def best_of_final_generation(study: Study, population_size: int | None = None) -> FrozenTrial:
    """Return the fittest trial of the last generation whose trials have all finished.

    Trial `n` belongs to generation `n // population_size`, also if it ran with another population
    size. `study.best_trial` may be another trial, from an earlier generation. In population-based
    training, that is, if a trial of the study saved a state, only trials with a state qualify; if
    none of the last generation has a state, all do. There a trial that diverged to an infinitely
    good value never qualifies.

    Args:
        study: A study with one objective.
        population_size: Trials in a generation, 2 to 1,000,000. None takes it from the study's
            sampler if that is a `GASampler`, else from the study's attribute
            `ga_population_size`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `population_size` is out of range or unknown, if the study has several
            objectives, if no generation has `population_size` finished trials, or if all trials
            of the last such generation failed or diverged to an infinitely good value.
    """
    direction = only_direction(
        study, "`best_of_final_generation`", "Use `front_of_final_generation` for several."
    )
    number, last = _final_generation(study, population_size)
    n_trials = len(last)
    if any(CHECKPOINT in trial.user_attrs for trial in study.get_trials(deepcopy=False)):
        sound = [trial for trial in last if not _is_infinitely_good(trial, direction)]
        last = [*filter(can_be_continued, sound)] or sound
    best = fittest(last, 1, [direction])
    if not best:
        raise ValueError(f"All {n_trials} trials of generation {number} failed or diverged.")
    return copy.deepcopy(best[0])


def front_of_final_generation(
    study: Study, population_size: int | None = None
) -> list[FrozenTrial]:
    """Return the best compromises of the last generation whose trials have all finished.

    They are the trials that no other trial of the generation dominates. A trial dominates another
    if it is no worse in every objective and better in one. Feasible trials precede infeasible
    trials, of which only those with the smallest total violation are compared. Trials at the ends
    of the front and in its sparse parts come first. `study.best_trials` is the front of all
    generations; it is the answer of `GASampler(elitism=True)` and of `GASampler.adaptive()`.

    Args:
        study: The study. With one objective, the front is the trials of the best value.
        population_size: Trials in a generation, 2 to 1,000,000. None takes it from the study's
            sampler if that is a `GASampler`, else from the study's attribute
            `ga_population_size`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `population_size` is out of range or unknown, if no generation has
            `population_size` finished trials, or if all trials of the last such generation failed.
    """
    check_study(study)
    number, last = _final_generation(study, population_size)
    front = first_front(last, study.directions)
    if not front:
        raise ValueError(f"All {len(last)} trials of generation {number} failed.")
    return copy.deepcopy(front)


def _final_generation(study: Study, population_size: int | None) -> tuple[int, list[FrozenTrial]]:
    """Return the number and the trials of the last generation whose trials have all finished."""
    size = population_size_of(study, population_size)
    generations: defaultdict[int, list[FrozenTrial]] = defaultdict(list)
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished():
            generations[trial.number // size].append(trial)
    whole = [generation for generation, trials in generations.items() if len(trials) == size]
    if not whole:
        raise ValueError(f"No generation of the study has {size} finished trials yet.")
    return max(whole), generations[max(whole)]


def _is_infinitely_good(trial: FrozenTrial, direction: StudyDirection) -> bool:
    key = rank(trial, [direction])
    return key is not None and key.losses[0] == -math.inf

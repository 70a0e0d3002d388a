"""`best_of_final_generation`: the paper's answer to a search (section 4.6)."""

from __future__ import annotations

import copy
import math
from collections import defaultdict

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from optuna_ga._optuna_internals import only_direction
from optuna_ga._population.fitness import can_be_continued, fittest, rank
from optuna_ga._records import CHECKPOINT
from optuna_ga._results.history import population_size_of


def best_of_final_generation(study: Study, population_size: int | None = None) -> FrozenTrial:
    """Return the fittest trial of the last generation whose trials have all finished.

    Trial `n` belongs to generation `n // population_size`, also if it ran with another population
    size. `study.best_trial` may be another trial, from an earlier generation. In population-based
    training, that is, if a trial of the study saved a state, a trial that left no state is the
    answer only if the others left none either, and a trial that diverged to an infinitely good
    value never is.

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
    direction = only_direction(study)
    size = population_size_of(study, population_size)
    generations: defaultdict[int, list[FrozenTrial]] = defaultdict(list)
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if trial.state.is_finished():
            generations[trial.number // size].append(trial)
    whole = [generation for generation, trials in generations.items() if len(trials) == size]
    if not whole:
        raise ValueError(f"No generation of the study has {size} finished trials yet.")
    last = generations[max(whole)]
    if any(CHECKPOINT in trial.user_attrs for trial in trials):
        sound = [trial for trial in last if not _is_infinitely_good(trial, direction)]
        last = [*filter(can_be_continued, sound)] or sound
    best = fittest(last, 1, direction)
    if not best:
        raise ValueError(f"All {size} trials of generation {max(whole)} failed or diverged.")
    return copy.deepcopy(best[0])


def _is_infinitely_good(trial: FrozenTrial, direction: StudyDirection) -> bool:
    key = rank(trial, direction)
    return key is not None and key.loss == -math.inf

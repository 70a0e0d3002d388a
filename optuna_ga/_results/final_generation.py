"""`best_of_final_generation`: the paper's answer to a search (section 4.6)."""

from __future__ import annotations

import copy
from collections import defaultdict

from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._optuna_internals import only_direction
from optuna_ga._population.fitness import can_be_continued, fittest
from optuna_ga._results.history import population_size_of


def best_of_final_generation(study: Study, population_size: int | None = None) -> FrozenTrial:
    """Return the fittest trial of the last generation whose trials have all finished.

    Trial `n` belongs to generation `n // population_size`, also if it ran with another population
    size. `study.best_trial` may be another trial, from an earlier generation. In population-based
    training a trial that could not be a parent, since it diverged or left no state, is the answer
    only if the others could not either.

    Args:
        study: A study with one objective.
        population_size: Trials in a generation, 2 to 1,000,000. None takes it from the study's
            sampler if that is a `GASampler`, else from the study's attribute
            `ga_population_size`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `population_size` is out of range or unknown, if the study has several
            objectives, if no generation has `population_size` finished trials, or if all trials
            of the last such generation failed.
    """
    direction = only_direction(study)
    size = population_size_of(study, population_size)
    generations: defaultdict[int, list[FrozenTrial]] = defaultdict(list)
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished():
            generations[trial.number // size].append(trial)
    whole = [generation for generation, trials in generations.items() if len(trials) == size]
    if not whole:
        raise ValueError(f"No generation of the study has {size} finished trials yet.")
    last = generations[max(whole)]
    best = fittest([*filter(can_be_continued, last)] or last, 1, direction)
    if not best:
        raise ValueError(f"All {size} trials of generation {max(whole)} failed.")
    return copy.deepcopy(best[0])

"""A schedule that was found, followed again from scratch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import optuna
from optuna import Trial
from optuna.pruners import NopPruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._checks import check_int
from optuna_ga._optuna_internals import PARENTS
from optuna_ga._population.fitness import can_be_continued
from optuna_ga._running.in_parallel import InParallel
from optuna_ga._running.optimize_generations import Result, evaluate_and_tell
from optuna_ga._sampler import GASampler
from optuna_ga._training.lineage import line_of


def replay(
    study: Study,
    trial: FrozenTrial | int,
    evaluate: Callable[[list[Trial]], Sequence[Result]],
    n_repeats: int = 5,
) -> list[FrozenTrial]:
    """Train from scratch with the schedule of a trial, and return what each repeat ends with.

    The winner of a population is the best of many lines, each of which was chosen in every
    generation: its value flatters its schedule. Repeats that differ in their seeds, and that
    nobody chooses among, say what the schedule is worth.

    Each repeat is a line of trials in a study in memory, which has the direction of the study and
    no pruner: the first begins from scratch, the others continue the one before, with the
    parameters of the trial's line. They are evaluated as in the study, all repeats together,
    segment by segment. A repeat that diverges, is pruned or leaves no state ends there; an
    error ends all. An objective whose seed is fixed gives equal repeats.

    Args:
        study: The study.
        trial: A trial of it that was sampled by `GASampler.population_based_training` with
            `record=True`, or its number.
        evaluate: What evaluates the trials of a generation, as for `optimize_generations`; of an
            ordinary objective `lambda trials: [objective(trial) for trial in trials]`. What
            tells one repeat from another is its business: the trials that begin have the
            numbers 0 to `n_repeats - 1`. With `Checkpoints()` it leaves no files behind.
        n_repeats: Number of repeats, at least 1.

    Returns:
        The last trial of each repeat, with its value and attributes.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If there is no such trial, if one of its line was not recorded, if an
            argument is out of its range, or if workers could not reach a study in memory.
            Whatever else the evaluation raises is passed on.
    """
    n_repeats = check_int("n_repeats", n_repeats, minimum=1)
    line = line_of(study, trial)
    sampler = GASampler.population_based_training(max(n_repeats, 2), parent_fraction=1.0, seed=0)
    replayed = optuna.create_study(sampler=sampler, pruner=NopPruner(), direction=study.direction)
    if isinstance(evaluate, InParallel):
        evaluate.check(replayed)
    lasts: list[FrozenTrial | None] = [None] * n_repeats  # Of each repeat.
    for segment in line:
        going_on = [r for r, last in enumerate(lasts) if last is None or can_be_continued(last)]
        for repeat in going_on:
            last = lasts[repeat]
            parents = {} if last is None else {PARENTS: [last.number]}
            replayed.enqueue_trial(segment.params, user_attrs=parents)
        trials = [replayed.ask() for _ in going_on]
        error = evaluate_and_tell(replayed, evaluate, trials)
        if error is not None:
            raise error
        ended = replayed.get_trials(deepcopy=False)
        for repeat, one in zip(going_on, trials, strict=True):
            lasts[repeat] = ended[one.number]
    return [last for last in lasts if last is not None]

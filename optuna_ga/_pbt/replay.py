"""Replay: train from scratch again with the schedule that a trial's lineage found."""

from __future__ import annotations

import math

import optuna
from optuna.pruners import NopPruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._breeding.population_based_training import HOW_TO_SAVE
from optuna_ga._checks import MAX_COUNT, check_int
from optuna_ga._optuna_internals import optimization_loop
from optuna_ga._pbt.lineage import lineage_of
from optuna_ga._population.fitness import can_be_continued
from optuna_ga._records import CHECKPOINT, PARENTS
from optuna_ga._running.arguments import check_evaluate
from optuna_ga._running.evaluate_and_tell import Evaluate, evaluate_and_tell
from optuna_ga._running.in_parallel import search_with
from optuna_ga._sampler import GASampler


def replay(
    study: Study,
    trial: FrozenTrial | int,
    evaluate: Evaluate,
    n_repeats: int = 5,
) -> list[FrozenTrial]:
    """Train from scratch with a trial's schedule, `n_repeats` times, and return the last trials.

    The best trial of a population is the survivor of many selections, so its value overestimates
    its schedule. Repeats with different seeds, among which nobody selects, give an honest
    estimate.

    Each repeat is a chain of trials in a new in-memory study with the same direction and without
    a pruner: the first trial trains from scratch, each later trial continues the one before it,
    with the parameters of the replayed lineage. All repeats are evaluated together, segment by
    segment. A repeat ends early if it diverges, is pruned or saves no state, though others save
    states; an exception ends all repeats. `study.stop()` has no effect. An objective with a fixed
    seed gives equal repeats.

    Args:
        study: The study.
        trial: A trial of the study, or its number. The study's sampler must have been
            `GASampler.population_based_training` with `record=True`.
        evaluate: Evaluates the trials of one segment, as for `optimize_generations`; for an
            ordinary objective `lambda trials: map(objective, trials)`. To make
            repeats differ, derive each repeat's seed from the number of its first trial, 0 to
            `n_repeats - 1`. `Checkpoints()` without a folder leaves no files behind.
        n_repeats: Number of repeats, 1 to 1,000,000.

    Returns:
        The last trial of each repeat, with its value and attributes.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the study has no such trial or several objectives, if the lineage was not
            recorded, if an argument is out of range, if the workers cannot reach an in-memory
            study, or if no repeat saves a state that another segment is to continue.
        Exception: Any exception that `evaluate` raises.
    """
    n_repeats = check_int("n_repeats", n_repeats, minimum=1, maximum=MAX_COUNT)
    check_evaluate(evaluate)
    lineage = lineage_of(study, trial)
    sampler = GASampler.population_based_training(max(n_repeats, 2), parent_fraction=1.0, seed=0)
    replayed = optuna.create_study(sampler=sampler, pruner=NopPruner(), direction=study.direction)
    last_trials: list[FrozenTrial | None] = [None] * n_repeats
    with search_with(evaluate, replayed):
        for n_trained, segment in enumerate(lineage):
            _check_states(replayed, n_trained, len(lineage))
            repeats = [
                r for r, last in enumerate(last_trials) if last is None or can_be_continued(last)
            ]
            for repeat in repeats:
                last = last_trials[repeat]
                parents = {} if last is None else {PARENTS: [last.number]}
                replayed.enqueue_trial(segment.params, user_attrs=parents)
            trials = [replayed.ask() for _ in repeats]
            # So that `study.stop()`, which has no effect, is legal.
            with optimization_loop(replayed):
                error = evaluate_and_tell(replayed, evaluate, trials)
            if error is not None:
                raise error
            finished = replayed.get_trials(deepcopy=False)
            for repeat, asked in zip(repeats, trials, strict=True):
                last_trials[repeat] = finished[asked.number]
    return [last for last in last_trials if last is not None]


def _check_states(replayed: Study, n_trained: int, n_segments: int) -> None:
    """Check that the trials of the segments before the next one have saved states.

    Raises:
        ValueError: If none of them has, though some have finite values.
    """
    complete = replayed.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    finite = [trial for trial in complete if math.isfinite(trial.values[0])]
    if finite and not any(CHECKPOINT in trial.user_attrs for trial in complete):
        raise ValueError(
            "`evaluate` must save the states from which the next segment continues, but after "
            f"segment {n_trained} of {n_segments} none of the {len(complete)} complete trials has "
            f"saved a state. {HOW_TO_SAVE}"
        )

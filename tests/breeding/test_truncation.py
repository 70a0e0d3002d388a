"""Population-based training with the operators of its own field."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import optuna
import pytest
from optuna import Study, Trial

from optuna_ga import GASampler, InParallel, optimize_generations
from tests.processes import FRESH
from tests.studies import OpenDatabase, parents, run, story

SIZE = 10
N_REPLACED = 2
DIVERGING = 7  # Trials whose number by eleven leaves this diverge.


def truncating(**options: Any) -> GASampler:
    """Return a sampler that replaces the worst two of ten by perturbed copies of the best two."""
    given = {"selection": "truncation", "mutation": "perturb", "seed": 0, **options}
    return GASampler.population_based_training(SIZE, **given)


def objective(trial: Trial) -> float:
    """Return a value that the number makes different for equal genes; one in eleven diverges."""
    rate = trial.suggest_float("rate", 1e-4, 1.0)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    layers = trial.suggest_int("layers", 1, 6)
    if trial.number % 11 == DIVERGING:
        return math.inf
    trial.set_user_attr("ga_checkpoint", "kept elsewhere")
    return abs(math.log(rate) + 3) + layers / 10 + (kind != "b") + trial.number % 7 / 100


def survivors(study: Study, generation: int) -> tuple[set[int], set[int]]:
    """Return who is kept, and who is copied, of a generation."""
    members = study.trials[SIZE * generation : SIZE * (generation + 1)]
    sound = [trial for trial in members if math.isfinite(trial.value or 0.0)]
    ranked = [trial.number for trial in sorted(sound, key=lambda t: (t.value, t.number))]
    return set(ranked[: SIZE - N_REPLACED]), set(ranked[:N_REPLACED])


def test_the_least_fit_are_replaced_by_copies_of_the_fittest() -> None:
    """The others train on in their places; a diverged trial counts among the least fit."""
    study = run(truncating(), 10 * SIZE, objective)

    for trial in study.trials[SIZE:]:
        kept, copied = survivors(study, trial.number // SIZE - 1)
        (parent,) = parents(trial)
        if trial.number - SIZE in kept:
            assert parent == trial.number - SIZE
        else:
            assert parent in copied


def test_trials_that_train_on_keep_their_parameters() -> None:
    """Only copies mutate, and by default all their genes do."""
    study = run(truncating(), 10 * SIZE, objective)

    for trial in study.trials[SIZE:]:
        before = study.trials[parents(trial)[0]].params
        if parents(trial) == [trial.number - SIZE]:
            assert trial.params == before
            assert "ga_mutated" not in trial.user_attrs
        else:
            assert trial.user_attrs["ga_mutated"] == ["kind", "layers", "rate"]
            factor = trial.params["rate"] / before["rate"]
            assert factor == pytest.approx(0.8) or factor == pytest.approx(1.2, rel=0.2)
            assert abs(trial.params["layers"] - before["layers"]) <= 1


def test_mutation_by_drawing_afresh_goes_with_truncation_too() -> None:
    """Operators are independent of each other."""
    study = run(truncating(mutation="resample", mutation_prob=0.5), 5 * SIZE, objective)
    mutated = [trial.user_attrs.get("ga_mutated", []) for trial in study.trials[SIZE:]]

    assert {name for names in mutated for name in names} == {"rate", "kind", "layers"}


def test_a_trial_whose_predecessor_is_still_running_is_a_copy() -> None:
    """Nobody waits for it, and nobody continues an unfinished training."""
    study = run(truncating(), SIZE - 1, objective)
    study.ask()
    study.optimize(objective, n_trials=SIZE)

    assert parents(study.trials[2 * SIZE - 1])[0] in range(SIZE - 1)


@pytest.mark.slow
@pytest.mark.parametrize("make", [truncating, lambda: truncating(selection="generational")])
def test_workers_give_the_study_of_a_single_process(
    make: Callable[[], GASampler], open_database: OpenDatabase
) -> None:
    """By generations, each draw depends on seed, number and name alone."""
    alone = run(make(), 5 * SIZE, objective)
    shared = optuna.create_study(storage=open_database(), sampler=make())
    with ProcessPoolExecutor(2, FRESH) as executor:
        optimize_generations(shared, InParallel(objective, executor), 5)

    assert story(shared) == story(alone)


def test_a_restarted_search_is_the_same(open_database: OpenDatabase) -> None:
    """A new sampler object reads everything from the study."""
    study = optuna.create_study(storage=open_database())
    for _ in range(5):
        study.sampler = truncating()
        study.optimize(objective, n_trials=9)

    assert story(study) == story(run(truncating(), 45, objective))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"selection": "best"}, ValueError, '`selection` must be "generational" or "truncation"'),
        ({"mutation": "gauss"}, ValueError, '`mutation` must be "resample" or "perturb"'),
        ({"mutation": None}, TypeError, "`mutation` must be a string"),
        ({"parent_fraction": 0.6}, ValueError, "at most 0.5 with truncation"),
        ({"parent_fraction": 0.05}, ValueError, "must be at least 1"),
    ],
)
def test_arguments_are_checked(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Errors name the argument and the rule."""
    with pytest.raises(error, match=message):
        truncating(**options)

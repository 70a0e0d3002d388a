"""Histories with enqueued, added, retried, copied and other samplers' trials."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import optuna
import pytest
from optuna import Study, Trial, TrialPruned
from optuna.distributions import CategoricalDistribution
from optuna.pruners import HyperbandPruner
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, InMemoryStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import GASampler
from tests.studies import (
    OpenDatabase,
    added,
    assert_parents_by_the_rules,
    bred,
    next_parents,
    of_four,
    parents,
    run,
    sphere,
    story,
    study_with,
)


def test_a_wholly_fixed_trial_is_a_parent_and_has_none() -> None:
    """An enqueued trial belongs to the generation of its number, as any other."""
    study = run(of_four(), 5)
    study.enqueue_trial({"x": 0.0, "y": 0.0, "z": 0.0})
    study.optimize(sphere, n_trials=10)

    assert study.trials[5].user_attrs == {"ga_generation": 1}
    assert {t.number // 4 for t in bred(study) if 5 in parents(t)} == {2}


def test_the_rest_of_a_partly_fixed_trial_is_bred() -> None:
    """Parameters that are not enqueued are inherited; enqueued ones are passed on."""
    study = run(of_four(mutation_prob=0.0), 4)
    study.enqueue_trial({"x": 0.0})
    study.optimize(sphere, n_trials=1)

    trial = study.trials[4]
    assert len(parents(trial)) == 2
    assert trial.params["x"] == 0.0
    assert trial.params["y"] in [study.trials[number].params["y"] for number in parents(trial)]


def test_an_enqueued_value_outside_the_range_is_inherited_as_the_nearest_inside() -> None:
    """Optuna lets an enqueued trial leave the range; its children stay inside."""
    study = optuna.create_study(sampler=of_four(mutation_prob=0.0))
    for _ in range(4):
        study.enqueue_trial({"x": 9.0, "y": -9.0, "z": 0.5})
    with pytest.warns(UserWarning, match="out of range"):
        study.optimize(sphere, n_trials=4)
    study.optimize(sphere, n_trials=4)

    assert [t.params for t in study.trials[4:]] == [{"x": 1.0, "y": -1.0, "z": 0.5}] * 4


def test_trials_may_be_enqueued_generations_ahead() -> None:
    """Each of them is bred from the generation before its own."""
    study = optuna.create_study(sampler=of_four())
    for number in range(40):
        study.enqueue_trial({"x": number / 40})
    study.optimize(sphere, n_trials=48)

    assert_parents_by_the_rules(study, 4)
    assert len(bred(study)) == 44


@pytest.mark.parametrize(("elitism", "best"), [(False, {1996, 1998}), (True, {3, 1000})])
def test_thousands_of_added_trials_are_a_history_like_any_other(
    elitism: bool, best: set[int]
) -> None:
    """The parents come from the last four of them, or with elitism from all."""
    values = dict.fromkeys(range(2000), 9.0) | {3: 0.0, 1000: 1.0, 1996: 2.0, 1998: 3.0}
    study = study_with(*map(added, values.values()), elitism=elitism)

    assert next_parents(study) == best


def test_added_trials_of_a_real_study_are_a_history_like_any_other() -> None:
    """Parents and generations that another study recorded are ignored."""
    source = run(GASampler(7, seed=5), 30)
    study = study_with(*source.trials)
    study.optimize(sphere, n_trials=10)

    assert_parents_by_the_rules(study, 30)


def test_parents_that_the_study_does_not_have_are_chosen_anew(storage: BaseStorage) -> None:
    """A waiting trial copied from another study may record parents that do not exist here."""
    study = run(of_four(), 4, storage=storage)
    study.enqueue_trial({"x": 0.5}, user_attrs={"ga_parents": [1000, 1001]})
    study.optimize(sphere, n_trials=4)

    assert_parents_by_the_rules(study, 4)


@pytest.mark.parametrize("other", [RandomSampler(seed=0), TPESampler(seed=0)])
@pytest.mark.parametrize("n_trials", [4, 6, 11])
def test_the_trials_of_another_sampler_are_bred_from_at_once(
    other: BaseSampler, n_trials: int
) -> None:
    """Their numbers decide their generations, though they record none."""
    study = run(other, n_trials)
    study.sampler = of_four()
    study.optimize(sphere, n_trials=12)

    assert_parents_by_the_rules(study, n_trials)


def test_a_partly_fixed_sampler_passes_the_rest_on() -> None:
    """`PartialFixedSampler` fixes its parameters and leaves the others to GASampler."""
    study = run(of_four(), 8)
    study.sampler = PartialFixedSampler({"x": 0.25}, study.sampler)
    study.optimize(sphere, n_trials=12)

    assert {trial.params["x"] for trial in study.trials[8:]} == {0.25}
    assert_parents_by_the_rules(study, 4)


def test_a_partly_fixed_sampler_leaves_the_other_genes_alone() -> None:
    """Fixing a parameter does not change the other genes of the first generation."""
    fixed = run(PartialFixedSampler({"x": 0.25}, of_four()), 4)

    for free, bound in zip(run(of_four(), 4).trials, fixed.trials, strict=True):
        assert {**free.params, "x": 0.25} == bound.params


def test_a_generation_cut_short_is_filled_up() -> None:
    """A search that stopped within a generation resumes within it."""
    study = run(of_four(), 6)
    study.optimize(sphere, n_trials=6)

    assert [trial.user_attrs["ga_generation"] for trial in study.trials[4:]] == [1] * 4 + [2] * 4
    assert_parents_by_the_rules(study, 4)


def test_the_population_size_may_change_on_resumption() -> None:
    """All trials then count in generations of the new size, which the study records."""
    study = run(of_four(), 14)
    study.sampler = GASampler(6, parent_fraction=1 / 3, seed=0)
    study.optimize(sphere, n_trials=16)

    assert_parents_by_the_rules(study, 14, population_size=6)
    assert study.user_attrs == {"ga_population_size": 6, "ga_sampler": repr(study.sampler)}


def test_the_study_shows_the_sampler_that_ran_last() -> None:
    """Also if it ran before another one."""
    first, second = of_four(), GASampler(6, seed=0)
    study = run(first, 8)
    study.sampler = second
    study.optimize(sphere, n_trials=4)
    study.sampler = first
    study.optimize(sphere, n_trials=1)

    assert study.user_attrs == {"ga_population_size": 4, "ga_sampler": repr(first)}


@pytest.mark.parametrize("elitism", [False, True])
def test_a_copied_study_continues_like_the_original(elitism: bool) -> None:
    """Parents are recorded by number, which a copy keeps."""
    storages = [InMemoryStorage(), InMemoryStorage()]
    run(RandomSampler(seed=1), 3, storage=storages[1])  # Makes the ids differ.
    run(of_four(elitism=elitism), 10, study_name="s", storage=storages[0])
    optuna.copy_study(from_study_name="s", from_storage=storages[0], to_storage=storages[1])
    stories = []
    for storage in storages:
        sampler = of_four(elitism=elitism)
        study = optuna.load_study(study_name="s", storage=storage, sampler=sampler)
        study.optimize(sphere, n_trials=14)
        stories.append(story(study))

    assert stories[0] == stories[1] == story(run(of_four(elitism=elitism), 24))


def died(mutation_prob: float, database: BaseStorage) -> Study:
    """Return a study whose trial 7 died after its gene x and waits to be retried as trial 8."""
    study = run(of_four(mutation_prob=mutation_prob), 7, storage=database)
    stale = study.ask()
    stale.suggest_float("x", -1.0, 1.0)
    study.tell(stale, state=TrialState.FAIL)
    RetryHeartbeatStaleTrialCallback()(study, study.trials[7])
    return study


@pytest.fixture
def retried(open_database: OpenDatabase) -> Study:
    """Return such a study without mutation."""
    return died(0.0, open_database())


def test_a_retried_trial_shows_all_genes_that_mutated(open_database: OpenDatabase) -> None:
    """The dead trial drew some of them."""
    study = died(1.0, open_database())
    study.optimize(sphere, n_trials=1)
    stale, retry = study.trials[7:]

    assert stale.user_attrs["ga_mutated"] == ["x"]
    assert sorted(retry.user_attrs["ga_mutated"]) == ["x", "y", "z"]


def test_a_retried_trial_keeps_what_came_with_its_genes(retried: Study) -> None:
    """A retry has the dead trial's genes, generation and parents."""
    retried.optimize(sphere, n_trials=1)
    stale, retry = retried.trials[7:]

    assert retry.state == TrialState.COMPLETE
    assert retry.user_attrs == stale.user_attrs
    assert stale.user_attrs["ga_generation"] == 1
    assert retry.params["x"] == stale.params["x"]


def test_a_retried_trial_inherits_its_other_genes_from_the_same_parents(retried: Study) -> None:
    """Genes that the dead trial had not suggested come from the parents that it recorded."""
    retried.optimize(sphere, n_trials=1)
    retry = retried.trials[8]

    for name in "yz":
        genes = [retried.trials[number].params[name] for number in parents(retry)]
        assert retry.params[name] in genes


def test_a_study_continues_after_a_retry(retried: Study) -> None:
    """Dead and retried trials belong to the generations of their numbers."""
    retried.optimize(sphere, n_trials=12)

    assert_parents_by_the_rules(retried, 9)


def reports(trial: Trial) -> float:
    """Report three times, unless pruned before."""
    value = sphere(trial)
    for step in range(1, 4):
        trial.report(value / step, step)
        if trial.should_prune():
            raise TrialPruned
    return value


def test_parents_come_from_all_brackets_of_hyperband(storage: BaseStorage) -> None:
    """Hyperband shows a sampler one bracket at a time; generations are those of the study."""
    pruner = HyperbandPruner(min_resource=1, max_resource=4, reduction_factor=2)
    study = run(of_four(), 60, reports, study_name="s", storage=storage, pruner=pruner)

    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert_parents_by_the_rules(study, 4)


def test_population_based_training_refuses_several_objectives_with_advice() -> None:
    """The error names samplers for several objectives, and no trial is left running."""
    sampler = GASampler.population_based_training()
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    with pytest.raises(ValueError, match=r"one objective, but the study has 2.*adaptive"):
        study.optimize(lambda trial: (sphere(trial), 0.0), n_trials=1)
    study.optimize(lambda trial: (sphere(trial), 0.0), n_trials=3, catch=ValueError)

    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 4


def test_a_study_of_several_objectives_without_parameters_is_accepted() -> None:
    """The hooks do not raise, since that would leave a trial running."""
    sampler = GASampler.population_based_training()
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    study.optimize(lambda trial: (0.0, 0.0), n_trials=3)

    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3


def test_attributes_of_another_study_are_not_believed() -> None:
    """A trial that was added with recorded parents is bred from by this study's rules."""
    study = study_with(*(added(value) for value in (3, 2, 1, 0)))
    study.enqueue_trial(
        {"y": 0.5}, user_attrs={"ga_generation": 9, "ga_parents": [0, 90_000], "note": "old"}
    )
    trial = study.ask()
    trial.suggest_float("y", 0.0, 1.0)
    trial.suggest_float("x", 0.0, 1.0)

    attributes = study.trials[4].user_attrs
    assert attributes["ga_generation"] == 1
    assert set(attributes["ga_parents"]) == {2, 3}
    assert attributes["note"] == "old"


def test_a_choice_that_no_longer_exists_is_not_inherited() -> None:
    """In-memory storage accepts trials with other choices; such a gene is passed over."""
    study = optuna.create_study(sampler=of_four(mutation_prob=0.0))
    choices = CategoricalDistribution(["a", "z"])
    study.add_trials(
        [optuna.create_trial(value=0, params={"c": "z"}, distributions={"c": choices})] * 4
    )
    study.optimize(lambda t: 0.0 * len(t.suggest_categorical("c", ["a", "b", "q"])), n_trials=4)

    assert {trial.params["c"] for trial in study.trials[4:]} <= {"a", "b", "q"}


def test_times_before_any_clock_are_a_history_too() -> None:
    """A trial dated before the platform's earliest time is older than all others."""
    ancient = added(0.0)
    ancient.datetime_start = ancient.datetime_complete = datetime.min
    study = study_with(ancient, ancient, ancient, ancient)

    assert next_parents(study) == {0, 1}


def test_a_refused_study_is_not_written_to() -> None:
    """Nothing is recorded in a study that the sampler refuses."""
    sampler = GASampler.population_based_training(4)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    study.tell(study.ask(), [0.0, 0.0])

    assert study.user_attrs == study.trials[0].user_attrs == {}


def test_a_trial_left_running_is_looked_up_and_not_searched_for(
    open_database: OpenDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a database, a dead worker's trial costs no scan of the study."""
    storage = open_database()
    study = optuna.create_study(storage=storage, sampler=of_four())
    study.ask()
    study.optimize(sphere, n_trials=11)
    looks = []
    get_all_trials = storage.get_all_trials

    def counting(*arguments: Any, **options: Any) -> list[FrozenTrial]:
        looks.append(options.get("states"))
        return get_all_trials(*arguments, **options)

    monkeypatch.setattr(storage, "get_all_trials", counting)
    study.optimize(sphere, n_trials=8)

    assert looks.count((TrialState.WAITING,)) == 8
    assert len(looks) - 8 == 2  # Once for each generation that begins.

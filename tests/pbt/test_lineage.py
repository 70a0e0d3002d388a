"""Trials continue their fitter parent."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import Study, Trial
from optuna.pruners import ThresholdPruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from optuna_ga import (
    Checkpoints,
    GASampler,
    best_of_final_generation,
    optimize_generations,
    parent_to_continue,
    schedule_of,
)
from tests.pbt.walks import Walk, one_by_one, sampler, walk
from tests.studies import added, failed, of_four, parents, pruned, run

COMPLETE = TrialState.COMPLETE
STATE = {"ga_checkpoint": "somewhere"}


def fitter(study: Study, trial: FrozenTrial) -> int | None:
    """Return the number of the parent with the lower value."""
    values = {number: study.trials[number].value for number in parents(trial)}
    return min(values, key=lambda number: (values[number], number), default=None)


def line(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """Return a trial and its ancestors by fitter parents, the oldest first."""
    number = fitter(study, trial)
    return [trial] if number is None else [*line(study, study.trials[number]), trial]


@pytest.mark.parametrize("first", [True, False])
def test_a_trial_continues_the_fitter_of_its_recorded_parents(first: bool) -> None:
    """Asking before or after the first parameter is the same; generation 0 has no parents."""
    study, objective = walk(first=first)

    assert all(len(parents(trial)) == 2 for trial in study.trials[4:])
    assert objective.continued == {t.number: fitter(study, t) for t in study.trials}


def test_a_value_is_that_of_all_steps_of_its_line() -> None:
    """A child starts from its parent's position."""
    study, _ = walk()

    for trial in study.trials:
        steps = [one.params["step"] for one in line(study, trial)]
        assert trial.value == pytest.approx(abs(sum(steps) - 3.0), abs=1e-12)


@pytest.mark.parametrize(
    ("other", "shown"), [(of_four(), f"`{of_four()!r}`"), (RandomSampler(), "a RandomSampler")]
)
def test_another_sampler_is_shown(other: BaseSampler, shown: str) -> None:
    """The settings of a GASampler tell it from one whose trials continue each other."""
    study = optuna.create_study(sampler=other)
    with pytest.raises(ValueError, match=re.escape(f"but the study has {shown}.")):
        parent_to_continue(study.ask())


def test_a_trial_that_is_not_recorded_continues_the_same_parent() -> None:
    """`parent_to_continue` needs no records."""
    recorded, unrecorded = (walk(record=record)[1].continued for record in (True, False))

    assert recorded == unrecorded


def test_the_higher_value_is_fitter_where_it_is_wanted() -> None:
    """A study that maximizes continues the parent with the higher value."""
    study = optuna.create_study(sampler=sampler(), direction="maximize")
    study.add_trials([added(float(n), user_attrs=STATE) for n in range(4)])
    trial = study.ask()

    parent = parent_to_continue(trial)
    assert parent is not None
    assert parent.number == max(study.trials[4].user_attrs["ga_parents"]) == 3


def test_an_enqueued_trial_continues_a_parent_with_its_own_parameters() -> None:
    """It takes the parent's state and not its genes."""
    study, objective = walk(8)
    study.enqueue_trial({"step": 0.125})
    study.optimize(objective, n_trials=1)

    assert study.trials[8].params == {"step": 0.125}
    assert objective.continued[8] == fitter(study, study.trials[8]) is not None


UNFIT: dict[str, FrozenTrial] = {
    "no state": added(0.0),
    "diverged": added(math.inf, user_attrs=STATE),
    "pruned": pruned(user_attrs=STATE, intermediate_values={0: 0.0}),
    "failed": failed(user_attrs=STATE),
}


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT)
def test_a_trial_that_cannot_be_continued_is_no_parent(unfit: FrozenTrial) -> None:
    """A parent has a finite value and a saved state."""
    study = optuna.create_study(sampler=sampler(parent_fraction=1.0))
    fit = [added(float(n), user_attrs=STATE) for n in range(1, 4)]
    study.add_trials([unfit, *fit])
    for _ in range(20):
        parent = parent_to_continue(study.ask())
        assert parent is not None
        assert parent.number in (1, 2, 3)

    chosen = {n for trial in study.trials[4:8] for n in parents(trial)}
    assert chosen <= {1, 2, 3}


def test_a_generation_that_left_nothing_is_passed_over() -> None:
    """The next generation continues the latest trials that have a state."""
    study = optuna.create_study(sampler=sampler())
    study.add_trials([added(float(n), user_attrs=STATE) for n in range(4)])
    study.add_trials([added(math.inf)] * 4)

    parent = parent_to_continue(study.ask())
    assert parent is not None
    assert parent.number in (0, 1, 2, 3)


def test_trials_begin_from_scratch_where_fewer_than_two_can_be_continued() -> None:
    """Crossover takes two parents."""
    study = optuna.create_study(sampler=sampler())
    study.add_trials([added(1.0, user_attrs=STATE), *[failed()] * 3])

    assert parent_to_continue(study.ask()) is None


def test_the_parent_is_a_copy() -> None:
    """Changing it changes nothing in the study."""
    study, _ = walk(8)
    parent = parent_to_continue(study.ask())
    assert parent is not None
    parent.params["step"] = 99.0

    assert study.trials[parent.number].params["step"] != 99.0


@pytest.mark.parametrize("other", [RandomSampler(), GASampler(4)])
def test_other_samplers_have_nothing_to_continue(other: Any) -> None:
    """The error names the sampler that has."""
    trial = optuna.create_study(sampler=other).ask()

    with pytest.raises(ValueError, match="population_based_training"):
        parent_to_continue(trial)
    with pytest.raises(ValueError, match="population_based_training"):
        Checkpoints().save(trial, {})


def test_only_a_running_trial_has_a_parent_to_continue() -> None:
    """A finished trial is refused by its type."""
    with pytest.raises(TypeError, match="`trial` must be a running"):
        parent_to_continue(added(1.0))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("population_size", 1, ValueError),
        ("parent_fraction", 0.1, ValueError),
        ("mutation_prob", 2.0, ValueError),
        ("seed", "0", TypeError),
        ("record", 1, TypeError),
    ],
)
def test_arguments_are_checked(name: str, value: Any, error: type[Exception]) -> None:
    """The same rules hold as for `GASampler`."""
    with pytest.raises(error, match=f"`{name}"):
        GASampler.population_based_training(**{"population_size": 4, name: value})


def test_a_schedule_is_the_parameters_of_the_line() -> None:
    """A schedule has one dictionary for each epoch of each trial of the line."""
    study, _ = walk()
    best = best_of_final_generation(study)
    expected = [trial.params for trial in line(study, best)]

    assert len(expected) == 6
    assert schedule_of(study, best) == schedule_of(study, best.number) == expected
    assert schedule_of(study, best, epochs=2) == [p for p in expected for _ in range(2)]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((99,), ValueError, "no trial 99"),
        ((-1,), ValueError, "`trial` must be at least 0"),
        (("3",), TypeError, "`trial` must be"),
        ((3, 0), ValueError, "`epochs` must be at least 1"),
    ],
)
def test_a_trial_without_a_schedule_is_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    """The error names the argument and what it must be."""
    with pytest.raises(error, match=message):
        schedule_of(walk(8)[0], *arguments)


def test_a_line_that_was_not_recorded_has_no_schedule() -> None:
    """The error says that nothing was recorded."""
    with pytest.raises(ValueError, match="record=False"):
        schedule_of(walk(8, record=False)[0], 7)


def test_trials_that_each_began_from_scratch_have_no_schedule() -> None:
    """In the plain genetic algorithm children do not continue their parents."""
    study = run(GASampler(4, seed=0), 8)

    with pytest.raises(ValueError, match="trial 7 did not continue its parent"):
        schedule_of(study, 7)
    assert schedule_of(study, 0) == [study.trials[0].params]


def test_pruned_trials_are_never_continued() -> None:
    """A study with a pruner continues complete trials alone."""
    checkpoints = Checkpoints()

    def reporting(trial: Trial) -> float:
        parent = parent_to_continue(trial)
        x: float = 0.0 if parent is None else checkpoints.load(parent)["x"]
        x += trial.suggest_float("step", -1.0, 1.0)
        trial.report(x, 0)
        if trial.should_prune():
            raise optuna.TrialPruned
        checkpoints.save(trial, {"x": x})
        return abs(x - 3.0)

    study = run(sampler(8), 64, reporting, pruner=ThresholdPruner(lower=-0.3))
    n_pruned = len(study.get_trials(states=[TrialState.PRUNED]))
    assert 0 < n_pruned < 64
    for trial in study.trials:
        assert all(study.trials[number].state == COMPLETE for number in parents(trial))


def test_the_answer_is_the_best_of_the_final_generation(tmp_path: Path) -> None:
    """The population gets further than any trial of generation 0."""
    objective = Walk(Checkpoints(tmp_path))
    study = optuna.create_study(sampler=sampler(10))
    optimize_generations(study, one_by_one(objective), 6)

    answer = best_of_final_generation(study)
    assert answer.number >= 50
    assert answer.value is not None
    assert answer.value < 0.5 < 2.0 <= min(t.value or 0.0 for t in study.trials[:10])


def test_a_trial_of_another_study_has_no_schedule() -> None:
    """Though the study has a trial of its number."""
    study, other = walk(8)[0], walk(8)[0]

    with pytest.raises(ValueError, match="trial 7 is another one"):
        schedule_of(study, other.trials[7])


@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution:UserWarning")
def test_a_schedule_is_the_callers_own() -> None:
    """A change of a choice changes no trial."""
    study = run(GASampler.population_based_training(4, seed=0), 1, record_a_list)
    schedule_of(study, 0)[0]["c"].append(3)

    assert study.trials[0].params == {"c": [1, 2]}


def record_a_list(trial: Trial) -> float:
    """Suggest a list and say that a state was saved."""
    trial.suggest_categorical("c", [[1, 2]])  # type: ignore[list-item]
    return 0.0


@pytest.mark.parametrize(("moved", "is_same"), [(0, True), (1, False)])
def test_a_trial_may_have_lost_the_parts_of_its_second(moved: int, is_same: bool) -> None:
    """As on MariaDB, though the study's own copy of it has them."""
    study = walk(8)[0]
    trial = study.trials[7]
    assert trial.datetime_start is not None
    whole = trial.datetime_start.replace(microsecond=0) - timedelta(seconds=moved)
    trial.datetime_start = whole

    if is_same:
        assert schedule_of(study, trial) == schedule_of(study, 7)
    else:
        with pytest.raises(ValueError, match="another one"):
            schedule_of(study, trial)


def test_a_schedule_has_a_million_epochs_of_a_trial_at_most() -> None:
    """The error shows the limit."""
    with pytest.raises(ValueError, match="`epochs` must be at most 1000000"):
        schedule_of(walk(8)[0], 3, 1_000_001)

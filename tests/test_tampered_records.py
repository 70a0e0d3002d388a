"""Attributes that anybody may have written: an invalid record is as if it were not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import optuna
import pytest
from optuna import Study
from optuna.samplers import RandomSampler
from optuna.storages import InMemoryStorage
from optuna_dashboard import get_note

from optuna_ga import (
    DashboardReport,
    GASampler,
    generations_dataframe,
    optimize_generations,
    replay,
    schedule_of,
)
from tests.studies import added, failed, of_four, run, sphere, story
from tests.visualization.figures import FIGURES, three_generations

NO_NUMBERS: list[Any] = ["4", None, {"a": 4}, [[4]], 4.0, True, -1, 10**9, 10**30]
NO_PARENTS: list[Any] = [
    *NO_NUMBERS,
    *([entry] for entry in NO_NUMBERS if entry != [[4]]),
    [3, 99],
    [3, 3],
    [3, "2"],
    "32",
]
NO_NAMES: list[Any] = [*NO_NUMBERS, ["x", 1], [["x"]], "x", {"x": 1}, ["unknown"]]
SAMPLERS: dict[str, Callable[[], GASampler]] = {
    "paper": of_four,
    "elitism": lambda: of_four(elitism=True),
    "avoid_duplicates": lambda: of_four(avoid_duplicates=True),
    "adaptive": lambda: GASampler.adaptive(4, seed=0),
    "model_free": lambda: GASampler.adaptive(4, seed=0, surrogate=False),
    "continuing": lambda: GASampler.population_based_training(4, seed=0),
}

each_sampler = pytest.mark.parametrize("sampler", SAMPLERS)


def family(*attrs: dict[str, Any]) -> Study:
    """Return a study of continued trials, in which those from trial 13 on have these attributes.

    Trial 12 failed, the last trial is the fittest.
    """
    study = optuna.create_study(sampler=SAMPLERS["continuing"]())
    for trial in three_generations().trials:
        trial.user_attrs |= {"ga_checkpoint": "x", "ga_generation": trial.number // 4}
        study.add_trial(trial)
    study.add_trial(failed())
    own = {"ga_checkpoint": "x", "ga_generation": 3}
    for n, more in enumerate(attrs or [{}]):
        study.add_trial(added(0.1 / (n + 1), x=0.3, user_attrs=own | more))
    return study


def reported(study: Study) -> tuple[str, int]:
    """Return the note of the study, and how many attributes its report has."""
    DashboardReport().write(study)
    note: str = get_note(study)
    return note, len(study._storage.get_study_system_attrs(study._study_id))


def replayed(study: Study) -> list[Any]:
    """Return the last trials of a replay of the fittest trial."""

    def evaluate(trials: list[optuna.Trial]) -> list[float]:
        for trial in trials:
            trial.set_user_attr("ga_checkpoint", "x")
        return [trial.suggest_float("x", 0.0, 1.0) for trial in trials]

    last = replay(study, len(study.trials) - 1, evaluate, n_repeats=2)
    return [(trial.number, trial.params) for trial in last]


def everything_shown(study: Study) -> list[Any]:
    """Return all tables, figures, schedules and reports of a study."""
    return [
        generations_dataframe(study).to_json(),
        *(plot(study).to_json() for plot in FIGURES),
        [schedule_of(study, number) for number in range(13, len(study.trials))],
        reported(study),
        replayed(study),
    ]


def test_what_is_shown_is_that_of_trials_without_the_records() -> None:
    """Table, figures, schedules, report and replay."""
    parents = [{"ga_parents": value} for value in [[13], *NO_PARENTS]]
    mutated = [{"ga_parents": [9, 4], "ga_mutated": value} for value in NO_NAMES]
    clean = [{"ga_parents": [9, 4]}] * len(mutated)

    found = everything_shown(family(*parents, *mutated))
    assert found == everything_shown(family(*[{}] * len(parents), *clean))


@pytest.mark.parametrize("value", [value for value in NO_NUMBERS if value is not True])
def test_a_generation_that_is_no_number_is_none(value: Any) -> None:
    """A schedule needs to know which sampler bred a trial."""
    with pytest.raises(ValueError, match="trial 13 has none"):
        schedule_of(family({"ga_generation": value}), 13)


def next_trials(study: Study, sampler: str, told: bool, attrs: dict[str, Any]) -> list[Any]:
    """Return the table of the next two trials, the first of which has these attributes.

    If another process tells the first, its genes' origins are derived again.
    """
    study.sampler = SAMPLERS[sampler]()
    study.enqueue_trial({}, user_attrs=attrs)
    trial = study.ask()
    value = sphere(trial)
    if told:
        study.sampler = SAMPLERS[sampler]()
    study.tell(trial, value)
    study.optimize(sphere, n_trials=1)
    return generations_dataframe(study)[14:].values.tolist()


@each_sampler
@pytest.mark.parametrize("told", [False, True])
def test_children_are_those_of_a_study_without_the_record(sampler: str, told: bool) -> None:
    """Invalid parents of a finished trial and of the new trial."""
    expected = next_trials(family(), sampler, told, {})

    for value in [[14], *NO_PARENTS]:
        attrs = {"ga_parents": value, "ga_generation": value}
        assert next_trials(family({"ga_parents": value}), sampler, told, attrs) == expected, value


def resumed(sampler: str, **attrs: Any) -> list[Any]:
    """Return the trials of a study after a run whose trial 14 a killed run left running."""
    study = family()
    study.enqueue_trial({}, user_attrs=attrs)
    study.ask()
    study.sampler = SAMPLERS[sampler]()
    optimize_generations(study, lambda trials: map(sphere, trials), 4)
    return [(t.state, t.params, t.values) for t in study.trials]


@each_sampler
def test_a_killed_run_with_invalid_parents_is_resumed(sampler: str) -> None:
    """The trial that was running gets the parents that it would get without."""
    expected = resumed(sampler)

    for value in [[12], [14], *NO_PARENTS]:
        assert resumed(sampler, ga_parents=value) == expected, value  # Trial 12 failed.


@pytest.mark.parametrize("fixed", [5, "x", None, {"x": "a"}, {"x": [0.5]}, {"x": 10**400}])
def test_invalid_values_enqueued_with_a_running_trial_are_none(fixed: Any) -> None:
    """The next trial, which predicts the running trial, is sampled without an error."""
    study = run(GASampler.adaptive(4, seed=0), 6)
    running = study.ask()
    study._storage.set_trial_system_attr(running._trial_id, "fixed_params", fixed)
    study.optimize(sphere, n_trials=1)

    assert study.trials[-1].params.keys() == {"x", "y", "z"}


@pytest.mark.parametrize("size", [*NO_NUMBERS, 1, 0], ids=str)
def test_a_population_size_that_is_no_number_of_trials_is_none(size: Any) -> None:
    """The table asks for it, the report does without generations, and a sampler writes its own."""
    study = run(RandomSampler(seed=0), 8)
    study.set_user_attr("ga_population_size", size)
    study.optimize(sphere, n_trials=12, callbacks=[DashboardReport()])

    assert "| trials | complete |" in get_note(study)
    with pytest.raises(ValueError, match="`population_size` must be given"):
        generations_dataframe(study)
    study.sampler = of_four()
    study.optimize(sphere, n_trials=4)
    assert study.user_attrs["ga_population_size"] == 4


def test_a_large_population_is_looked_for_once() -> None:
    """A report on a study whose generation has a million trials asks for one of them."""
    study = run(RandomSampler(seed=0), 8, storage=Asked())
    study.set_user_attr("ga_population_size", 1_000_000)
    study.optimize(sphere, n_trials=1, callbacks=[DashboardReport()])

    assert Asked.numbers == [999_999]


class Asked(InMemoryStorage):
    """A storage that remembers the trials that it was asked for."""

    numbers: ClassVar[list[int]] = []

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        self.numbers.append(trial_number)
        return super().get_trial_id_from_study_id_trial_number(study_id, trial_number)


@pytest.mark.parametrize(
    "result",
    [
        *NO_NUMBERS,
        [],
        ["COMPLETE", ["1.0"]],
        ["COMPLETE", [1.0], ""],
        ["COMPLETE", ["1.0", "2.0"], ""],
        ["COMPLETE", [], ""],
        ["COMPLETE", ["nan"], ""],
        ["COMPLETE", ["one"], ""],
        ["COMPLETE", [None], ""],
        ["COMPLETE", "1", ""],
        ["COMPLETE", ["1.0"], None],
        ["RUNNING", [], ""],
        ["WAITING", [], ""],
        ["NONE", [], ""],
        [None, [], ""],
        [["COMPLETE"], ["1.0"], ""],
        ["FAIL", ["1.0"], ""],
        ["PRUNED", None, ""],
        ["PRUNED", [], 1],
    ],
    ids=str,
)
def test_a_trial_whose_early_result_is_invalid_is_evaluated_again(result: Any) -> None:
    """So the study is that of an undisturbed run."""
    study = optuna.create_study(sampler=of_four())
    for _ in range(4):
        study.ask()
    study._storage.set_trial_system_attr(study.trials[2]._trial_id, "ga_early_result", result)
    optimize_generations(study, lambda trials: map(sphere, trials), 2)

    assert story(study) == story(run(of_four(), 8))


@pytest.mark.parametrize(
    "seed", [*NO_NUMBERS[:-2], 10**5000], ids=lambda seed: type(seed).__name__
)
def test_a_seed_that_is_no_number_is_replaced(seed: Any) -> None:
    """The first sampler without a seed writes its own."""
    study = optuna.create_study(sampler=GASampler(4))
    study.set_user_attr("ga_seed", seed)
    study.optimize(sphere, n_trials=8)

    assert study.user_attrs["ga_seed"] != seed

"""Wrong arguments of every public function: the error says what is wanted before work starts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import optuna
import pytest
from optuna import Study, Trial
from optuna.storages import InMemoryStorage

from optuna_ga import (
    Checkpoints,
    DashboardReport,
    GASampler,
    InParallel,
    best_of_final_generation,
    generations_dataframe,
    optimize_generations,
    recheck_best,
    replay,
    schedule_of,
)
from tests.studies import added, of_four, sphere, study_with
from tests.visualization.figures import FIGURES, Plot, three_generations

HUGE = 10**400  # No float.
UNPRINTABLE = 10**5000  # Python refuses to convert it to digits.


def no_results(trials: list[Trial]) -> list[float]:
    """Return the results of no trial."""
    return []


OF_STUDIES: dict[str, Callable[[Any], object]] = {
    "optimize_generations": lambda study: optimize_generations(study, no_results, 1),
    "recheck_best": lambda study: recheck_best(study, lambda trial: 0.0),
    "replay": lambda study: replay(study, 0, no_results),
    "schedule_of": lambda study: schedule_of(study, 0),
    "best_of_final_generation": best_of_final_generation,
    "generations_dataframe": generations_dataframe,
    "report": DashboardReport().write,
    **{plot.__name__: plot for plot in FIGURES},
}


def kind(argument: object) -> str:
    """Return the name of an argument's type, to name a test."""
    return type(argument).__name__


@pytest.mark.parametrize("function", OF_STUDIES)
@pytest.mark.parametrize("study", [None, "study", [], InMemoryStorage(), Study, sphere], ids=kind)
def test_anything_but_a_study_is_named(function: str, study: Any) -> None:
    """Also its name, its storage and the class."""
    with pytest.raises(TypeError, match=r"^`study` must be an `optuna\.Study`, but "):
        OF_STUDIES[function](study)


def takes_one(trial: Trial) -> float:
    """Return 0."""
    return 0.0


def takes_an_annotated_one(t: optuna.trial.Trial) -> float:
    """Return 0."""
    return 0.0


def takes_anything(anything: Any) -> Any:
    """Return a suggestion."""
    return anything.suggest_float("x", 0.0, 1.0)


class Objective:
    def __call__(self, trial: Any) -> float:
        return 0.0


@pytest.mark.parametrize(
    "options",
    [
        *({"evaluate": one} for one in (None, 5, [sphere], "sphere")),
        *({"evaluate": one} for one in (sphere, takes_one, takes_an_annotated_one, Objective())),
        {"evaluate": lambda trial: trial.suggest_float("x", 0.0, 1.0)},
        {"evaluate": partial(takes_one)},
        {"evaluate": lambda: []},  # noqa: PIE807 (a list takes an argument)
        {"evaluate": lambda trials, more: []},
        {"evaluate": list.append},
        *({"catch": one} for one in ("ValueError", ["ValueError"], 5, ValueError("x"), None)),
        *({"catch": one} for one in (int, (ValueError, int), KeyboardInterrupt)),
        *({"callbacks": one} for one in (print, [None], ["print"], 5)),
        *({"n_generations": one} for one in (2.0, "2", None, True)),
        *({"timeout": one} for one in ("1", True, [1])),
        *({"population_size": one} for one in ("4", 4.0, True)),
        {"show_progress_bar": "yes"},
    ],
    ids=lambda options: "-".join(options),
)
def test_wrong_arguments_cost_no_trial(options: dict[str, Any]) -> None:
    """The error names the argument."""
    study = optuna.create_study(sampler=of_four())
    (name,) = options
    with pytest.raises(TypeError, match=f"^`{name}` must "):
        optimize_generations(
            study,
            **{"evaluate": lambda trials: map(sphere, trials), "n_generations": 1, **options},
        )

    assert study.trials == []


def test_an_objective_in_place_of_evaluate_costs_no_trial() -> None:
    """It is noticed when it takes the list for a trial, and the trials stay for a better call."""
    study = optuna.create_study(sampler=of_four())
    with pytest.raises(TypeError, match="`evaluate` must take a list of trials; of an ordinary"):
        optimize_generations(study, takes_anything, 2)

    optimize_generations(study, lambda trials: map(sphere, trials), 2)
    assert [trial.number for trial in study.trials] == list(range(8))
    assert len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])) == 8


@pytest.mark.parametrize(
    "function",
    [
        lambda study: replay(study, 0, sphere),  # type: ignore[arg-type]
        lambda study: replay(study, 0, 5),  # type: ignore[arg-type]
        lambda study: recheck_best(study, 5),  # type: ignore[arg-type]
        lambda study: InParallel(5, ThreadPoolExecutor),  # type: ignore[arg-type]
        lambda study: GASampler.from_settings({"population_size": 4}),  # type: ignore[arg-type]
    ],
)
def test_wrong_functions_are_named(function: Callable[[Study], object]) -> None:
    """Before any is called."""
    with pytest.raises(TypeError, match=r"^`(evaluate|objective|settings)` must "):
        function(study_with(added(1.0)))


MAKE_SAMPLERS: list[Callable[..., GASampler]] = [
    GASampler,
    GASampler.adaptive,
    GASampler.population_based_training,
]


@pytest.mark.parametrize("make", MAKE_SAMPLERS, ids=["paper", "adaptive", "continuing"])
@pytest.mark.parametrize("name", ["population_size", "seed"])
def test_numbers_too_large_to_handle_are_refused(
    make: Callable[..., GASampler], name: str
) -> None:
    """The error shows them if Python does."""
    for value in (HUGE, UNPRINTABLE, -HUGE):
        with pytest.raises(ValueError, match=f"^`{name}` must be at "):
            make(**{name: value})


def test_a_population_of_more_than_a_million_is_refused() -> None:
    """It would take for ever; a million takes its time for the first trial alone."""
    with pytest.raises(ValueError, match="at most 1000000, but 1000001 was given"):
        GASampler(1_000_001)
    study = optuna.create_study(sampler=GASampler(1_000_000, seed=0))
    study.optimize(sphere, n_trials=3)

    assert [trial.user_attrs["ga_generation"] for trial in study.trials] == [0] * 3


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("parent_fraction", lambda value: GASampler(parent_fraction=value)),
        ("mutation_prob", lambda value: GASampler(mutation_prob=value)),
        (
            "n_repeats",
            lambda value: replay(three_generations(), 0, no_results, value),
        ),
        ("epochs", lambda value: schedule_of(study_with(added(1.0)), 0, epochs=value)),
        ("population_size", lambda value: generations_dataframe(three_generations(), value)),
    ],
)
@pytest.mark.parametrize("value", [HUGE, UNPRINTABLE], ids=["huge", "unprintable"])
def test_no_number_is_too_large_to_be_named(
    name: str, call: Callable[[Any], object], value: int
) -> None:
    """It is compared before it is converted."""
    with pytest.raises(ValueError, match=f"^`{name}` must "):
        call(value)


def test_a_timeout_beyond_all_floats_is_none() -> None:
    """It never ends."""
    study = optuna.create_study(sampler=of_four())
    optimize_generations(study, lambda trials: map(sphere, trials), 2, timeout=HUGE)

    assert len(study.trials) == 8


@pytest.mark.parametrize("plot", FIGURES, ids=lambda plot: str(plot.__name__))
def test_names_in_figures_are_strings(plot: Plot) -> None:
    """The error names the argument."""
    with pytest.raises(TypeError, match=r"^`target_name` must be a string, but 5 was given"):
        plot(three_generations(), target_name=5)


def test_an_error_shows_the_beginning_of_a_long_argument() -> None:
    """Not the whole of a data set."""
    with pytest.raises(TypeError) as error:
        optimize_generations(list(range(10**5)), no_results, 1)  # type: ignore[arg-type]

    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("mysql+pymysql://me:se@c:ret@host:33/db?x=1", "mysql+pymysql://me:***@host:33/db?x=1"),
        (["redis://:secret@host"], "['redis://:***@host']"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
    ],
)
def test_no_error_shows_a_password(given: Any, named: str) -> None:
    """An address may be given in place of a study."""
    with pytest.raises(TypeError) as error:
        optimize_generations(given, no_results, 1)

    assert named in str(error.value)
    with pytest.raises(ValueError, match=r"s3://key:\*\*\*@host"):
        Checkpoints("s3://key:secret@host/bucket")

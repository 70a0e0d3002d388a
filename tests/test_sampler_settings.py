"""The settings of a sampler say what it is, and make it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, replace
from typing import Any

import optuna
import pytest

from optuna_ga import AdaptiveSettings, GASampler, PaperSettings
from tests.studies import run, story

SAMPLERS: dict[str, Callable[..., GASampler]] = {
    "paper": lambda **options: GASampler(4, elitism=True, **options),
    "without duplicates": lambda **options: GASampler(4, avoid_duplicates=True, **options),
    "adaptive": lambda **options: GASampler.adaptive(4, surrogate=False, **options),
    "population-based": lambda **options: GASampler.population_based_training(4, **options),
}
every_sampler = pytest.mark.parametrize("make", SAMPLERS.values(), ids=list(SAMPLERS))


def test_the_settings_are_the_arguments() -> None:
    """With the defaults of those that were not given."""
    paper = GASampler(8, mutation_prob=0.1, seed=3).settings
    adaptive = GASampler.adaptive(seed=3, record=False).settings
    training = GASampler.population_based_training(8, parent_fraction=0.25, seed=3).settings

    assert paper == PaperSettings(
        population_size=8, parent_fraction=0.5, mutation_prob=0.1, seed=3, record=True
    )
    assert isinstance(adaptive, AdaptiveSettings)
    assert (adaptive.population_size, adaptive.surrogate, adaptive.record) == (10, True, False)
    assert isinstance(training, PaperSettings)
    assert training.population_based_training and training.n_parents == 2


@every_sampler
def test_settings_make_the_same_sampler_again(make: Callable[..., GASampler]) -> None:
    """The seed included."""
    sampler = make(seed=2)
    again = GASampler.from_settings(sampler.settings)

    assert again.settings == sampler.settings
    assert story(run(again, 16)) == story(run(sampler, 16))


def test_changed_settings_take_the_constants_of_their_kind() -> None:
    """As the argument of the same name does."""
    settings = GASampler.adaptive(seed=0).settings
    assert isinstance(settings, AdaptiveSettings)
    settings = replace(settings, surrogate=False)

    assert settings == GASampler.adaptive(seed=0, surrogate=False).settings
    assert story(run(GASampler.from_settings(settings), 20)) == story(
        run(GASampler.adaptive(seed=0, surrogate=False), 20)
    )


@every_sampler
def test_settings_are_read_only(make: Callable[..., GASampler]) -> None:
    """A sampler cannot become another in the middle of a study."""
    sampler = make(seed=0)

    with pytest.raises(AttributeError):
        sampler.settings = make(seed=1).settings  # type: ignore[misc]
    for name in asdict(sampler.settings):
        with pytest.raises(FrozenInstanceError):
            setattr(sampler.settings, name, None)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [("population_size", 1, ValueError), ("seed", "0", TypeError), ("record", 1, TypeError)],
)
@every_sampler
def test_changed_settings_are_checked(
    make: Callable[..., GASampler], name: str, value: Any, error: type[Exception]
) -> None:
    """As the arguments are."""
    with pytest.raises(error, match=f"^`{name}` must be "):
        replace(make(seed=0).settings, **{name: value})


@pytest.mark.parametrize(
    ("make", "name", "value", "rule"),
    [
        (GASampler, "selection", "truncation", "'generational' where .* is False"),
        (GASampler, "mutation", "perturb", "'resample' where .* is False"),
        (GASampler.population_based_training, "elitism", True, "False where .* is True"),
        (GASampler.population_based_training, "avoid_duplicates", True, "False where .* is True"),
    ],
)
def test_a_setting_of_the_other_sampler_is_refused(
    make: Callable[..., GASampler], name: str, value: Any, rule: str
) -> None:
    """No setting is ignored."""
    with pytest.raises(ValueError, match=f"^`{name}` must be {rule}, but {value!r} was given"):
        replace(make(seed=0).settings, **{name: value})


@pytest.mark.parametrize(
    ("make", "name", "rule"),
    [
        (GASampler, "population_based_training", "True or False"),
        (GASampler.adaptive, "tuning", "a Tuning or None"),
    ],
)
def test_settings_that_no_constructor_has_are_checked(
    make: Callable[..., GASampler], name: str, rule: str
) -> None:
    """Before a trial fails by them."""
    wrong: dict[str, Any] = {name: "no"}
    with pytest.raises(TypeError, match=f"^`{name}` must be {rule}, but 'no' was given"):
        replace(make(seed=0).settings, **wrong)


@pytest.mark.parametrize(
    ("sampler", "shown"),
    [
        (
            GASampler(8, seed=1),
            "GASampler(population_size=8, parent_fraction=0.5, mutation_prob=0.2, elitism=False, "
            "avoid_duplicates=False, seed=1, record=True)",
        ),
        (
            GASampler.adaptive(surrogate=False),
            "GASampler.adaptive(population_size=10, surrogate=False, seed=None, record=True)",
        ),
        (
            GASampler.population_based_training(seed=1),
            "GASampler.population_based_training(population_size=20, selection='generational', "
            "mutation='resample', parent_fraction=0.5, mutation_prob=0.2, seed=1, record=True)",
        ),
    ],
)
def test_a_sampler_shows_its_settings(sampler: GASampler, shown: str) -> None:
    """As the call that makes it again."""
    assert repr(sampler) == shown
    assert eval(shown, {"GASampler": GASampler}).settings == sampler.settings


def test_a_tuned_sampler_shows_its_constants() -> None:
    """No constructor has them as arguments."""
    settings = GASampler.adaptive(seed=1).settings
    assert isinstance(settings, AdaptiveSettings)
    tuned = replace(settings, tuning=replace(settings.constants, n_parents=5))

    assert repr(GASampler.from_settings(tuned)) == f"GASampler.from_settings({tuned!r})"


@pytest.mark.parametrize(
    "make", [GASampler, GASampler.adaptive, GASampler.population_based_training]
)
def test_an_argument_of_other_samplers_names_what_to_use(make: Callable[..., GASampler]) -> None:
    """Constraints are set on trials."""
    with pytest.raises(TypeError, match=r"trial\.set_constraint"):
        make(constraints_func=lambda trial: (0.0,))


class Talkative(GASampler):
    """A sampler with an argument of its own."""

    def __init__(self, words: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.words = words


def test_a_subclass_may_have_its_own_arguments() -> None:
    """It shows the sampler's settings."""
    sampler = Talkative("so", population_size=4, seed=0)
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=9)

    assert repr(sampler).startswith("Talkative(population_size=4, ")
    assert len(study.trials[8].user_attrs["ga_parents"]) == 2

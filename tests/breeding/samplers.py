"""The samplers that repeat no trial, and searches to run them on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from optuna import Study, Trial

from optuna_ga import AdaptiveSettings, GASampler
from tests.studies import Objective, sphere

Make = Callable[..., GASampler]

KINDS: dict[str, Make] = {
    "model-free": partial(GASampler.adaptive, surrogate=False),
    "screened": partial(GASampler.adaptive, surrogate=True),
    "distinct": partial(GASampler, avoid_duplicates=True),
}
ADAPTIVE = ["model-free", "screened"]
CHEAP = ["model-free", "distinct"]  # Where a model makes no difference.
of_every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=list(KINDS))
adaptive = pytest.mark.parametrize("make", [KINDS[name] for name in ADAPTIVE], ids=ADAPTIVE)
cheap = pytest.mark.parametrize("make", [KINDS[name] for name in CHEAP], ids=CHEAP)
model_free = KINDS["model-free"]


def mixed(trial: Trial) -> float:
    """Return the distance from an optimum within parameters of every kind."""
    rate = math.log10(trial.suggest_float("rate", 1e-5, 1.0, log=True)) + 3.0
    width = trial.suggest_int("width", 1, 64, log=True) - 16
    depth = trial.suggest_int("depth", 1, 9) - 4
    penalty = {"a": 0.2, "b": 0.0, "c": 0.4}[trial.suggest_categorical("kind", "abc")]
    return sphere(trial) + rate**2 / 9 + (width / 64) ** 2 + (depth / 9) ** 2 + penalty


def conditional(trial: Trial) -> float:
    """Return a value of parameters that belong to long trainings only."""
    epochs = trial.suggest_int("epochs", 1, 64, log=True)
    warm_up = choice(trial, "abc", "warm-up") if epochs > 16 else 0
    rate = trial.suggest_float("rate", -1.0, 1.0)
    decay = trial.suggest_float("decay", -1.0, 1.0) if rate > 0.0 and epochs > 4 else 0.5
    return abs(epochs - 20) / 20 + abs(warm_up - 1) + (rate - 0.4) ** 2 + decay**2


def tuned(sampler: GASampler, **changes: Any) -> GASampler:
    """Return an adaptive sampler with some of its constants changed."""
    settings = sampler.settings
    assert isinstance(settings, AdaptiveSettings)
    return GASampler.from_settings(
        replace(settings, tuning=replace(settings.constants, **changes))
    )


def choice(trial: Trial, choices: str, name: str = "choice") -> int:
    """Return the position of a choice."""
    return choices.index(trial.suggest_categorical(name, list(choices)))


def stepped(trial: Trial) -> float:
    """Return a value of a space of 12 points."""
    x = trial.suggest_float("x", 0.0, 1.0, step=0.5) + trial.suggest_int("n", 0, 1)
    return x + len(trial.suggest_categorical("c", ("a", "bb")))


def points(study: Study) -> list[tuple[object, ...]]:
    """Return the parameters of all trials."""
    return [tuple(trial.params.values()) for trial in study.trials]


def ask_together(study: Study, n: int, objective: Objective) -> list[tuple[Trial, float]]:
    """Return trials that are all asked before any of them suggests, and their values."""
    trials = [study.ask() for _ in range(n)]
    return [(trial, objective(trial)) for trial in trials]

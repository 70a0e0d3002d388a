"""Histories of finished trials: of all kinds, and of an objective that branches."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from optuna_ga._population.unit_scale import from_unit
from tests.studies import added, failed, pruned

MINIMIZE, MAXIMIZE = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE


UNIT = FloatDistribution(0.0, 1.0)


def random_trial(number: int, rng: random.Random) -> FrozenTrial:
    """Return a finished trial of any kind, which may tie with others or lack the gene `x`."""
    kind = rng.choice(["failed", "pruned", "complete", "complete", "without x"])
    options: dict[str, Any] = {"x": rng.random()}
    if rng.random() < 0.3:
        options["constraints"] = {"c": rng.choice([-1.0, 1.0, 2.0])}
    if kind == "failed":
        trial = failed(**options)
    elif kind == "pruned":
        reports = {step: rng.choice([0.0, 1.0, math.nan]) for step in range(rng.randrange(3))}
        trial = pruned(intermediate_values=reports, **options)
    elif kind == "complete":
        trial = added(rng.choice([math.inf, -math.inf, *range(9)]), **options)
    else:
        trial = create_trial(value=float(rng.randrange(9)))
    trial.number = number
    return trial


def random_trials(n: int) -> list[FrozenTrial]:
    """Return finished trials of all kinds."""
    rng = random.Random(0)
    return [random_trial(number, rng) for number in range(n)]


def two_levels(genes: dict[str, Any]) -> set[str]:
    """Return the parameters of an objective with a choice within a choice."""
    if genes["a"] == "deep":
        return {"a", "b", "x"} if genes["b"] == "deeper" else {"a", "b"}
    return {"a", "y"}


TWO_LEVELS: dict[str, BaseDistribution] = {
    "a": CategoricalDistribution(["flat", "deep"]),
    "b": CategoricalDistribution(["deep", "deeper"]),
    "x": UNIT,
    "y": IntDistribution(1, 100, log=True),
}


def branching(n: int) -> list[FrozenTrial]:
    """Return finished trials of an objective with two levels of branches, some of them failed."""
    rng = np.random.default_rng(1)
    trials = []
    for number in range(n):
        genes = {name: from_unit(kind, rng.random()) for name, kind in TWO_LEVELS.items()}
        params = {name: gene for name, gene in genes.items() if name in two_levels(genes)}
        state = TrialState.FAIL if rng.random() < 0.3 else TrialState.COMPLETE
        if state == TrialState.FAIL:  # Some fail before they have all parameters.
            params = dict(list(params.items())[: rng.integers(len(params) + 1)])
        trials.append(
            create_trial(
                state=state,
                value=float(number) if state == TrialState.COMPLETE else None,
                params=params,
                distributions={name: TWO_LEVELS[name] for name in params},
            )
        )
    return trials

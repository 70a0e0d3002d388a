"""Optuna's own test cases for samplers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from optuna_ga import GASampler

SAMPLERS = {
    "defaults": GASampler,
    "bred-early": partial(GASampler, 2, parent_fraction=1.0),
    "elitism": partial(GASampler, 2, parent_fraction=1.0, elitism=True),
    "unrecorded": partial(GASampler, 2, parent_fraction=1.0, record=False),
    "distinct": partial(GASampler, 2, parent_fraction=1.0, avoid_duplicates=True),
    "model-free": partial(GASampler.adaptive, 2, surrogate=False),
    "screened": partial(GASampler.adaptive, 2, surrogate=True),
}


class TestOptunasCases(
    BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    @pytest.fixture(params=SAMPLERS.values(), ids=list(SAMPLERS))
    def sampler(self, request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
        make: Callable[[], BaseSampler] = request.param
        return make


class TestPopulationBasedTraining(SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return GASampler.population_based_training

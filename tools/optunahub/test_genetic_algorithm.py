"""Optuna's own test cases, and what the sampler records."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import optuna
import optunahub
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

GASampler = optunahub.load_local_module(
    "samplers/genetic_algorithm", registry_root="package/"
).GASampler

SAMPLERS = {
    "defaults": GASampler,
    "elitism": partial(GASampler, population_size=2, parent_fraction=1.0, elitism=True),
    "adaptive": partial(GASampler.adaptive, population_size=2),
}


class TestGASampler(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """Optuna's test cases for samplers, with one objective and with several."""

    @pytest.fixture(params=SAMPLERS.values(), ids=list(SAMPLERS))
    def sampler(self, request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
        """Factory of the sampler to test."""
        make: Callable[[], BaseSampler] = request.param
        return make


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=list(SAMPLERS))
def test_generations_and_parents_are_recorded(make: Callable[..., BaseSampler]) -> None:
    """Trial n belongs to generation n // population_size, and was bred from earlier trials."""
    study = optuna.create_study(sampler=make(population_size=4, seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=12)

    attributes = [trial.user_attrs for trial in study.trials]
    assert [one["ga_generation"] for one in attributes] == [0] * 4 + [1] * 4 + [2] * 4
    assert all("ga_parents" not in one for one in attributes[:4])
    for number in range(4, 12):
        assert 0 <= min(attributes[number]["ga_parents"]) < number

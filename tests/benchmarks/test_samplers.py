"""The table of samplers, and the variants of the adaptive sampler."""

from __future__ import annotations

import pytest

from benchmarks.samplers import ABLATIONS, STAGES, Search
from optuna_ga import AdaptiveSettings, GASampler
from tests.studies import run, sphere

ADAPTIVE = [name for name in [*ABLATIONS, *STAGES] if not name.startswith("ga")]


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_variant_of_the_adaptive_sampler_reaches_its_later_stage(name: str) -> None:
    """It begins with thirty trials of a study with two floats."""
    study = run({**ABLATIONS, **STAGES}[name](Search(0)), 45, sphere)

    assert len(study.trials) == 45
    assert study.best_value < 0.5


def test_a_setting_is_changed_in_both_stages_or_in_the_later_one_alone() -> None:
    """Without the model there is no later stage."""
    found = {}
    for name, factory in {**ABLATIONS, **STAGES}.items():
        sampler = factory(Search(0))
        if isinstance(sampler, GASampler) and isinstance(sampler.settings, AdaptiveSettings):
            found[name] = sampler.settings.constants

    both, alone = found["14-parents"], found["no-quadratic"]
    assert both.n_parents == 14
    assert both.later is not None
    assert both.later.n_parents == 14
    assert both.later.principal_axes
    assert alone.later is not None
    assert alone.later.quadratic_prob == 0.0
    assert found["one-stage"].later is None
    assert found["model-free-no-affine"].later is None

"""Genes that a candidate is given, in the distributions that its parameters turn out to have."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna import Trial
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_ga import GASampler
from optuna_ga._breeding.given_genes import GivenGenes

OWN: dict[str, BaseDistribution] = {
    "x": FloatDistribution(0.0, 10.0),
    "n": IntDistribution(0, 9),
    "c": CategoricalDistribution("abcd"),
}
# 2.5, 3 and "b".
GIVEN = GivenGenes(np.array([0.25, 0.35, 0.375]), OWN)


def test_genes_are_those_of_the_same_values() -> None:
    """In other ranges and among other choices; of the nearest value where a range excludes it."""
    others: dict[str, BaseDistribution] = {
        "c": CategoricalDistribution("ba"),
        "y": FloatDistribution(0.0, 1.0),
        "x": FloatDistribution(0.0, 5.0),
        "n": IntDistribution(5, 6),
    }

    assert GIVEN.within(OWN).tolist() == [0.25, 0.35, 0.375]
    assert GIVEN.within(others) == pytest.approx([0.25, np.nan, 0.5, 0.25], nan_ok=True)


def test_what_is_no_value_of_another_kind_is_not_given() -> None:
    """Such as a choice that is gone, or an integer that has become a float."""
    others: dict[str, BaseDistribution] = {
        "c": CategoricalDistribution("cd"),
        "n": FloatDistribution(0.0, 9.0),
    }

    assert np.isnan(GIVEN.within(others)).all()


@pytest.mark.parametrize("constrained", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_range_that_depends_on_another_parameter_is_searched_as_well(
    constrained: bool, seed: int
) -> None:
    """The loss is a quadratic function, of which a model knows the lowest point."""

    def objective(trial: Trial) -> float:
        x = trial.suggest_float("x", 0.2, 1.0)
        y, z = trial.suggest_float("y", 0.0, x), trial.suggest_float("z", 0.0, 1.0)
        if constrained:
            trial.set_constraint("sum", 0.8 - x - y)
            trial.set_constraint("less", z - y)
        return (x - 0.7) ** 2 + 5 * (y - 0.35) ** 2 + (z - 0.3) ** 2

    study = optuna.create_study(sampler=GASampler.adaptive(seed=seed))
    study.optimize(objective, n_trials=80)

    assert study.best_value < 1e-15

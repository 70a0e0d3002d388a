"""The features of the model: choices, grids, and continuous numbers magnified."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_ga._breeding.model.features import Features
from optuna_ga._population.unit_scale import grid
from tests.breeding.histories import UNIT

ABC = CategoricalDistribution("abc")


def column(distribution: BaseDistribution, best: list[float], genes: list[float]) -> list[float]:
    """Return the features of one parameter's genes."""
    features = Features([distribution], np.array(best)[:, None])
    return [float(value) for value in features(np.array(genes)[:, None])[:, 0]]


@pytest.mark.parametrize("n", [1, 2, 3, 5040])
def test_a_choice_is_its_position(n: int) -> None:
    """A missing choice is none of them."""
    distribution = CategoricalDistribution(range(n))
    positions = grid(distribution)
    assert positions is not None

    assert column(distribution, [0.5], positions.tolist()) == list(range(n))
    assert column(distribution, [0.5], [math.nan]) == [-1.0]


@pytest.mark.parametrize(
    "distribution", [IntDistribution(1, 9), FloatDistribution(0, 1, step=0.25)]
)
def test_a_number_on_a_grid_stays_on_the_unit_scale(distribution: BaseDistribution) -> None:
    """It cannot come closer to another than a step. A missing number is in the middle."""
    assert column(distribution, [0.3, 0.4], [0.1, 0.9, math.nan]) == [0.1, 0.9, 0.5]


def test_the_region_of_the_best_is_magnified() -> None:
    """One width from its centre is the logarithm of 2 on either side, however small it is."""
    for width in (0.5, 1e-3, 1e-6):
        best = [0.3 - width / 2, 0.3, 0.3 + width / 2]
        found = column(UNIT, best, [0.3 - width, 0.3, 0.3 + width, math.nan])
        assert found == pytest.approx([-math.log(2), 0.0, math.log(2), 0.0], abs=1e-6)


def test_without_best_trials_numbers_stay_on_the_unit_scale() -> None:
    """A missing one is in the middle of the range."""
    features = Features([UNIT, IntDistribution(1, 9)], None)
    genes = np.array([[0.1, 0.9], [math.nan, math.nan]])

    assert features(genes).tolist() == [[0.1, 0.9], [0.5, 0.5]]


@given(
    arrays(float, (7, 1), elements=st.floats(0.0, 1.0)),
    st.lists(st.floats(0.0, 1.0), min_size=2, max_size=9),
)
def test_continuous_numbers_keep_their_order(best: np.ndarray, genes: list[float]) -> None:
    """Features are finite, and those of larger numbers are no smaller."""
    found = column(UNIT, best[:, 0].tolist(), sorted(genes))

    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0.0).all()


@pytest.mark.parametrize("best", [[], [math.nan], [0.9, math.nan], [math.nan] * 4])
def test_fewer_than_two_best_magnify_nothing(best: list[float]) -> None:
    """The region is then the whole range."""
    found = column(UNIT, best, [0.0, 0.5, 1.0])

    assert found == pytest.approx([-math.log(1.5), 0.0, math.log(1.5)])


def test_equal_best_trials_are_a_region() -> None:
    """Where all agree, the scale stays finite."""
    found = column(UNIT, [0.3, 0.3, 0.3], [0.0, 0.3, 1.0])

    assert found[1] == 0.0
    assert found[2] > -found[0] > 15.0


def test_columns_do_not_depend_on_each_other() -> None:
    """Each parameter has the feature that it would have alone."""
    distributions = [UNIT, ABC, IntDistribution(0, 3), UNIT]
    rng = np.random.default_rng(0)
    best, genes = rng.random((5, 4)), rng.random((6, 4))
    genes[0] = math.nan

    together = Features(distributions, best)

    assert together.categorical.tolist() == [False, True, False, False]
    for i, distribution in enumerate(distributions):
        alone = column(distribution, best[:, i].tolist(), genes[:, i].tolist())
        assert together(genes)[:, i].tolist() == alone


def test_axes_of_the_best_are_magnified_alike() -> None:
    """A thin line of trials in any direction is as wide across as along: features are the same.

    Up to the order and the signs of the axes, which a rotation and other widths do not change.
    """
    rng = np.random.default_rng(0)
    along = rng.standard_normal((40, 3))
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    found = []
    for widths, axes in (([0.1, 0.05, 0.02], np.eye(3)), ([1e-2, 1e-4, 1e-6], rotation)):
        places = 0.5 + (along * widths) @ axes
        features = Features([UNIT] * 3, places, principal=True)
        found.append(np.abs(features(places)))

    assert found[0] == pytest.approx(found[1], abs=0.1)
    assert found[0].max() < math.log(2.0)


def test_a_missing_number_is_in_the_middle_of_the_best_along_all_axes() -> None:
    """It does not move the other numbers."""
    best = np.random.default_rng(0).random((9, 2))
    features = Features([UNIT] * 2, best, principal=True)
    centre = best.mean(axis=0)

    missing = features(np.array([[math.nan, math.nan], [0.9, math.nan]]))

    assert missing == pytest.approx(features(np.array([centre, [0.9, centre[1]]])))
    assert missing[0] == pytest.approx([0.0, 0.0])


def test_a_number_that_few_of_the_best_have_is_magnified_by_itself() -> None:
    """The others have the features that they would have without it."""
    rng = np.random.default_rng(0)
    best = rng.random((9, 3))
    best[1:, 2] = math.nan
    genes = rng.random((5, 3))
    features = Features([UNIT] * 3, best, principal=True)(genes)

    assert features[:, :2] == pytest.approx(
        Features([UNIT] * 2, best[:, :2], principal=True)(genes[:, :2])
    )
    assert features[:, 2].tolist() == column(UNIT, [0.5], genes[:, 2].tolist())


def test_no_more_best_trials_than_numbers_have_no_axes() -> None:
    """Numbers are magnified one by one, and so are all on a grid and without best trials."""
    best, genes = np.random.default_rng(0).random((2, 3, 3))
    grids = [IntDistribution(1, 9), ABC, UNIT]

    for distributions in ([UNIT] * 3, grids):
        principal, plain = (
            Features(distributions, best, principal=p)(genes) for p in (True, False)
        )
        assert principal.tolist() == plain.tolist()
    unmagnified = Features([UNIT] * 3, None, principal=True)
    assert unmagnified(genes).tolist() == genes.tolist()


@pytest.mark.parametrize(
    "distribution", [IntDistribution(1, 2000), FloatDistribution(0.0, 1999.0, step=1.0)]
)
def test_a_fine_grid_is_magnified_to_its_steps_at_most(distribution: BaseDistribution) -> None:
    """Where the best trials agree, a step is a width: its feature is the logarithm of 2."""
    best = np.full((30, 1), 999.5 / 2000)
    found = Features([distribution], best)(np.array([[998.5], [999.5], [1000.5]]) / 2000)

    assert found[:, 0] == pytest.approx([-math.log(2.0), 0.0, math.log(2.0)], abs=1e-6)

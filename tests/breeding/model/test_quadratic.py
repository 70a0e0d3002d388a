"""The lowest point of a quadratic model, against minima in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from optuna_ga._breeding.model.quadratic import _lowest_within, lowest_point


def quadratic(
    n: int, dimension: int, condition: float, *, minimum: float = 0.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return points around 0.4, the best first, and their losses under a turned quadratic."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    points = 0.4 + 0.01 * rng.standard_normal((n, dimension))
    along = (points - minimum) @ axes
    losses = (along**2 @ np.logspace(0.0, math.log10(condition), dimension)) + 7.0
    order = np.argsort(losses)
    return points[order], losses[order]


@pytest.mark.parametrize("dimension", [1, 2, 5, 10])
@pytest.mark.parametrize("condition", [1.0, 1e4])
def test_the_minimum_of_a_quadratic_is_found(dimension: int, condition: float) -> None:
    """Also in a narrow valley, if it is within reach."""
    points, losses = quadratic(100, dimension, condition, minimum=0.4)

    assert lowest_point(points, losses) == pytest.approx([0.4] * dimension, abs=1e-5)


def test_with_few_trials_the_model_has_squares_alone() -> None:
    """In 20 dimensions 231 coefficients have too few; a round bowl has no products in any axes."""
    points, losses = quadratic(100, 20, 1.0, minimum=0.4)

    assert lowest_point(points, losses) == pytest.approx([0.4] * 20, abs=1e-5)


def test_a_minimum_out_of_reach_is_approached() -> None:
    """The step is as long as the farthest trial is away, in deviations, and lowers the loss."""
    points, losses = quadratic(60, 2, 1.0, minimum=0.9)

    found = lowest_point(points, losses)

    assert found is not None
    assert ((found - 0.9) ** 2).sum() < ((points[0] - 0.9) ** 2).sum()
    assert found.min() > 0.4
    assert found.max() < 0.5


def test_noise_has_no_minimum() -> None:
    """Of models of losses that are noise alone at most one in fifty is trusted."""
    rng = np.random.default_rng(0)
    found = []
    for dimension in (1, 2, 3, 5):
        for _ in range(50):
            losses = np.sort(rng.standard_normal(60))
            found.append(lowest_point(rng.random((60, dimension)), losses))

    assert sum(point is not None for point in found) <= len(found) / 50


def test_a_saddle_is_left_along_its_falling_axis() -> None:
    """Also from its middle, where the loss falls in neither direction: the hard case."""
    for gradient in ([0.0, 1.0], [0.0, 0.0], [1e-14, 0.0]):
        step = _lowest_within(10.0, np.array(gradient), np.array([-1.0, 1.0]))

        assert np.linalg.norm(step) == pytest.approx(10.0)
        assert abs(step[0]) > 9.9


@pytest.mark.parametrize("reach", [0.1, 1.0, 10.0])
def test_the_lowest_of_many_steps_is_found(reach: float) -> None:
    """Compared with 100,000 random steps of at most that length."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        gradient, curvatures = rng.standard_normal(3), np.sort(rng.standard_normal(3))
        step = _lowest_within(reach, gradient, curvatures)
        others = rng.standard_normal((100_000, 3))
        others *= (
            reach
            * rng.random((100_000, 1)) ** (1 / 3)
            / np.linalg.norm(others, axis=1, keepdims=True)
        )
        fall = [s @ gradient + s**2 @ curvatures / 2 for s in (step, others)]

        assert np.linalg.norm(step) <= reach * (1 + 1e-9)
        assert fall[0] <= fall[1].min() + 1e-9


@pytest.mark.parametrize("shape", ["plane", "saddle"])
def test_where_nothing_bounds_the_loss_the_step_is_bounded(shape: str) -> None:
    """The loss at the end of the step is lower than at any trial."""
    points, _ = quadratic(60, 2, 1.0)
    x, y = points.T - 0.4
    losses = x + 2 * y if shape == "plane" else x * y
    order = np.argsort(losses)

    found = lowest_point(points[order], losses[order])

    assert found is not None
    x, y = found - 0.4
    assert (x + 2 * y if shape == "plane" else x * y) < losses.min()
    assert np.abs(found - 0.4).max() < 0.2


def test_the_point_is_in_the_ranges() -> None:
    """It is on a bound if the minimum is beyond."""
    rng = np.random.default_rng(0)
    points = rng.random((50, 2)) * 0.1
    losses = points.sum(axis=1)
    order = np.argsort(losses)

    found = lowest_point(points[order], losses[order])

    assert found is not None
    assert found.min() == 0.0


def test_without_differences_there_is_no_point() -> None:
    """Nor is there with too few trials."""
    points, losses = quadratic(60, 3, 1.0)

    assert lowest_point(points, np.zeros(60)) is None
    assert lowest_point(np.full((60, 3), 0.5), losses) is None
    assert lowest_point(points[:9], losses[:9]) is None
    assert lowest_point(points[:0], losses[:0]) is None


def test_huge_losses_do_not_overflow() -> None:
    """Their minimum is the same."""
    points, losses = quadratic(60, 3, 1.0, minimum=0.4)
    scaled = ((losses - 7.0) / (losses - 7.0).max() - 0.5) * 2.0 * 1.5e308

    assert lowest_point(points, scaled) == pytest.approx([0.4] * 3, abs=1e-5)


@pytest.mark.parametrize("dimension", [1, 3, 20])
def test_trials_far_from_the_fittest_do_not_move_the_minimum(dimension: int) -> None:
    """There the loss is no quadratic. In 20 dimensions the model has squares alone."""
    rng = np.random.default_rng(0)
    near = 0.4 + 0.01 * rng.standard_normal((90, dimension))
    losses = ((near - 0.4) ** 2).sum(axis=1)
    order = np.argsort(losses)
    far, worse = rng.random((30, dimension)), 1.0 + rng.random(30)
    found = lowest_point(np.vstack([near[order], far]), np.append(losses[order], np.sort(worse)))

    assert found == pytest.approx([0.4] * dimension, abs=1e-5)

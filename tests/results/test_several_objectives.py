"""The table of a study with several objectives."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.study import StudyDirection

from optuna_ga import GASampler, generations_dataframe
from optuna_ga._population.fitness import Rank
from optuna_ga._population.hypervolume import Hypervolume
from optuna_ga._results.improvements import Improvements
from tests import several
from tests.several import study_of_two, two_parabolas, with_values
from tests.studies import of_four, run


def test_the_table_has_fronts_and_the_hypervolume() -> None:
    """Values, fronts, crowding and progress of a study by hand, one objective maximized."""
    points = [(4, 0), (1, 3), (2, 2), (4, 4), (0, 1)]
    history = [with_values(first, second) for first, second in points]
    history.insert(3, with_values(0, 9, constraints={"c": 1.0}))
    history.append(optuna.create_trial(state=optuna.trial.TrialState.FAIL))
    study = study_of_two(of_four(), ["minimize", "maximize"], history)
    table = generations_dataframe(study)

    assert table["values_0"].tolist()[:6] == [4, 1, 2, 0, 4, 0]
    assert table["values_1"].tolist()[:6] == [0, 3, 2, 9, 4, 1]
    assert table["improved"].tolist() == [True, True, False, False, True, True, False]
    missing = math.nan
    np.testing.assert_array_equal(table["front"], [2, 0, 1, missing, 0, 0, missing])
    np.testing.assert_array_equal(table["crowding"][[1, 3, 4]], [2.0, missing, math.inf])
    # The box is 4 wide and 4 high: from 0 to 4, and from 4 to 0.
    shares = [0, 9 / 16, 9 / 16, 9 / 16, 9 / 16, 10 / 16, 10 / 16]
    assert table["hypervolume"].tolist() == pytest.approx(shares)


@pytest.mark.parametrize("directions", [["minimize"] * 2, ["maximize", "minimize"]])
def test_the_table_agrees_with_optuna(directions: list[str]) -> None:
    """Front 0 is the best trials; a trial improved if it was among the best when it finished."""
    study = run(GASampler(6, seed=1), 40, two_parabolas, directions=directions)
    table = generations_dataframe(study)
    best = {trial.number for trial in study.best_trials}
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    points = [tuple(s * v for s, v in zip(signs, t.values, strict=True)) for t in study.trials]

    assert set(table["number"][table["front"] == 0]) == best
    for number, point in enumerate(points):
        before = points[:number]
        entered = not any(several.dominates(other, point) or other == point for other in before)
        assert table["improved"][number] == entered
    assert (np.diff(table["hypervolume"]) >= 0).all()


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e308])
def test_infinite_and_huge_values_have_a_hypervolume(value: float) -> None:
    """An infinite value counts as the best or the worst finite value."""
    history = [with_values(*pair) for pair in ((0, 1), (1, 0), (value, -1e308))]
    table = generations_dataframe(study_of_two(of_four(), history=history))

    assert table["hypervolume"].between(0, 1).all()


def test_many_objectives_have_no_hypervolume() -> None:
    """It would take minutes; the rest of the table is there."""
    history = [with_values(*values) for values in np.eye(8).tolist()]
    table = generations_dataframe(study_of_two(of_four(), ["minimize"] * 8, history))

    assert table["hypervolume"].isna().all()
    assert table["front"].tolist() == [0] * 8


@pytest.mark.parametrize("n", [2, 3, 4])
def test_the_hypervolume_so_far_is_that_of_the_trials_so_far(n: int) -> None:
    """On a grid, where points repeat, against the count of dominated cells; once infinite."""
    points = np.random.default_rng(n).integers(0, 4, size=(25, n)).tolist()
    points[:2] = [[0] + [3] * (n - 1), [3] * (n - 1) + [0]]
    history = [with_values(*point) for point in points]
    history.insert(7, with_values(*[math.inf] * n))
    table = generations_dataframe(study_of_two(of_four(), ["minimize"] * n, history))
    finite = [*points[:7], [3] * n, *points[7:]]
    expected = [several.volume(finite[:k], [3] * n) / 3**n for k in range(1, 27)]

    assert table["hypervolume"].tolist() == pytest.approx(expected)


@given(
    st.lists(
        st.tuples(*[st.sampled_from([0.0, 1.0, 2.0, 5.0, math.inf, -math.inf])] * 3),
        min_size=1,
        max_size=12,
    ),
    st.integers(2, 3),
)
def test_gains_add_up_to_the_hypervolume(points: list[tuple[float, ...]], n: int) -> None:
    """Point by point, with infinite losses, after which earlier points are behind others."""
    losses = np.array(points)[:, :n]
    volume = Hypervolume(losses)
    shares = Improvements(
        [Rank(0.0, False, 0, tuple(loss), i) for i, loss in enumerate(losses.tolist())],
        [StudyDirection.MINIMIZE] * n,
    ).bests

    assert shares == pytest.approx([volume.of(range(k + 1)) for k in range(len(losses))])

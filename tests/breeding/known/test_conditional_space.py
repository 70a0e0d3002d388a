"""The parameters that children will have, predicted from earlier trials."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._breeding.known import learnt_space
from optuna_ga._breeding.known.conditional_space import ConditionalSpace
from optuna_ga._breeding.known.known_trials import KnownTrials
from optuna_ga._population.unit_scale import from_unit, snapped_to_grid
from tests.breeding.histories import MINIMIZE, TWO_LEVELS, UNIT, branching, two_levels
from tests.breeding.known.test_known_trials import trial_with


def layers(genes: dict[str, Any]) -> set[str]:
    """Return the parameters of an objective with a number of layers."""
    return {"n_layers", "rate", *(f"units {k}" for k in range(genes["n_layers"]))}


LAYERS: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1.0, log=True),
    "n_layers": IntDistribution(1, 4),
    **{f"units {k}": IntDistribution(8, 64, step=8) for k in range(4)},
}


def switches(genes: dict[str, Any]) -> set[str]:
    """Return the parameters of an objective with many independent switches."""
    return {*"abcdefgh", *(name.upper() for name in "abcdefgh" if genes[name])}


SWITCHES: dict[str, BaseDistribution] = {
    **{name: CategoricalDistribution([False, True]) for name in "abcdefgh"},
    **dict.fromkeys("ABCDEFGH", UNIT),
}


def everything(genes: dict[str, Any]) -> set[str]:
    """Return the parameters of an objective without branches."""
    return set(genes)


@pytest.mark.parametrize(
    ("asks", "space"),
    [(two_levels, TWO_LEVELS), (layers, LAYERS), (switches, SWITCHES), (everything, LAYERS)],
)
def test_the_parameters_of_a_child_are_predicted(
    asks: Callable[[dict[str, Any]], set[str]], space: dict[str, BaseDistribution]
) -> None:
    """After 60 random trials the parameters of any child are predicted without an error."""
    rng = np.random.default_rng(0)
    genes = np.column_stack([snapped_to_grid(found, rng.random(260)) for found in space.values()])
    values = [
        {name: from_unit(space[name], u) for name, u in zip(space, row, strict=True)}
        for row in genes.tolist()
    ]
    asked = np.array([[name in asks(one) for name in space] for one in values])
    trials = np.where(asked[:60], genes[:60], np.nan)

    learnt = ConditionalSpace(trials, list(space.values()))
    assert (learnt.present(genes[60:]) == asked[60:]).all()
    for child, has in zip(genes[60:], asked[60:], strict=True):
        assert (learnt.expected(np.where(has, child, np.nan)) == has).all()


def test_what_depends_on_an_unknown_gene_is_not_expected() -> None:
    """Parameters of both levels follow from the first choice only where it is not deep."""
    genes = np.array([[0.25, np.nan, np.nan, 0.5], [0.75, 0.25, np.nan, np.nan]])
    deeper = [0.75, 0.75, 0.5, np.nan]
    learnt = ConditionalSpace(np.vstack([genes, [deeper]]), list(TWO_LEVELS.values()))
    found = [learnt.expected(np.array([a, *[np.nan] * 3])) for a in (np.nan, 0.25, 0.75)]

    assert found[0] is None
    np.testing.assert_equal(found[1], [True, False, False, True])
    assert found[2] is None


def random_children(known: KnownTrials, n: int = 200) -> np.ndarray:
    """Return positions of values of all known parameters."""
    rng = np.random.default_rng(2)
    kinds = known.matrix.distributions.values()
    return np.column_stack([snapped_to_grid(kind, rng.random(n)) for kind in kinds])


@pytest.mark.parametrize(("recent", "nodes"), [(15, 5000), (500, 5000), (500, 20)])
def test_branches_are_the_same_whenever_they_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, recent: int, nodes: int
) -> None:
    """Trials added one by one lead to the same predictions as all trials at once."""
    monkeypatch.setattr(learnt_space, "_RECENT", recent)
    monkeypatch.setattr(learnt_space, "_MAX_NODES", nodes)
    finished: list[FrozenTrial] = []
    followed = KnownTrials([MINIMIZE], 10, finished)
    for trial in branching(80):
        finished.append(trial)
        followed.take_in()
        resumed = KnownTrials([MINIMIZE], 10, list(finished))
        resumed.take_in()
        children = random_children(followed)
        np.testing.assert_array_equal(followed.masked(children), resumed.masked(children))


def test_branches_agree_with_every_complete_trial() -> None:
    """A complete trial that was mispredicted makes the trees anew; failed trials do not."""
    finished: list[FrozenTrial] = []
    known = KnownTrials([MINIMIZE], 10, finished)
    for trial in branching(80):
        finished.append(trial)
        known.take_in()
        complete = known.matrix.units[known.matrix.complete]
        predicted = known.masked(np.nan_to_num(complete))
        np.testing.assert_array_equal(np.isnan(predicted), np.isnan(complete))


def test_branches_of_long_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """An objective may have other branches from some trial on."""
    monkeypatch.setattr(learnt_space, "_RECENT", 20)
    before = [trial_with(c="a", x=0.5), trial_with(c="b")] * 15
    since = [trial_with(c="a"), trial_with(c="b", x=0.5)] * 15
    known = KnownTrials([MINIMIZE], 10, before + since)
    known.take_in()
    predicted = known.masked(np.array([[0.25, 0.5], [0.75, 0.5]]))

    np.testing.assert_array_equal(predicted, [[0.25, math.nan], [0.75, 0.5]])


def test_where_trials_differ_the_latest_decide() -> None:
    """An objective may have got another parameter, without a discrete one that tells it."""
    before, since = [trial_with(x=0.1), trial_with(x=0.2)] * 10, [trial_with(x=0.3, y=0.4)]
    for n, y in [(4, math.nan), (5, 0.5)]:
        known = KnownTrials([MINIMIZE], 10, before + since * n)
        known.take_in()

        np.testing.assert_array_equal(known.masked(np.array([[0.5, 0.5]])), [[0.5, y]])


def test_failed_trials_show_branches_where_no_recent_trial_is_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without recent complete trials, failed ones are all there is to predict from."""
    monkeypatch.setattr(learnt_space, "_RECENT", 5)
    failure = trial_with(TrialState.FAIL, x=0.5, y=0.5)
    for n_failures, y in [(4, math.nan), (6, 0.5)]:
        known = KnownTrials([MINIMIZE], 10, [trial_with(x=0.5), *[failure] * n_failures])
        known.take_in()
        np.testing.assert_array_equal(known.masked(np.array([[0.5, 0.5]])), [[0.5, y]])

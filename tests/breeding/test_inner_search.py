"""The inner search, on ratings whose highest is known."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_ga._breeding.adaptive_settings import MODELLED
from optuna_ga._breeding.inner_search import highest_rated

SPACE: dict[str, BaseDistribution] = {
    **{f"x{i}": FloatDistribution(0.0, 1.0) for i in range(4)},
    "n": IntDistribution(0, 9),
    "c": CategoricalDistribution("abc"),
}
# The middles of the cells of an integer and of a choice.
BEST = np.array([0.31, 0.52, 0.73, 0.94, 0.35, 5 / 6])


class Bowl:
    """Ratings that fall with the square of the distance from the best genes, by call."""

    def __init__(self) -> None:
        self.rated: list[np.ndarray] = []

    def __call__(self, genes: np.ndarray) -> np.ndarray:
        self.rated.append(genes)
        return np.asarray(-((genes - BEST) ** 2).sum(axis=1))


def found(bowl: Bowl, number: int) -> np.ndarray:
    """Return the genes that are rated highest, from a random first generation."""
    genes = np.random.default_rng(number).random((256, len(SPACE)))
    return highest_rated(genes, bowl, SPACE, MODELLED, (0, number))


@pytest.mark.parametrize("number", range(5))
def test_the_best_genes_are_found(number: int) -> None:
    """Within a few hundredths, which no random generation of this size reaches."""
    bowl = Bowl()
    genes = found(bowl, number)

    assert np.abs(genes - BEST).max() < 0.06
    assert np.abs(bowl.rated[0] - BEST).max(axis=1).min() > 0.1


def test_what_is_found_is_the_highest_of_all_that_were_rated() -> None:
    """Genes are on the unit scale, and in the middle of their cells."""
    bowl = Bowl()
    genes = found(bowl, 0)
    rated = np.vstack(bowl.rated)
    bred = np.vstack(bowl.rated[1:])

    assert len(rated) == 5 * 256
    assert (genes == rated[Bowl()(rated).argmax()]).all()
    assert ((bred >= 0.0) & (bred <= 1.0)).all()
    assert np.unique(np.round(10 * bred[:, 4] - 0.5, 9)).tolist() == [*range(10)]
    assert len(np.unique(np.round(bred[:, 5], 9))) == 3


def test_draws_depend_on_the_key_alone() -> None:
    """Another trial finds other genes."""
    assert (found(Bowl(), 3) == found(Bowl(), 3)).all()
    bowls = Bowl(), Bowl()
    genes = np.random.default_rng(0).random((256, len(SPACE)))
    for number, bowl in enumerate(bowls):
        highest_rated(genes, bowl, SPACE, MODELLED, (0, number))

    assert (bowls[0].rated[0] == bowls[1].rated[0]).all()
    assert (bowls[0].rated[1] != bowls[1].rated[1]).any()

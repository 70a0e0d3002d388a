"""The children that are left where a space is nearly exhausted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from optuna_ga._breeding.known.untried import untried_children

SPACE: dict[str, BaseDistribution] = {
    "n": IntDistribution(1, 99),
    "kind": CategoricalDistribution(list(range(100))),
}


@pytest.mark.parametrize("position", range(0, 9_900, 1_100))
def test_the_last_of_9900_points_is_found(position: int) -> None:
    """Random draws would miss it in more than one case of three."""
    last = np.array([(position // 100 + 0.5) / 99, (position % 100 + 0.5) / 100])
    known: Any = SimpleNamespace(
        matrix=SimpleNamespace(distributions=SPACE),
        new=lambda children: np.isclose(children, last).all(axis=1),
    )

    found = untried_children(known, 0, 7, np.full(2, np.nan))

    assert found == pytest.approx(last[None])

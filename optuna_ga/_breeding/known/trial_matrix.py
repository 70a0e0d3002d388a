"""The finished trials of a study as a matrix of genes, one row per trial in order of arrival.

Shapes: N trials, D parameters. Genes are positions on the unit scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._breeding.known.best_losses import BestLosses
from optuna_ga._breeding.known.columns import Columns, Distributions
from optuna_ga._population.choices import are_equal
from optuna_ga._population.elites import Archive, Fittest
from optuna_ga._population.fitness import Rank, rank
from optuna_ga._population.genes import is_own_value
from optuna_ga._population.unit_scale import grid, inherited

_N_LATEST = 20  # Complete trials that tell which parameters the objective has at present.


class TrialMatrix:
    """Finished trials, their genes, and the fittest of them.

    The amortized cost of adding a trial does not depend on how many there are.

    Args:
        directions: The study's directions.
        n_fittest: How many of the fittest trials are kept in order.

    Attributes:
        columns: The parameters that have a column.
        trials: The trials, by row.
        constraints: Their constraints by name, which take long to read from a trial.
        ranks: Their ranks, None without a fitness.
        has_failures: Whether a trial has failed.
        has_infeasible: Whether a trial is infeasible.
        differ: Whether some trials are fitter than others.
        best_losses: The lowest loss after each trial, of the first objective.
        has_foreign_values: Whether a trial has had a number that its own distribution lacks, as
            enqueued trials may.
    """

    def __init__(self, directions: Sequence[StudyDirection], n_fittest: int) -> None:
        self.directions = directions
        self._n_fittest = n_fittest
        self._fittest = self._new_fittest()
        self._fittest_with: dict[str, Fittest | Archive] = {}
        self._units = np.full((64, 0), np.nan)
        self._complete = np.zeros(64, bool)
        self._rows: dict[int, int] = {}
        # By name, the choices that none of the first trials has, and how many trials these are.
        self._untried_choices: dict[str, tuple[np.ndarray, int]] = {}
        self.columns = Columns()
        self.trials: list[FrozenTrial] = []
        self.constraints: list[Mapping[str, float]] = []
        self.ranks: list[Rank | None] = []
        self.has_failures = False
        self.has_infeasible = False
        self.differ = False
        self.best_losses = BestLosses()
        self._level: tuple[object, ...] | None = None  # Of the first trial with a fitness.
        self.has_foreign_values = False

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The parameters' distributions, by column."""
        return self.columns.distributions

    @property
    def units(self) -> np.ndarray:
        """Genes `(N, D)`, in the order of `distributions`; NaN where a trial has none."""
        return self._units[: len(self.trials)]

    @property
    def complete(self) -> np.ndarray:
        """Whether each trial is complete, rather than failed or pruned, as booleans `(N,)`."""
        return self._complete[: len(self.trials)]

    def are_used(self, n: int) -> np.ndarray:
        """Return which parameters are still in use after the first `n` trials, booleans `(D,)`.

        They are those of the latest complete trials. An objective that was changed no longer has
        the others. All are in use if no trial is complete.
        """
        latest = np.flatnonzero(self._complete[:n])[-_N_LATEST:]
        present = ~np.isnan(self._units[latest])
        return present.any(axis=0) if len(latest) else np.ones(len(self.distributions), bool)

    def distributions_used(self, n: int) -> dict[str, BaseDistribution]:
        """Return the distributions of the parameters that are in use; see `are_used`."""
        pairs = zip(self.distributions.items(), self.are_used(n), strict=True)
        return {name: distribution for (name, distribution), is_used in pairs if is_used}

    def add(self, trial: FrozenTrial) -> None:
        """Add a finished trial."""
        row = len(self.trials)
        self.trials.append(trial)
        self._rows[trial.number] = row
        self._grow()
        self._complete[row] = trial.state == TrialState.COMPLETE
        is_foreign = any(
            not is_own_value(distribution, trial.params[name])
            for name, distribution in trial.distributions.items()
        )
        self.has_foreign_values |= is_foreign
        others = self.columns.others(trial.distributions)
        if others:
            self._encode(self.columns.take_over(others, len(self.trials)))
        if others or is_foreign:
            self._units[row] = self.columns.encoded(trial.params, trial.distributions)
        else:
            positions, encoders = self.columns.positions, self.columns.encoders
            for name, value in trial.params.items():
                self._units[row, positions[name]] = encoders[name](value)
        key = rank(trial, self.directions)
        self.constraints.append(trial.constraints if trial.system_attrs else {})
        self.ranks.append(key)
        self.best_losses.add(key)
        if key is None:
            self.has_failures = True
            return
        self.has_infeasible |= key.violation > 0.0
        self._level = self._level or key.level
        self.differ |= key.level != self._level
        self._fittest.add(key)
        for name in trial.params:
            if name not in self._fittest_with:
                self._fittest_with[name] = self._new_fittest()
            self._fittest_with[name].add(key)

    @property
    def has_feasible(self) -> bool:
        """Whether some trial is feasible."""
        ranks = self.fittest_ranks
        return bool(ranks) and ranks[0].violation == 0.0

    def gene(self, row: int, name: str) -> float:
        """Return a trial's gene for a parameter with a column, NaN if it has none."""
        return float(self._units[row, self.columns.positions[name]])

    def untried_choices(self, name: str) -> np.ndarray:
        """Return the genes `(n,)` of those choices of a parameter that no trial has, ascending."""
        known = self._untried_choices.get(name)
        if known is None:
            choices = grid(self.distributions[name])
            assert choices is not None
            known = choices, 0
        left, n_seen = known
        genes = self._units[n_seen : len(self.trials), self.columns.positions[name]]
        left = np.setdiff1d(left, genes)
        self._untried_choices[name] = left, len(self.trials)
        return left

    def fittest(self, name: str | None = None) -> list[int]:
        """Return the rows of the fittest trials, or of the fittest with a parameter."""
        found = self._fittest if name is None else self._fittest_with.get(name)
        return self.rows(rank.number for rank in found.ranks) if found else []

    @property
    def fittest_ranks(self) -> list[Rank]:
        """The ranks of the fittest trials, the fittest first."""
        return self._fittest.ranks

    def rows(self, numbers: Iterable[int]) -> list[int]:
        """Return the rows of the numbered trials that are known."""
        return [self._rows[number] for number in numbers if number in self._rows]

    def genes(self, rows: Sequence[int], distributions: Distributions) -> np.ndarray:
        """Return the genes of some rows in these distributions, NaN where a row has none.

        Args:
            rows: Rows of the matrix, E.
            distributions: Parameters with the distributions to encode them in, D.

        Returns:
            Genes `(D, E)`.
        """
        if distributions is self.distributions:
            return np.asarray(self._units[rows].T)
        found = np.empty((len(distributions), len(rows)))
        for position, (name, distribution) in enumerate(distributions.items()):
            if are_equal(self.distributions.get(name), distribution):
                found[position] = self._units[rows, self.columns.positions[name]]
            else:
                found[position] = [inherited(self.trials[row], name, distribution) for row in rows]
        return found

    def _new_fittest(self) -> Fittest | Archive:
        several = len(self.directions) > 1
        return Archive(self._n_fittest) if several else Fittest(self._n_fittest)

    def _grow(self) -> None:
        if len(self.trials) > len(self._units):
            self._units = np.vstack([self._units, np.full_like(self._units, np.nan)])
            self._complete = np.append(self._complete, np.zeros_like(self._complete))

    def _encode(self, distributions: Distributions) -> None:
        """Encode columns anew, in the distributions that they have now."""
        if n_new := len(self.distributions) - self._units.shape[1]:
            empty = np.full((len(self._units), n_new), np.nan)
            self._units = np.hstack([self._units, empty])
        for name, distribution in distributions.items():
            self._untried_choices.pop(name, None)
            self._units[: len(self.trials), self.columns.positions[name]] = [
                inherited(trial, name, distribution) for trial in self.trials
            ]

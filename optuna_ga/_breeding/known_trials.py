"""What is known when a child is made: finished trials, running ones, and what has been tried.

Two trials are the same if they were asked for the same parameters and got the same values, on the
grid where there is one. A child has a gene for every known parameter, whether or not it will be
asked for it; it repeats a trial if it has all of that trial's genes.

Shapes: N trials, K children, R running trials, D parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from optuna_ga._breeding.conditional_space import Branches
from optuna_ga._breeding.trial_matrix import Archive
from optuna_ga._optuna_internals import enqueued_params
from optuna_ga._population.draws import generator
from optuna_ga._population.genes import DIGITS, Gene, grid, n_cells, resolved

Genes = Mapping[str, float]

_RECENT = 500  # What children will be asked for is learnt from so many trials.
_N_RANDOM = 256
_ENUMERATED = 10_000  # Spaces of up to so many points are searched as a whole.


class Knowledge:
    """The finished trials of one study with the genes of those that are running.

    Args:
        direction: The study's direction.
        n_fittest: How many of the fittest trials are kept in order.
        finished: The finished trials; a list to which more are added.
    """

    def __init__(
        self, direction: StudyDirection, n_fittest: int, finished: list[FrozenTrial]
    ) -> None:
        self.finished = finished
        self.archive = Archive(direction, n_fittest)
        self.running = np.zeros((0, 0))
        self._tried = Tried()
        self._given_up = Tried()
        self._version = 0
        # Of running trials, by number, count of parameters and version of the archive.
        self._encoded: dict[tuple[int, int, int], np.ndarray] = {}
        self._branches: Branches | None = None  # None: to be learnt when they are needed.
        self._branches_of = 0, 0  # The archive's version and length then.

    def take_in(self) -> list[FrozenTrial]:
        """Take in and return the trials that have finished since."""
        known = len(self.archive)
        arrived = self.finished[known:]
        for trial in arrived:
            self._add(trial)
        if self.archive.version != self._version:
            self._version, known = self.archive.version, 0
            self._tried, self._given_up = Tried(), Tried()
        if len(self.archive) > known:
            units, complete = self.archive.units[known:], self.archive.complete[known:]
            self._tried.add(units[complete])
            self._given_up.add(units[~complete])
        return arrived

    def foresee(
        self, running: Sequence[FrozenTrial], genes_of: Callable[[FrozenTrial], Genes]
    ) -> None:
        """Complete the genes of the running trials.

        Args:
            running: The running trials, by number: what each becomes depends on those before it.
            genes_of: Tells what a running trial will become, on the unit scale.
        """
        completed = self._got(running)
        lacking = np.isnan(completed)
        if lacking.any():
            awaited = ~np.isnan(self.asked(np.where(lacking, 0.0, completed)))
            for row in np.flatnonzero((awaited & lacking).any(axis=1)).tolist():
                self.running = completed[:row]
                genes = genes_of(running[row])
                found = [genes.get(name, np.nan) for name in self.archive.distributions]
                child = np.where(lacking[row], found, completed[row])
                completed[row] = np.where(lacking[row], self.asked(child[None])[0], child)
        self.running = completed

    def asked(self, units: np.ndarray) -> np.ndarray:
        """Return children's genes `(K, D)` with NaN for those that they will not be asked for."""
        branches = self._learnt()
        return units if branches.always else np.where(branches.asked(units), units, np.nan)

    def new(self, units: np.ndarray) -> np.ndarray:
        """Return which children `(K, D)` repeat no trial that is known, as booleans `(K,)`.

        A trial that failed or was pruned may have been asked for a part of its parameters only.
        It does not count where complete trials were asked for the same and for more.
        """
        repeats = self._tried.repeats(units)
        repeats |= self._given_up.repeats(units, unless_within=self._tried)
        if len(self.running):
            running = Tried()
            running.add(self.running)
            repeats |= running.repeats(units)
        return ~repeats

    def enqueued(self, trial: FrozenTrial) -> np.ndarray:
        """Return the genes `(D,)` that were enqueued with a trial, NaN for those that are free."""
        distributions = self.archive.distributions
        found = {
            name: value
            for name, value in enqueued_params(trial).items()
            if name in distributions and _is_value(value, distributions[name])
        }
        return self.archive.encoded(found, distributions)

    def untried(self, seed: int, number: int, fixed: np.ndarray) -> np.ndarray:
        """Return random genes `(K, D)` for trial `number` that no finished or running trial has.

        They are those of 256 random children that are new or, if none is and the space has at
        most 10,000 points, all that are left of it. None: as far as is known all is tried.

        Args:
            seed: Seed of all draws.
            number: The trial's number.
            fixed: Genes `(D,)` that are given, NaN for those that are free.
        """
        children = overwritten(self._random(seed, number), fixed)
        new = self.new(children)
        if not new.any():
            children = overwritten(self._every(seed, number), fixed)
            new = self.new(children)
        return np.asarray(children[new])

    def _add(self, trial: FrozenTrial) -> None:
        """Take in a finished trial, and learn the branches anew if it was not foreseen.

        So they depend on the trials alone, in the order in which they became known. One that
        failed or was pruned may have been asked for a part of its parameters only, and says
        nothing if there are complete ones among those before it.
        """
        n = len(self.archive)
        some_complete = self.archive.complete[-_RECENT:].any()
        self.archive.add(trial)
        if self._branches_of[0] == self.archive.version and (
            (some_complete and not self.archive.complete[n])
            or self._learnt().agree(self.archive.units[n])
        ):
            return
        self._branches, self._branches_of = None, (self.archive.version, n + 1)

    def _learnt(self) -> Branches:
        """Return the branches that are known."""
        if self._branches is None:
            _, n = self._branches_of
            latest = slice(max(n - _RECENT, 0), n)
            units, complete = self.archive.units[latest], self.archive.complete[latest]
            informative = units[complete] if complete.any() else units
            self._branches = Branches(informative, list(self.archive.distributions.values()))
        return self._branches

    def _got(self, running: Sequence[FrozenTrial]) -> np.ndarray:
        """Return the genes `(R, D)` that running trials have got, NaN for others."""
        before, self._encoded = self._encoded, {}
        for trial in running:
            key = trial.number, len(trial.params), self.archive.version
            units = before.get(key)
            if units is None:
                units = self.archive.encoded(trial.params, trial.distributions)
            self._encoded[key] = units
        shape = len(running), len(self.archive.distributions)
        return np.array(list(self._encoded.values())).reshape(shape)

    def _random(self, seed: int, number: int) -> np.ndarray:
        columns = [
            resolved(distribution, generator(seed, number, "random", name).random(_N_RANDOM))
            for name, distribution in self.archive.distributions.items()
        ]
        return np.column_stack(columns)

    def _every(self, seed: int, number: int) -> np.ndarray:
        """Return the points of a small discrete space in random order; none of others."""
        distributions = self.archive.distributions.values()
        cells = [n_cells(distribution) for distribution in distributions]
        if None in cells or math.prod(n for n in cells if n is not None) > _ENUMERATED:
            return np.zeros((0, len(cells)))
        grids = [positions for d in distributions if (positions := grid(d)) is not None]
        points = np.array(list(product(*grids)))
        return np.asarray(generator(seed, number, "order").permutation(points))


class Tried:
    """Genes of trials, each known by what it was asked for and by the values."""

    def __init__(self) -> None:
        self._keys: dict[bytes, set[bytes]] = {}  # By what was asked for, as booleans (D,).

    def add(self, trials: np.ndarray) -> None:
        """Take in trials `(N, D)`, NaN where one was not asked."""
        if not len(trials):
            return
        for row in np.round(trials, DIGITS) + 0.0:
            asked = ~np.isnan(row)
            if not asked.any():  # It says nothing of those that are asked for something.
                continue
            self._keys.setdefault(asked.tobytes(), set()).add(row[asked].tobytes())

    def repeats(self, children: np.ndarray, unless_within: Tried | None = None) -> np.ndarray:
        """Return which children `(K, D)` have all genes of a trial, as booleans `(K,)`.

        Args:
            children: The children's genes.
            unless_within: Trials do not count that were asked for a part only of what one of
                these was asked for.
        """
        found = np.zeros(len(children), bool)
        if not self._keys:
            return found
        rounded = np.round(children, DIGITS) + 0.0
        for asked, known in self._keys.items():
            if unless_within is not None and unless_within.has_wider(asked):
                continue
            genes = rounded[:, np.frombuffer(asked, bool)]
            found |= np.array([row.tobytes() in known for row in genes], bool)
        return found

    def has_wider(self, asked: bytes) -> bool:
        """Return whether a trial was asked for these parameters, as booleans, and for more."""
        part = np.frombuffer(asked, bool)
        return any(
            other != asked and bool((part <= np.frombuffer(other, bool)).all())
            for other in self._keys
        )


def overwritten(children: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Return children `(K, D)` with those genes `(D,)` that are given, NaN for the others."""
    return np.where(np.isnan(fixed), children, fixed)


def _is_value(value: Gene, distribution: BaseDistribution) -> bool:
    """Return whether what a user has enqueued can be a value of the distribution."""
    if not isinstance(distribution, CategoricalDistribution):
        return isinstance(value, (int, float)) and math.isfinite(value)
    try:
        distribution.to_internal_repr(value)
    except ValueError:
        return False
    return True

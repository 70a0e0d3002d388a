"""What is known when a child is made: finished trials, running ones, and what has been tried.

Two trials are the same if they were asked for the same parameters and got the same values, on the
grid where there is one. A child has a gene for every known parameter, whether or not it will be
asked for it; it repeats a trial if it has all of that trial's genes.

Shapes: N trials, K children, R running trials, D parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from optuna_ga._archive import Archive
from optuna_ga._branches import foresee
from optuna_ga._draws import generator
from optuna_ga._genes import grid, n_cells, resolved

_RECENT = 500  # What children will be asked for is learnt from so many trials.
_N_RANDOM = 256
_DIGITS = 9
_ENUMERATED = 10_000  # Spaces of up to so many points are searched as a whole.


class Knowledge:
    """The finished trials of one study with the genes of those that are running.

    Args:
        direction: The study's direction.
        n_fittest: How many of the fittest trials are kept in order.
    """

    def __init__(self, direction: StudyDirection, n_fittest: int) -> None:
        self._new_archive = partial(Archive, direction, n_fittest)
        self._forget([])
        self.running = np.zeros((0, 0))

    def _forget(self, finished: list[FrozenTrial]) -> None:
        self._finished = finished
        self.archive = self._new_archive()
        self._tried = Tried()
        self._version = 0

    def update(
        self,
        finished: list[FrozenTrial],
        running: list[FrozenTrial],
        foreseen: Callable[[int], Mapping[str, float]],
    ) -> None:
        """Take in what has become of the study.

        Args:
            finished: All finished trials; the same list each time, to which more are added.
            running: The running trials.
            foreseen: Tells by its number what a running trial will become, on the unit scale.
        """
        if finished is not self._finished:
            self._forget(finished)
        known = len(self.archive)
        for trial in finished[known:]:
            self.archive.add(trial)
        if self.archive.version != self._version:
            self._version, known = self.archive.version, 0
            self._tried = Tried()
        self._tried.add(self.archive.units[known:])
        self.running = np.zeros((0, len(self.archive.distributions)))
        for trial in running:  # What each becomes depends on those before it.
            self.running = np.vstack([self.running, self._completed(trial, foreseen)])

    def asked(self, units: np.ndarray) -> np.ndarray:
        """Return children's genes `(K, D)` with NaN for those that they will not be asked for."""
        distributions = list(self.archive.distributions.values())
        foreseen = foresee(units, self.archive.units[-_RECENT:], distributions)
        return np.where(foreseen, units, np.nan)

    def new(self, units: np.ndarray) -> np.ndarray:
        """Return which children `(K, D)` repeat no trial that is known, as booleans `(K,)`."""
        running = Tried()
        running.add(self.running)
        return np.asarray(~(self._tried.repeats(units) | running.repeats(units)))

    def untried(self, seed: int, number: int) -> np.ndarray:
        """Return random genes `(K, D)` for trial `number` that no finished or running trial has.

        They are those of 256 random children that are new or, if none is and the space has at
        most 10,000 points, all that are left of it. None: as far as is known all is tried.
        """
        children = self._random(seed, number)
        new = self.new(children)
        if not new.any():
            children = self._every(seed, number)
            new = self.new(children)
        return np.asarray(children[new])

    def _completed(
        self, trial: FrozenTrial, foreseen: Callable[[int], Mapping[str, float]]
    ) -> np.ndarray:
        """Return a running trial's genes `(D,)`, with those that it has not been asked for yet."""
        units = self.archive.encoded(trial.params, trial.distributions)
        asked = ~np.isnan(self.asked(np.nan_to_num(units, nan=0.0)[None])[0])
        if np.array_equal(asked, ~np.isnan(units)):
            return units
        genes = foreseen(trial.number)
        awaited = np.array([genes.get(name, np.nan) for name in self.archive.distributions])
        child = np.where(np.isnan(units), awaited, units)
        return np.where(np.isnan(units), self.asked(child[None])[0], units)

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
        for row in np.round(trials, _DIGITS) + 0.0:
            asked = ~np.isnan(row)
            if not asked.any():  # It says nothing of those that are asked for something.
                continue
            self._keys.setdefault(asked.tobytes(), set()).add(row[asked].tobytes())

    def repeats(self, children: np.ndarray) -> np.ndarray:
        """Return which children `(K, D)` have all genes of a trial, as booleans `(K,)`."""
        found = np.zeros(len(children), bool)
        rounded = np.round(children, _DIGITS) + 0.0
        for asked, known in self._keys.items():
            genes = rounded[:, np.frombuffer(asked, bool)]
            found |= np.array([row.tobytes() in known for row in genes], bool)
        return found

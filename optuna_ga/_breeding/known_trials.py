"""The finished and running trials that are known when a child is bred, and their genes.

Two trials are equal if they have the same parameters with the same values, on the grid where there
is one. A child has a gene for every known parameter, whether or not the objective will suggest it;
it repeats a trial if it has all of that trial's genes.

Shapes: N trials, K children, R running trials, D parameters. Genes are positions on the unit
scale.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._breeding.conditional_space import ConditionalSpace
from optuna_ga._breeding.trial_matrix import TrialMatrix
from optuna_ga._breeding.tried import Tried
from optuna_ga._breeding.tried_values import Point, TriedValues, point
from optuna_ga._optuna_internals import enqueued_params
from optuna_ga._population.choices import find_choice
from optuna_ga._population.draws import generator
from optuna_ga._population.genes import Gene, n_values
from optuna_ga._population.unit_scale import grid, snapped_to_grid

Genes = Mapping[str, float]

_RECENT = 500  # The conditional space is learnt from so many of the latest trials.
_MOST_NODES = 5_000  # Trees of so many nodes are learnt as needed, which takes a second.
_RELEARNT_AFTER = 1.25  # Later they are learnt anew after so many times the trials.
_N_RANDOM = 256
_MOST_ENUMERATED = 10_000  # So many points are looked at where a space is nearly exhausted.


class KnownTrials:
    """The finished trials of one study, and the genes of its running trials.

    Args:
        directions: The study's directions.
        n_fittest: How many of the fittest trials are kept in order.
        finished: The finished trials; a list that grows elsewhere.

    Attributes:
        finished: The same list.
        matrix: The finished trials that have been taken in.
        running: Genes `(R, D)` of the running trials, NaN for parameters they will not have.
    """

    def __init__(
        self, directions: Sequence[StudyDirection], n_fittest: int, finished: list[FrozenTrial]
    ) -> None:
        self.finished = finished
        self.matrix = TrialMatrix(directions, n_fittest)
        self.running = np.zeros((0, 0))
        self._tried = Tried()
        self._given_up = Tried()
        self._values = TriedValues()
        self._running: dict[int, Point] = {}
        self._are_held = np.zeros(0, bool)  # Whether the matrix holds each running trial.
        self._version = 0
        # Of running trials, by number, count of parameters and version of the matrix.
        self._encoded: dict[tuple[int, int, int], np.ndarray] = {}
        self._space: ConditionalSpace | None = None  # None: to be learnt when it is needed.
        self._space_of = 0, 0  # The version and length of the matrix it is learnt from.
        self._latest_complete = -1  # The row of the latest complete trial.
        self._is_checked = False  # Whether a trial has been compared with it.
        self._n_nodes = 0  # The nodes of all spaces with which trials have been compared.

    def take_in(self) -> list[FrozenTrial]:
        """Take in the trials that have finished since the last call, and return them."""
        known = len(self.matrix)
        arrived = self.finished[known:]
        for trial in arrived:
            self._add(trial)
        if self.matrix.version != self._version:
            self._version, known = self.matrix.version, 0
            self._tried, self._given_up = Tried(), Tried()
        if len(self.matrix) > known:
            units, complete = self.matrix.units[known:], self.matrix.complete[known:]
            held = self._held(self.matrix.trials[known:])
            self._tried.add(units[held & complete])
            self._given_up.add(units[held & ~complete])
        return arrived

    def predict(
        self, running: Sequence[FrozenTrial], genes_of: Callable[[FrozenTrial], Genes]
    ) -> None:
        """Predict the genes that the running trials do not have yet.

        Args:
            running: The running trials by number, since a trial depends on the trials before it.
            genes_of: Returns all genes that a running trial will get, on the unit scale.
        """
        self._note_running(running)
        completed = self._suggested(running)
        lacking = np.isnan(completed)
        if lacking.any():
            expected = ~np.isnan(self.masked(np.where(lacking, 0.0, completed)))
            for row in np.flatnonzero((expected & lacking).any(axis=1)).tolist():
                self.running = completed[:row]
                genes = genes_of(running[row])
                found = [genes.get(name, np.nan) for name in self.matrix.distributions]
                child = np.where(lacking[row], found, completed[row])
                completed[row] = np.where(lacking[row], self.masked(child[None])[0], child)
        self.running = completed

    def masked(self, units: np.ndarray) -> np.ndarray:
        """Return children's genes `(K, D)`, NaN for parameters they are predicted not to have."""
        space = self._learnt()
        return units if space.always else np.where(space.present(units), units, np.nan)

    def new(self, units: np.ndarray) -> np.ndarray:
        """Return which children `(K, D)` repeat no known trial, as booleans `(K,)`.

        A failed or pruned trial may lack some of its branch's parameters. It is ignored for
        children of which more parameters are expected, if a complete trial has more.
        """
        repeats = self._tried.repeats(units)
        repeats |= self._given_up.repeats(units, self._tried, self._present)
        if len(self.running):
            running = Tried()
            running.add(self.running[self._are_held[: len(self.running)]])
            repeats |= running.repeats(units)
        return ~repeats

    def enqueued(self, trial: FrozenTrial) -> np.ndarray:
        """Return the genes `(D,)` that were enqueued with a trial, NaN for free genes."""
        distributions = self.matrix.distributions
        found = {
            name: value
            for name, value in enqueued_params(trial).items()
            if name in distributions and _is_value(value, distributions[name])
        }
        return self.matrix.encoded(found, distributions)

    def untried(self, seed: int, number: int, fixed: np.ndarray) -> np.ndarray:
        """Return random children `(K, D)` for trial `number` that repeat no known trial.

        They are taken from 256 random children. If none of these is new in a discrete space, they
        are all points that are left, of more than 10,000 those among 10,000 random children. K is
        0 if nothing was found.

        Args:
            seed: Seed of all draws.
            number: The trial's number.
            fixed: Genes `(D,)` that are given, NaN for free genes.
        """
        children = overwritten(self._random(seed, number, _N_RANDOM), fixed)
        new = self.new(children)
        if not new.any():
            children = overwritten(self._many(seed, number), fixed)
            new = self.new(children)
        return np.asarray(children[new])

    def unexhausted(
        self, value: Gene, trial: FrozenTrial, name: str, distribution: BaseDistribution, seed: int
    ) -> Gene:
        """Return a value for the next parameter of a running trial after which something is left.

        It is the given value, if that will do or if no value will. If ranges do not vary, it is
        the given value, too, since the whole child is new.
        """
        if not self.matrix.ranges_vary:
            return value
        for tried in self.matrix.trials[len(self._values) :]:
            self._values.add(point(tried.params, tried.distributions))
        part = point(trial.params, trial.distributions)
        others = [other for number, other in self._running.items() if number != trial.number]
        rng = generator(seed, trial.number, "unexhausted", name)
        value = self._values.unexhausted(value, part, name, distribution, others, rng)
        # Noted, since another trial may ask before this value is stored.
        given = point({name: value}, {name: distribution})
        self._running[trial.number] = _joined(part, given)
        return value

    def _note_running(self, running: Sequence[FrozenTrial]) -> None:
        self._are_held = self._held(running)
        if self.matrix.ranges_vary:
            before = self._running
            self._running = {
                trial.number: _joined(
                    before.get(trial.number), point(trial.params, trial.distributions)
                )
                for trial in running
            }

    def _held(self, trials: Sequence[FrozenTrial]) -> np.ndarray:
        """Return for which trials `(N,)` positions on the unit scale stand for their values."""
        if not (self.matrix.ranges_vary or self.matrix.lacks_columns):
            return np.ones(len(trials), bool)
        return np.array([self.matrix.holds(trial) for trial in trials], bool)

    def _add(self, trial: FrozenTrial) -> None:
        """Take in a finished trial, after which the conditional space may have to be learnt anew.

        This depends on the trials and their order of arrival alone, not on when the space is
        needed.
        """
        row = len(self.matrix)
        some_complete = self._latest_complete >= max(row - _RECENT, 0)
        self.matrix.add(trial)
        if trial.state == TrialState.COMPLETE:
            self._latest_complete = row
        if self._space_of[0] != self.matrix.version or self._is_outdated(some_complete):
            self._space, self._space_of = None, (self.matrix.version, len(self.matrix))
            self._is_checked = False

    def _is_outdated(self, some_complete: bool) -> bool:
        """Return whether the conditional space did not predict the latest trial.

        A failed or pruned trial may lack some of its branch's parameters: it is ignored if there
        are complete trials among the latest before it. Once learning has cost much, the answer is
        whether there are a quarter more trials.

        Args:
            some_complete: Whether there are such complete trials.
        """
        n = len(self.matrix)
        if self._n_nodes > _MOST_NODES:
            return n >= _RELEARNT_AFTER * self._space_of[1]
        if some_complete and not self.matrix.complete[n - 1]:
            return False
        space = self._learnt()
        if not self._is_checked:
            self._is_checked = True
            self._n_nodes += space.n_nodes
        return not space.agrees(self.matrix.units[n - 1])

    def _learnt(self) -> ConditionalSpace:
        """Return the conditional space that the known trials reveal."""
        if self._space is None:
            _, n = self._space_of
            latest = slice(max(n - _RECENT, 0), n)
            units, complete = self.matrix.units[latest], self.matrix.complete[latest]
            informative = units[complete] if complete.any() else units
            distributions = list(self.matrix.distributions.values())
            self._space = ConditionalSpace(informative, distributions)
        return self._space

    def _present(self, units: np.ndarray) -> np.ndarray:
        """Return which parameters children are predicted to have, as booleans `(K, D)`."""
        return self._learnt().present(units)

    def _suggested(self, running: Sequence[FrozenTrial]) -> np.ndarray:
        """Return the genes `(R, D)` that running trials have so far, NaN for the others."""
        before, self._encoded = self._encoded, {}
        for trial in running:
            key = trial.number, len(trial.params), self.matrix.version
            units = before.get(key)
            if units is None:
                units = self.matrix.encoded(trial.params, trial.distributions)
            self._encoded[key] = units
        shape = len(running), len(self.matrix.distributions)
        return np.array(list(self._encoded.values())).reshape(shape)

    def _random(self, seed: int, number: int, n: int) -> np.ndarray:
        """Return random children `(n, D)`."""
        columns = [
            snapped_to_grid(distribution, generator(seed, number, "random", name).random(n))
            for name, distribution in self.matrix.distributions.items()
        ]
        return np.column_stack(columns)

    def _many(self, seed: int, number: int) -> np.ndarray:
        """Return all points of a discrete space `(K, D)` in random order, or many of a large one.

        Points of branches that exclude each other count as many times as there are combinations
        of their parameters, so that a space may be smaller than it seems.
        """
        distributions = self.matrix.distributions.values()
        cells = [n_values(distribution) for distribution in distributions]
        if None in cells:
            return np.zeros((0, len(cells)))
        if math.prod(n for n in cells if n is not None) > _MOST_ENUMERATED:
            return self._random(seed, number, _MOST_ENUMERATED)
        grids = [positions for d in distributions if (positions := grid(d)) is not None]
        points = np.array(list(product(*grids)))
        return np.asarray(generator(seed, number, "order").permutation(points))


def overwritten(children: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Return children `(K, D)` with the given genes `(D,)`, which are NaN where free."""
    return np.where(np.isnan(fixed), children, fixed)


def _joined(first: Point | None, second: Point) -> Point:
    if first is None:
        return second
    return Point(first.values | second.values, first.distributions | second.distributions)


def _is_value(value: Gene, distribution: BaseDistribution) -> bool:
    """Return whether an enqueued value can be a value of the distribution."""
    if not isinstance(distribution, CategoricalDistribution):
        return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max
    return find_choice(distribution, value) >= 0

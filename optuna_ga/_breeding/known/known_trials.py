"""The finished and running trials that are known when a child is bred, and their genes.

Two trials are equal if they have the same parameters with the same values, on the grid where there
is one. A child has a gene for every known parameter, whether or not the objective will suggest it;
it repeats a trial if it has all of that trial's genes.

Shapes: N trials, K children, R running trials, D parameters. Genes are positions on the unit
scale.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from optuna_ga._breeding.known.learnt_space import LearntSpace
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.known.tried import Key, Tried
from optuna_ga._breeding.known.tried_values import Point, TriedValues, point
from optuna_ga._optuna_internals import enqueued_params, given_params
from optuna_ga._population.choices import find_choice
from optuna_ga._population.draws import generator
from optuna_ga._population.genes import Gene

Genes = Mapping[str, float]
Values = Mapping[str, Gene]


class KnownTrials:
    """The finished trials of one study, and the genes of its running trials.

    Args:
        directions: The study's directions.
        n_fittest: How many of the fittest trials are kept in order.
        finished: The finished trials; a list that grows elsewhere.

    Attributes:
        finished: The same list.
        matrix: The finished trials that have been taken in.
        running: Genes `(R, D)` of the running trials, NaN for parameters that they are predicted
            not to have.
    """

    def __init__(
        self, directions: Sequence[StudyDirection], n_fittest: int, finished: list[FrozenTrial]
    ) -> None:
        self.finished = finished
        self.matrix = TrialMatrix(directions, n_fittest)
        self._space = LearntSpace(self.matrix)
        self.running = np.zeros((0, 0))
        self._tried = Tried()
        self._given_up = Tried()
        self._forgiven: frozenset[Key] = frozenset()
        self._values = TriedValues()
        self._running: dict[int, Point] = {}
        self._are_held = np.zeros(0, bool)  # Whether the matrix holds each running trial.
        self._version = 0
        # Of running trials, by number, count of parameters and version of the matrix.
        self._encoded: dict[tuple[int, int, int], np.ndarray] = {}

    def take_in(self) -> list[FrozenTrial]:
        """Take in the trials that have finished since the last call, and return them."""
        known = len(self.matrix)
        arrived = self.finished[known:]
        for trial in arrived:
            self.matrix.add(trial)
            self._space.follow()
        if self.matrix.columns.version != self._version:
            self._version, known = self.matrix.columns.version, 0
            self._tried, self._given_up = Tried(), Tried()
        if len(self.matrix) > known:
            units, complete = self.matrix.units[known:], self.matrix.complete[known:]
            held = self._held(self.matrix.trials[known:], lambda trial: trial.params)
            self._tried.add(units[held & complete])
            self._given_up.add(units[held & ~complete])
        return arrived

    def forgive(self, rows: Sequence[int]) -> None:
        """Let the values of the failed trials in some rows be tried once more, and of no others.

        Where ranges vary there are none: what was tried is known by values there.
        """
        self._forgiven = frozenset()
        if rows and not self.matrix.columns.ranges_vary:
            self._forgiven = self._given_up.once(self.matrix.units[rows])

    def predict(
        self, running: Sequence[FrozenTrial], genes_of: Callable[[FrozenTrial], Genes]
    ) -> None:
        """Predict the genes of the running trials.

        A trial is known with the parameters that it is predicted to have, whether or not it has
        suggested them, and with no other. So it does not matter how much of it has run.

        Args:
            running: The running trials by number, since a trial depends on the trials before it.
            genes_of: Returns all genes that a running trial will get, on the unit scale.
        """
        self._note_running(running)
        space, suggested = self._space.current, self._suggested(running)
        predicted = np.full_like(suggested, np.nan)
        for row, genes in enumerate(suggested):
            expected = space.expected(genes)
            if expected is None or np.isnan(genes[expected]).any():
                self.running = predicted[:row]
                found = genes_of(running[row])
                planned = [found.get(name, np.nan) for name in self.matrix.distributions]
                genes[:] = np.where(np.isnan(genes), planned, genes)
                (expected,) = space.present(genes[None])
            predicted[row] = np.where(expected, genes, np.nan)
        self.running = predicted

    def masked(self, units: np.ndarray) -> np.ndarray:
        """Return children's genes `(K, D)`, NaN for parameters they are predicted not to have."""
        space = self._space.current
        return units if space.always else np.where(space.present(units), units, np.nan)

    def new(self, units: np.ndarray) -> np.ndarray:
        """Return which children `(K, D)` repeat no known trial, as booleans `(K,)`.

        A failed or pruned trial may lack some of its branch's parameters. It is ignored for
        children of which more parameters are expected, if a complete trial has more. Failed trials
        that have been forgiven are ignored, too.
        """
        repeats = self._tried.repeats(units)
        repeats |= self._given_up.repeats(units, self._tried, self._present, self._forgiven)
        if len(self.running):
            running = Tried()
            running.add(self.running[self._are_held[: len(self.running)]])
            repeats |= running.repeats(units)
        return ~repeats

    def given(self, study: Study, trial: FrozenTrial) -> np.ndarray:
        """Return a trial's genes `(D,)` that are enqueued or fixed, NaN for free genes."""
        distributions = self.matrix.distributions
        found = {
            name: value
            for name, value in given_params(study, trial).items()
            if name in distributions and _is_value(value, distributions[name])
        }
        return self.matrix.columns.encoded(found, distributions)

    def unexhausted(
        self, value: Gene, trial: FrozenTrial, name: str, distribution: BaseDistribution, seed: int
    ) -> Gene:
        """Return a value for the next parameter of a running trial after which something is left.

        It is the given value, unless everything after that has been tried and another value has
        something left. If ranges do not vary, it is the given value, since the whole child is new.
        """
        if not self.matrix.columns.ranges_vary:
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
        self._are_held = self._held(running, self._values_of_running)
        if self.matrix.columns.ranges_vary:
            before = self._running
            self._running = {
                trial.number: _joined(
                    before.get(trial.number), point(trial.params, trial.distributions)
                )
                for trial in running
            }

    def _held(
        self, trials: Sequence[FrozenTrial], values: Callable[[FrozenTrial], Values]
    ) -> np.ndarray:
        """Return for which trials `(N,)` positions on the unit scale stand for their values."""
        matrix = self.matrix
        if not (
            matrix.columns.ranges_vary
            or matrix.columns.are_missing
            or matrix.has_foreign_values
            or any(map(enqueued_params, trials))
        ):
            return np.ones(len(trials), bool)
        held = [matrix.columns.hold(values(trial), trial.distributions) for trial in trials]
        return np.array(held, bool)

    def _values_of_running(self, trial: FrozenTrial) -> Values:
        """Return values of a trial, so that it does not matter how much of it has run."""
        distributions = self.matrix.distributions
        return {
            name: value
            for name, value in (enqueued_params(trial) | trial.params).items()
            if name in distributions and _is_value(value, distributions[name])
        }

    def _present(self, units: np.ndarray) -> np.ndarray:
        """Return which parameters children are predicted to have, as booleans `(K, D)`."""
        return self._space.current.present(units)

    def _suggested(self, running: Sequence[FrozenTrial]) -> np.ndarray:
        """Return the genes `(R, D)` that running trials have so far, NaN for the others."""
        before, self._encoded = self._encoded, {}
        for trial in running:
            key = trial.number, len(trial.params), self.matrix.columns.version
            units = before.get(key)
            if units is None:
                units = self.matrix.columns.encoded(trial.params, trial.distributions)
            self._encoded[key] = units
        shape = len(running), len(self.matrix.distributions)
        return np.array(list(self._encoded.values())).reshape(shape)


def _joined(first: Point | None, second: Point) -> Point:
    if first is None:
        return second
    return Point(first.values | second.values, first.distributions | second.distributions)


def _is_value(value: Gene, distribution: BaseDistribution) -> bool:
    """Return whether a given value can be a value of the distribution."""
    if not isinstance(distribution, CategoricalDistribution):
        return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max
    return find_choice(distribution, value) >= 0

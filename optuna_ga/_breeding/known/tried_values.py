"""The points that have been tried, known by their values, where ranges depend on other parameters.

There a position on the unit scale means another value in each trial. A part of a point, which is
some of its parameters with their values, is exhausted if every way to complete it has been tried.
The objective is taken to be deterministic: after the same values it suggests the same parameter in
the same range. Where it did not, the range of the latest three trials holds, since the objective
was changed; the widest of all holds if these three differ. The order of the parameters is not
needed: gRPC's storage does not keep it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optuna_ga._population.choices import are_equal, stored_choices
from optuna_ga._population.genes import Gene, n_cells, n_values, nearest_value
from optuna_ga._population.unit_scale import from_unit

_DIGITS = 12  # Numbers that agree to so many significant digits are equal.
_N_LATEST = 3  # Trials whose range holds, if they agree.


class Point(NamedTuple):
    """Parameters of a trial.

    Attributes:
        values: A hashable form of each value.
        distributions: The distribution of each parameter.
    """

    values: dict[str, Hashable]
    distributions: dict[str, BaseDistribution]


def point(params: Mapping[str, Gene], distributions: Mapping[str, BaseDistribution]) -> Point:
    """Return parameters as a point."""
    values = {name: _hashable(value, distributions[name]) for name, value in params.items()}
    return Point(values, dict(distributions))


class TriedValues:
    """The points that have been tried."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._with: defaultdict[tuple[str, Hashable], list[Point]] = defaultdict(list)
        self._names: set[frozenset[str]] = set()
        self._latest: dict[str, BaseDistribution] = {}
        # The first range of a parameter with the same others, and for how many points it is known.
        self._first_ranges: dict[
            tuple[str, frozenset[tuple[str, Hashable]]], BaseDistribution
        ] = {}
        self._n_compared = 0
        self._changed: set[str] = set()

    def __len__(self) -> int:
        return len(self._points)

    def add(self, tried: Point) -> None:
        """Add the parameters of a finished trial."""
        self._points.append(tried)
        self._names.add(frozenset(tried.values))
        self._latest |= tried.distributions
        for item in tried.values.items():
            self._with[item].append(tried)

    def unexhausted(
        self,
        value: Gene,
        part: Point,
        name: str,
        distribution: BaseDistribution,
        running: Iterable[Point],
        rng: np.random.Generator,
    ) -> Gene:
        """Return the value, or if all that may follow has been tried, another value.

        It is the nearest value of a number's grid, and any choice or continuous value, after which
        something is left. If nothing is left after any value in the ranges of its own trials, it
        is a value after which something is left in the latest of the ranges that were changed,
        else the value itself.

        Args:
            value: The value that the parameter is to get.
            part: The parameters that the trial has already.
            name: The parameter.
            distribution: Its distribution in this trial.
            running: The parameters of running trials; those that lack some do not count.
            rng: Generator for the order of choices and for continuous values.
        """
        whole = [other for other in running if frozenset(other.values) in self._names]
        known = _containing(part.values, [*self._candidates(part.values), *whole])
        groups = _by_value(known, name)
        names = {*part.values, name}
        for ranges in ({}, self._changed_ranges()):
            for candidate in _alternatives(value, distribution, len(groups), rng):
                group = groups.get(_hashable(candidate, distribution), [])
                if not _is_exhausted(group, names, ranges):
                    return candidate
        return value

    def _changed_ranges(self) -> dict[str, BaseDistribution]:
        """Return the latest ranges of the parameters that had two with all others equal.

        A range that depends on other parameters says nothing about other values of theirs.
        """
        for tried in self._points[self._n_compared :]:
            for name, distribution in tried.distributions.items():
                others = frozenset(item for item in tried.values.items() if item[0] != name)
                first = self._first_ranges.setdefault((name, others), distribution)
                if not are_equal(first, distribution):
                    self._changed.add(name)
        self._n_compared = len(self._points)
        return {name: self._latest[name] for name in self._changed}

    def _candidates(self, values: Mapping[str, Hashable]) -> Sequence[Point]:
        """Return the fewest points that include all points with these values."""
        found: list[Sequence[Point]] = [self._with.get(item, ()) for item in values.items()]
        return min(found, key=len, default=self._points)


def _containing(values: Mapping[str, Hashable], points: Iterable[Point]) -> list[Point]:
    return [other for other in points if values.items() <= other.values.items()]


def _by_value(points: Iterable[Point], name: str) -> dict[Hashable, list[Point]]:
    groups: defaultdict[Hashable, list[Point]] = defaultdict(list)
    for other in points:
        if name in other.values:
            groups[other.values[name]].append(other)
    return groups


def _is_exhausted(
    points: Sequence[Point], names: Collection[str], ranges: Mapping[str, BaseDistribution]
) -> bool:
    """Return whether points that agree in the named parameters are all that do.

    A failed or pruned trial may lack some parameters. It is ignored if others have more.

    Args:
        points: The points.
        names: The parameters.
        ranges: Distributions that hold instead of the points' own.
    """
    longer = [other for other in points if len(other.values) > len(names)]
    if not longer:
        return bool(points)
    name = _next_name(longer, names)
    if name is None:
        return False
    distribution = ranges.get(name) or _range_of(longer, name)
    n = _n_values(distribution)
    if n is None or n > len(longer):
        return False
    groups = _by_value(longer, name)
    values = _values_in(distribution, groups)
    return len(values) >= n and all(
        _is_exhausted(groups[value], {*names, name}, ranges) for value in values
    )


def _range_of(points: Sequence[Point], name: str) -> BaseDistribution:
    """Return the range of a parameter in the latest points if they agree, else the widest of all.

    Of ranges that are equally wide it is the latest.
    """
    ranges = [other.distributions[name] for other in reversed(points)]
    if all(are_equal(each, ranges[0]) for each in ranges[1:_N_LATEST]):
        return ranges[0]
    return max(ranges, key=lambda each: _n_values(each) or math.inf)


def _n_values(distribution: BaseDistribution) -> int | None:
    # By rounding, Optuna may take a range of two steps for a single value.
    return 1 if distribution.single() else n_values(distribution)


def _next_name(points: Sequence[Point], names: Collection[str]) -> str | None:
    """Return a further parameter that all points have, if possible in the same range."""
    varying = None
    for name, distribution in points[-1].distributions.items():
        if name in names:
            continue
        ranges = [other.distributions.get(name) for other in points]
        if None in ranges:
            continue
        if all(are_equal(each, distribution) for each in ranges):
            return name
        varying = varying or name
    return varying


def _alternatives(
    value: Gene, distribution: BaseDistribution, n: int, rng: np.random.Generator
) -> Iterator[Gene]:
    """Yield the value, then others of its distribution: more than `n`, if there are so many."""
    yield value
    if distribution.single():
        return
    if isinstance(distribution, CategoricalDistribution):
        for position in rng.permutation(len(distribution.choices)):
            yield distribution.choices[position]
        return
    if n_cells(distribution) is None:
        for unit in rng.random(n + 1):
            yield from_unit(distribution, float(unit))
        return
    assert isinstance(distribution, (FloatDistribution, IntDistribution))
    assert isinstance(value, (float, int)) and distribution.step is not None
    step = distribution.step
    for distance in range(1, n + 2):
        for neighbour in (value - distance * step, value + distance * step):
            yield nearest_value(distribution, neighbour)  # Beyond an end of the range: the end.


def _hashable(value: Gene, distribution: BaseDistribution) -> Hashable:
    if isinstance(distribution, CategoricalDistribution):
        return stored_choices([value])[0]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _values_in(distribution: BaseDistribution, values: Iterable[Hashable]) -> list[Hashable]:
    """Return those of some values that are the distribution's."""
    if isinstance(distribution, CategoricalDistribution):
        choices = {_hashable(choice, distribution) for choice in distribution.choices}
        return [value for value in values if value in choices]
    return [
        value
        for value in values
        if isinstance(value, (int, float))
        and _hashable(nearest_value(distribution, value), distribution) == value
    ]

"""Several objectives, in their plainest form: the order of trials, survival, hypervolume."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import optuna
from optuna import Study, Trial
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from tests import oracles

Point = tuple[float, ...]


def two_parabolas(trial: Trial) -> tuple[float, float]:
    """Return the squared distances of three genes from two points, each a best compromise."""
    genes = [trial.suggest_float(name, -1.0, 1.0) for name in "xyz"]
    return sum((gene - 0.5) ** 2 for gene in genes), sum((gene + 0.5) ** 2 for gene in genes)


def study_of_two(
    sampler: BaseSampler | None = None,
    directions: Sequence[Any] = ("minimize", "minimize"),
    history: Iterable[FrozenTrial] = (),
) -> Study:
    """Return a study with several objectives and these trials."""
    study = optuna.create_study(sampler=sampler, directions=list(directions))
    study.add_trials(history)
    return study


def with_values(*values: float, x: float = 0.5, **options: Any) -> FrozenTrial:
    """Return a complete trial to add, whose gene `x` is 0.5 unless given."""
    return optuna.create_trial(
        values=list(values),
        params={"x": x},
        distributions={"x": FloatDistribution(0.0, 1.0)},
        **options,
    )


def dominates(first: Point, second: Point) -> bool:
    """Return whether one point is nowhere worse and somewhere better, where less is better."""
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))


def fronts(points: Sequence[Point]) -> list[list[int]]:
    """Return the positions of the points of each front."""
    left, found = list(range(len(points))), []
    while left:
        front = [i for i in left if not any(dominates(points[j], points[i]) for j in left)]
        found.append(front)
        left = [i for i in left if i not in front]
    return found


def crowding(points: Sequence[Point]) -> list[float]:
    """Return the crowding distance of each point of a front."""
    distinct = sorted(set(points))
    total = dict.fromkeys(distinct, 0.0)
    for objective in range(len(points[0])):
        column = [point[objective] for point in distinct]
        finite = [value for value in column if math.isfinite(value)] or [0.0]
        clipped = {p: min(max(p[objective], min(finite)), max(finite)) for p in distinct}
        ordered = sorted(distinct, key=clipped.__getitem__)
        width = max(finite) - min(finite)
        if width:
            for before, point, after in zip(ordered, ordered[1:], ordered[2:], strict=False):
                total[point] += (clipped[after] - clipped[before]) / width
            total[ordered[0]] = total[ordered[-1]] = math.inf
    return [total[p] if p not in points[:i] else 0.0 for i, p in enumerate(points)]


def in_order(trials: Iterable[FrozenTrial], signs: Sequence[float]) -> list[FrozenTrial]:
    """Return the usable trials, the fittest first; a sign is -1 for an objective to maximize."""
    keys: dict[int, tuple[float, ...]] = {}
    groups: dict[tuple[float, bool], list[FrozenTrial]] = {}
    usable = sorted(filter(oracles.usable, trials), key=lambda trial: trial.number)
    for trial in usable:
        violation = sum(value for value in trial.constraints.values() if value > 0)
        groups.setdefault((violation, trial.state == TrialState.PRUNED), []).append(trial)
    for (violation, pruned), group in groups.items():
        points = [
            (math.inf,) * len(signs)
            if pruned
            else tuple(s * v for s, v in zip(signs, trial.values, strict=True))
            for trial in group
        ]
        for number, front in enumerate(fronts(points)):
            distances = crowding([points[i] for i in front])
            for i, distance in zip(front, distances, strict=True):
                keys[group[i].number] = violation, pruned, number, -distance, group[i].number
    return sorted(usable, key=lambda trial: keys[trial.number])


def survivors(
    trials: Sequence[FrozenTrial], first: int, size: int, signs: Sequence[float]
) -> list[FrozenTrial]:
    """Return the survivors of the finished trials whose numbers are below `first`, in order."""
    found: list[FrozenTrial] = []
    for start in range(0, first, size):
        finished = [t for t in trials[start : start + size] if t.state.is_finished()]
        found = in_order([*found, *finished], signs)[:size]
    return found


def volume(points: Iterable[Sequence[int]], reference: Sequence[int]) -> int:
    """Return the hypervolume that points of a grid dominate, cell by cell."""
    corners = [tuple(point) for point in points]
    cells = product(*(range(end) for end in reference))
    return sum(any(all(map(int.__le__, c, cell)) for c in corners) for cell in cells)

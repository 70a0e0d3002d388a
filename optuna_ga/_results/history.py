"""The history of a study: every finished trial's origin and progress, for table and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from optuna_ga._checks import check_population_size, check_study
from optuna_ga._population.fitness import Rank, loss_of, rank
from optuna_ga._population.hypervolume import Hypervolume
from optuna_ga._records import (
    POPULATION_SIZE,
    shown_generation,
    shown_lost,
    shown_mutated,
    shown_parents,
    shown_population_size,
)
from optuna_ga._sampler import GASampler

ORIGINS = ("start", "crossover", "mutation")


class Individual(NamedTuple):
    """A finished trial as an individual of its generation.

    Attributes:
        trial: The storage's own trial, which must not be changed.
        generation: The generation that the trial shows, which was true when it ran; else, or if a
            population size was given, the number divided by the population size, rounded down.
        parents: Trial numbers of the parents.
        mutated: Names of the mutated genes: changed instead of inherited.
        lost: The parents whose trained states were lost when the trial started.
        origin: "mutation" if the trial has mutated genes, "crossover" if it has parents but no
            mutated genes, "start" if it has no parents.
        is_candidate: Whether the trial is complete and feasible, so that it can be the best.
        best_so_far: The best value of the candidates up to this trial; with several objectives
            their hypervolume, see `Hypervolume`. None before the first candidate.
        improved: Whether the trial is better than all candidates before it. The first candidate
            counts, unless its value is infinitely bad. With several objectives: whether the trial
            entered the front, as no candidate before it dominates or equals it.
    """

    trial: FrozenTrial
    generation: int
    parents: list[int]
    mutated: list[str]
    lost: list[int]
    origin: str
    is_candidate: bool
    best_so_far: float | None
    improved: bool


@dataclass(frozen=True)
class History:
    """The finished trials of a study.

    Attributes:
        directions: The study's directions.
        population_size: Trials in a generation.
        individuals: The finished trials, in the order of their numbers.
    """

    directions: Sequence[StudyDirection]
    population_size: int
    individuals: list[Individual]

    @property
    def has_several(self) -> bool:
        """Whether the study has several objectives."""
        return len(self.directions) > 1

    def losses(self, individuals: Sequence[Individual]) -> np.ndarray:
        """Return the losses `(n, M)` of candidates."""
        found = [self._losses(individual.trial) for individual in individuals]
        return np.array(found).reshape(-1, len(self.directions))

    def _losses(self, trial: FrozenTrial) -> tuple[float, ...]:
        return tuple(map(loss_of, trial.values or (), self.directions))


def read_history(study: Study, population_size: int | None) -> History:
    """Return the history of a study, to which other samplers may have contributed.

    A given population size replaces the generations that trials show.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `population_size` is out of range or unknown.
    """
    check_study(study)
    directions = study.directions
    size = population_size_of(study, population_size)
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    trials.sort(key=lambda trial: trial.number)

    def generation_of(trial: FrozenTrial) -> int:
        shown = shown_generation(trial) if population_size is None else None
        return trial.number // size if shown is None else shown

    ranks = [rank(trial, directions) for trial in trials]
    progress = _fronts if len(directions) > 1 else partial(_bests, directions[0])
    individuals = [
        _individual(trial, generation_of(trial), is_candidate(key), *so_far)
        for trial, key, so_far in zip(trials, ranks, progress(ranks), strict=True)
    ]
    return History(directions, size, individuals)


def population_size_of(study: Study, given: int | None) -> int:
    """Return the given population size, or that of the study's sampler or attribute.

    Raises:
        TypeError: If the population size is not an integer.
        ValueError: If it is less than 2, or if it is neither given nor known.
    """
    if given is not None:
        return check_population_size(given)
    if isinstance(study.sampler, GASampler):
        return study.sampler.population_size
    recorded = shown_population_size(study)
    if recorded is None:
        raise ValueError(
            f"`population_size` must be given, because the study has no valid `{POPULATION_SIZE}` "
            f"and its sampler, a {type(study.sampler).__name__}, has no generations."
        )
    return recorded


def edges_of(trial: FrozenTrial) -> dict[str, str]:
    """Return "lower" or "upper" for each numerical parameter that is an end of its range.

    >>> import optuna
    >>> space = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}
    >>> edges_of(optuna.create_trial(value=1, params={"x": 0.0, "y": 0.5}, distributions=space))
    {'x': 'lower'}
    """
    edges = {}
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        if isinstance(distribution, CategoricalDistribution) or distribution.single():
            continue
        assert isinstance(distribution, (FloatDistribution, IntDistribution))
        for edge, end in (("lower", distribution.low), ("upper", distribution.high)):
            if math.isclose(value, end, rel_tol=1e-9):
                edges[name] = edge
    return edges


def median(values: Iterable[float]) -> float:
    """Return the median of some numbers; the mean of the middle two does not overflow."""
    low, high = _middle(values)
    return low if low == high else low / 2 + high / 2


def geometric_median(values: Iterable[float]) -> float:
    """Return the median of some positive numbers on a logarithmic scale."""
    low, high = _middle(values)
    return low if low == high else math.sqrt(low) * math.sqrt(high)


def _middle(values: Iterable[float]) -> tuple[float, float]:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[-half - 1], ordered[half]


def is_candidate(key: Rank | None) -> bool:
    """Return whether a trial of this rank is complete and feasible, so that it can be the best."""
    return key is not None and key.is_candidate


def _individual(
    trial: FrozenTrial,
    generation: int,
    is_candidate: bool,
    best_so_far: float | None,
    improved: bool,
) -> Individual:
    parents, mutated = shown_parents(trial), shown_mutated(trial)
    origin = "mutation" if mutated else "crossover" if parents else "start"
    lost = [number for number in parents if number in shown_lost(trial)]
    return Individual(
        trial, generation, parents, mutated, lost, origin, is_candidate, best_so_far, improved
    )


def _bests(
    direction: StudyDirection, ranks: Sequence[Rank | None]
) -> Iterator[tuple[float | None, bool]]:
    """Yield the best value so far, and whether it is that of a trial, for each trial."""
    sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
    best, least = None, math.inf
    for key in ranks:
        improved = False
        if key is not None and key.is_candidate:
            (loss,) = key.losses
            improved = loss < least
            if improved or best is None:
                best, least = sign * loss, loss
        yield best, improved


def _fronts(ranks: Sequence[Rank | None]) -> Iterator[tuple[float | None, bool]]:
    """Yield the hypervolume so far, and whether a trial entered the front, for each trial."""
    losses = [key.losses for key in ranks if key is not None and key.is_candidate]
    if not losses:
        yield from ((None, False) for _ in ranks)
        return
    points, volume = np.array(losses), Hypervolume(np.array(losses))
    front: list[int] = []  # Positions among the candidates.
    n_candidates, share = 0, None
    for key in ranks:
        entered = False
        if key is not None and key.is_candidate:
            point = points[n_candidates]
            entered = not (points[front] <= point).all(axis=1).any()
            if entered:
                front = [i for i in front if not (point <= points[i]).all()] + [n_candidates]
                share = volume.of(front)
            n_candidates += 1
        yield share, entered

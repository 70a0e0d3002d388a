"""The history of a study: every finished trial's origin and progress, for table and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._checks import check_population_size, check_study, kind_of
from optuna_ga._optuna_internals import free_sampler
from optuna_ga._population.fitness import loss_of, rank
from optuna_ga._records import (
    is_drawn,
    shown_generation,
    shown_lost,
    shown_mutated,
    shown_parents,
    shown_population_size,
)
from optuna_ga._results.improvements import Improvements
from optuna_ga._sampler import GASampler

ORIGINS = ("start", "crossover", "mutation", "random", "other")


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
            mutated genes. Without parents it is "start" in generation 0, and later "random" if the
            sampler drew genes, else "other": enqueued, added or of another sampler.
        is_candidate: Whether the trial is complete and feasible, so that it can be the best.
        improved: Whether the trial is better than all candidates before it. The first candidate
            counts, unless its value is infinitely bad. With several objectives: whether the trial
            entered the front, as no candidate before it dominates or equals it.
        position: The trial's place among the finished trials.
        improvements: The improvements among all finished trials.
    """

    trial: FrozenTrial
    generation: int
    parents: list[int]
    mutated: list[str]
    lost: list[int]
    origin: str
    is_candidate: bool
    improved: bool
    position: int
    improvements: Improvements

    @property
    def best_so_far(self) -> float | None:
        """The best value of the candidates up to this trial; None before the first.

        With several objectives it is their hypervolume, see `Hypervolume`.
        """
        return self.improvements.bests[self.position]


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
    size = population_size_of(study, population_size)
    finished = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    return history_of(finished, study.directions, size, as_shown=population_size is None)


def history_of(
    finished: Iterable[FrozenTrial],
    directions: Sequence[StudyDirection],
    population_size: int,
    *,
    as_shown: bool = True,
) -> History:
    """Return the history of some finished trials, as if they were the whole study.

    Args:
        finished: The trials.
        directions: The study's directions.
        population_size: Trials in a generation.
        as_shown: Whether trials belong to the generations that they show, if they do, rather than
            to those of their numbers.
    """
    trials = sorted(finished, key=lambda trial: trial.number)
    improvements = Improvements([rank(trial, directions) for trial in trials], directions)
    individuals = []
    for position, trial in enumerate(trials):
        by_number = trial.number // population_size
        generation = generation_of(trial, population_size) if as_shown else by_number
        individuals.append(_individual(trial, generation, position, improvements))
    return History(directions, population_size, individuals)


def generation_of(trial: FrozenTrial, population_size: int) -> int:
    """Return the generation that a trial shows, or else that of its number."""
    shown = shown_generation(trial)
    return trial.number // population_size if shown is None else shown


def population_size_of(study: Study, given: int | None) -> int:
    """Return the given population size, or that of the study's sampler or attribute.

    Raises:
        TypeError: If the population size is not an integer.
        ValueError: If it is less than 2, or if it is neither given nor known.
    """
    if given is not None:
        return check_population_size(given)
    sampler = free_sampler(study)
    if isinstance(sampler, GASampler):
        return sampler.population_size
    recorded = shown_population_size(study)
    if recorded is None:
        raise ValueError(
            f"`population_size` must be given, because the study's sampler, {kind_of(sampler)}, "
            "has no generations, and no GASampler has recorded any."
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
            if _is_end(value, end, distribution):
                edges[name] = edge
    return edges


def value_of(trial: FrozenTrial) -> float | None:
    """Return a trial's only value; of a pruned trial without a value its last report."""
    if trial.value is None and trial.state == TrialState.PRUNED and trial.last_step is not None:
        return trial.intermediate_values[trial.last_step]
    return trial.value


def _is_end(value: float, end: float, distribution: FloatDistribution | IntDistribution) -> bool:
    """Return whether a value is an end of its range, apart from rounding."""
    if isinstance(distribution, IntDistribution):
        return value == end
    if distribution.log:
        return math.isclose(value, end, rel_tol=1e-9)
    half = distribution.high / 2 - distribution.low / 2  # The whole range may overflow.
    return abs(value / 2 - end / 2) <= 1e-9 * half


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


def _individual(
    trial: FrozenTrial, generation: int, position: int, improvements: Improvements
) -> Individual:
    parents, mutated = shown_parents(trial), shown_mutated(trial)
    lost = [number for number in parents if number in shown_lost(trial)]
    return Individual(
        trial=trial,
        generation=generation,
        parents=parents,
        mutated=mutated,
        lost=lost,
        origin=_origin(trial, generation, parents, mutated),
        is_candidate=improvements.are_candidates[position],
        improved=improvements.improved[position],
        position=position,
        improvements=improvements,
    )


def _origin(
    trial: FrozenTrial, generation: int, parents: Sequence[int], mutated: Sequence[str]
) -> str:
    if parents:
        return "mutation" if mutated else "crossover"
    if generation == 0:
        return "start"
    return "random" if is_drawn(trial) else "other"

"""The scores in a suite's rows, and the ranks of the samplers by them.

Shape letters: `S` samplers, `N` pairs of a task and a seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from benchmarks.rows import Row

NEARLY_ALL = 0.9  # A run that was stopped lacks some studies of its last seed.
N_RESAMPLES = 1000

Pair = tuple[str, int]  # A task and a seed.
Scores = Mapping[str, Mapping[Pair, float]]  # By sampler.


class Field(NamedTuple):
    """Samplers that are ranked together.

    Attributes:
        samplers: Their names.
        pairs: The pairs that all of them have.
        scores: Their scores `(S, N)`.
    """

    samplers: list[str]
    pairs: list[Pair]
    scores: np.ndarray

    @property
    def ranks(self) -> np.ndarray:
        """Ranks `(S, N)` within each pair, from 1; equal scores share the mean of theirs."""
        return np.asarray(stats.rankdata(self.scores, axis=0))

    @property
    def tasks(self) -> dict[str, list[int]]:
        """The pairs' indices by task."""
        found: dict[str, list[int]] = {}
        for index, (task, _) in enumerate(self.pairs):
            found.setdefault(task, []).append(index)
        return found


class MeanRank(NamedTuple):
    """A sampler's rank, averaged over the seeds of each task and then over the tasks.

    Attributes:
        mean: The mean.
        low: Lower end of its 95 % interval, by resampling the seeds within each task; NaN if
            each has but one.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


def scores_after(rows: Sequence[Row], n_workers: int, n_trials: int) -> Scores:
    """Return the scores after so many trials; of two equal studies that of the longer one."""
    found: dict[str, dict[Pair, float]] = {}
    for row in sorted(rows, key=lambda row: int(row["trials"])):
        score = row.get(f"best_{n_trials}", "")
        if int(row["workers"]) == n_workers and score:
            found.setdefault(row["sampler"], {})[row["task"], int(row["seed"])] = float(score)
    return found


def nearly_complete(scores: Scores) -> Field | None:
    """Return the samplers that have nearly as many pairs as any has."""
    most = max(map(len, scores.values()), default=0)
    return _field(scores, [name for name in scores if len(scores[name]) >= NEARLY_ALL * most])


def everyone(scores: Scores) -> Field | None:
    """Return all samplers on the pairs that they share, if any has fewer than nearly all."""
    complete = nearly_complete(scores)
    if complete is not None and len(complete.samplers) == len(scores):
        return None
    return _field(scores, list(scores))


def mean_ranks(field: Field) -> dict[str, MeanRank]:
    """Return each sampler's mean rank."""
    rng = np.random.default_rng(0)
    ranks, tasks = field.ranks, field.tasks
    means = np.mean([ranks[:, pairs].mean(axis=1) for pairs in tasks.values()], axis=0)
    resampled = np.zeros((len(field.samplers), N_RESAMPLES))
    for pairs in tasks.values():
        drawn = rng.choice(pairs, size=(N_RESAMPLES, len(pairs)))
        resampled += ranks[:, drawn].mean(axis=-1) / len(tasks)
    if len(tasks) == len(field.pairs):
        resampled[:] = np.nan
    lows, highs = np.quantile(resampled, (0.025, 0.975), axis=1)
    columns = zip(means.tolist(), lows.tolist(), highs.tolist(), strict=True)
    return {name: MeanRank(*c) for name, c in zip(field.samplers, columns, strict=True)}


class Signs(NamedTuple):
    """On how many of the pairs that both have one sampler is better, equal and worse."""

    wins: int
    ties: int
    losses: int

    @property
    def p(self) -> float:
        """Two-sided p-value of the sign test, which leaves ties out."""
        decided = self.wins + self.losses
        return float(stats.binomtest(self.wins, decided).pvalue) if decided else 1.0


def signs(first: Mapping[Pair, float], second: Mapping[Pair, float]) -> Signs:
    """Return how scores compare with others."""
    pairs = first.keys() & second.keys()
    wins = sum(first[pair] < second[pair] for pair in pairs)
    losses = sum(first[pair] > second[pair] for pair in pairs)
    return Signs(wins, len(pairs) - wins - losses, losses)


def _field(scores: Scores, samplers: list[str]) -> Field | None:
    """Return the samplers as a field, if there are two of them with a pair in common."""
    if len(samplers) < 2:
        return None
    pairs = sorted(set.intersection(*(set(scores[name]) for name in samplers)))
    if not pairs:
        return None
    return Field(
        samplers, pairs, np.array([[scores[name][p] for p in pairs] for name in samplers])
    )

"""The scores in a suite's rows, and the ranks of the samplers by them.

A frame of scores has a row for each pair of a task and a seed, and a column for each of the `S`
samplers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

NEARLY_ALL = 0.9  # A run that was stopped lacks some studies of its last seed.
N_RESAMPLES = 1000


class MeanRank(NamedTuple):
    """A sampler's rank, averaged over the seeds of each task and then over the tasks.

    Attributes:
        mean: The mean.
        low: Lower end of its 95 % interval, by resampling the seeds within each task; NaN if
            each task has a single seed.
        high: Upper end.
    """

    mean: float
    low: float
    high: float


def scores_after(rows: pd.DataFrame, n_workers: int, n_trials: int) -> pd.DataFrame:
    """Return the scores after so many trials, NaN for a pair that a sampler lacks.

    Of two studies of different lengths that are alike otherwise, the longer counts.
    """
    score = f"best_{n_trials}"
    if score not in rows:
        return pd.DataFrame()
    found = rows[(rows["workers"] == n_workers) & rows[score].notna()]
    found = found.sort_values("trials", kind="stable")
    key = ["task", "seed", "sampler"]
    longest = found.drop_duplicates(key, keep="last").set_index(key)[score]
    return longest.unstack("sampler")[found["sampler"].unique()]


def nearly_complete(scores: pd.DataFrame) -> pd.DataFrame | None:
    """Return the scores of the samplers that have nearly as many pairs as any has.

    They are on the pairs that these samplers share; None unless two samplers share a pair.
    """
    n_pairs = scores.count()
    return _shared(scores.loc[:, n_pairs >= NEARLY_ALL * n_pairs.max()])


def everyone(scores: pd.DataFrame) -> pd.DataFrame | None:
    """Return the scores of all samplers, if any sampler has fewer than nearly all pairs."""
    complete = nearly_complete(scores)
    if complete is not None and complete.shape[1] == scores.shape[1]:
        return None
    return _shared(scores)


def _shared(scores: pd.DataFrame) -> pd.DataFrame | None:
    shared = scores.dropna()
    return None if shared.empty or shared.shape[1] < 2 else shared


def mean_ranks(scores: pd.DataFrame) -> dict[str, MeanRank]:
    """Return each sampler's mean rank; equal scores of a pair share the mean of their ranks."""
    rng = np.random.default_rng(0)
    ranks = scores.rank(axis="columns")
    of_tasks = [of_task.to_numpy() for _, of_task in ranks.groupby("task")]  # Each (seeds, S).
    means = np.mean([of_task.mean(axis=0) for of_task in of_tasks], axis=0)
    resampled = np.zeros((N_RESAMPLES, ranks.shape[1]))
    for of_task in of_tasks:
        drawn = rng.choice(len(of_task), size=(N_RESAMPLES, len(of_task)))
        resampled += of_task[drawn].mean(axis=1) / len(of_tasks)
    if len(of_tasks) == len(ranks):
        resampled[:] = np.nan
    lows, highs = np.quantile(resampled, (0.025, 0.975), axis=0)
    columns = zip(means.tolist(), lows.tolist(), highs.tolist(), strict=True)
    return {str(name): MeanRank(*c) for name, c in zip(ranks, columns, strict=True)}


class Signs(NamedTuple):
    """Numbers of pairs on which a sampler is better than another, equal, and worse."""

    wins: int
    ties: int
    losses: int

    @property
    def p(self) -> float:
        """Two-sided p-value of the sign test, which leaves ties out."""
        decided = self.wins + self.losses
        return float(stats.binomtest(self.wins, decided).pvalue) if decided else 1.0


def signs(scores: pd.DataFrame, first: str, second: str) -> Signs:
    """Return how one sampler's scores compare with another's on the pairs that both have."""
    a, b = scores[first], scores[second]
    return Signs(int((a < b).sum()), int((a == b).sum()), int((a > b).sum()))

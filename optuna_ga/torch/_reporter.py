"""The results of a generation's trials, reported after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from optuna import Trial, TrialPruned
from optuna.study import StudyDirection

from optuna_ga.torch._metrics import Metrics
from optuna_ga.torch._training import Epoch


class _Valued(NamedTuple):
    """An epoch, counted from 1, and its value by each metric."""

    epoch: int
    result: Epoch
    values: Sequence[float]


class Reporter:
    """Records each trial's results, and ends those that its study prunes.

    Args:
        trials: The trials.
        epochs: The number of epochs of each.
        metrics: The metrics that are the values.
        worst: The worst value of each metric; None is infinity.
        takes_best: Whether a trial is valued by its best epoch by the first metric, not its last.
        reports: Whether each epoch's value is reported, and trials are pruned.

    Attributes:
        n_finite: Number of trials that ended with finite values.
        n_clipped: Number of those whose value by each metric is worse than the worst one, which
            they get.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        epochs: Sequence[int],
        metrics: Metrics,
        worst: Sequence[float | None],
        *,
        takes_best: bool,
        reports: bool,
    ) -> None:
        self._are_losses = [
            all(trial.study.directions[n] == StudyDirection.MINIMIZE for trial in trials)
            for n in range(len(worst))
        ]
        self._worst = [
            limit if limit is not None else math.inf if is_loss else -math.inf
            for limit, is_loss in zip(worst, self._are_losses, strict=True)
        ]
        self._values = [self._worst] * len(trials)
        self.n_finite = 0
        self.n_clipped = [0] * len(worst)
        self._chosen: dict[int, _Valued] = {}
        self._exceptions: dict[int, Exception] = {}
        self._trials = trials
        self._epochs = epochs
        self._metrics = metrics
        self._takes_best = takes_best
        self._reports = reports
        self._seconds = [0.0] * len(trials)
        self._start = time.perf_counter()

    @property
    def results(self) -> list[list[float] | Exception]:
        """The values of each trial, or the exception that ended it, such as a TrialPruned."""
        return [self._exceptions.get(n, values) for n, values in enumerate(self._values)]

    def fail(self, position: int, error: Exception) -> None:
        """Take an exception as the result of a trial, unless it has another one."""
        self._exceptions.setdefault(position, error)

    @contextmanager
    def failing_alone(self, position: int) -> Iterator[None]:
        """Take an exception in the context as the result of a trial."""
        try:
            yield
        except Exception as error:  # Of the storage, the pruner or the place of states.
            self.fail(position, error)

    def __call__(self, epoch: int, ended: Mapping[int, Epoch | None]) -> Collection[int]:
        """Report; return the positions of the trials that are pruned or have failed."""
        share = (time.perf_counter() - self._start) / len(ended)
        for position, result in ended.items():
            self._seconds[position] += share
            if result is not None:
                with self.failing_alone(position):
                    self._take(epoch, position, result)
        for position, result in ended.items():
            with self.failing_alone(position):
                self._end(epoch, position, result)
        self._start = time.perf_counter()
        return self._exceptions.keys() & ended.keys()

    def _take(self, epoch: int, position: int, result: Epoch) -> None:
        """Report an epoch, and keep it if the trial is valued by it so far."""
        valued = _Valued(epoch, result, self._metrics.values(result.metrics))
        if self._reports:
            self._trials[position].report(self._clipped(valued.values)[0], step=epoch)
        before = self._chosen.get(position)
        if before is None or not self._takes_best or self._is_better(valued, before):
            self._chosen[position] = valued

    def _is_better(self, one: _Valued, other: _Valued) -> bool:
        sign = 1 if self._are_losses[0] else -1
        return sign * one.values[0] < sign * other.values[0]

    def _end(self, epoch: int, position: int, result: Epoch | None) -> None:
        """Record the trial if this is its last epoch."""
        trial = self._trials[position]
        is_last = epoch == self._epochs[position]
        if result is None:
            trial.set_user_attr("diverged", True)
        elif not is_last and self._reports and trial.should_prune():
            self.fail(position, TrialPruned())
        is_over = is_last or position in self._exceptions
        if result is not None and is_over and position in self._chosen:
            self._record(position, self._chosen[position])
        if result is None or is_over:
            trial.set_user_attr("training_s", self._seconds[position])

    def _record(self, position: int, chosen: _Valued) -> None:
        """Value a trial by an epoch."""
        trial = self._trials[position]
        self._values[position] = clipped = self._clipped(chosen.values)
        self.n_finite += 1
        for n, pair in enumerate(zip(clipped, chosen.values, strict=True)):
            self.n_clipped[n] += pair[0] != pair[1]
        if self._takes_best:
            trial.set_user_attr("best_epoch", chosen.epoch)
        trial.set_user_attr("training_loss", chosen.result.training_loss)
        for name, mean in chosen.result.metrics.items():
            trial.set_user_attr(f"validation_{name}", mean)

    def _clipped(self, values: Sequence[float]) -> list[float]:
        """Return values that are not worse than the worst."""
        return [
            min(value, worst) if is_loss else max(value, worst)
            for value, worst, is_loss in zip(values, self._worst, self._are_losses, strict=True)
        ]

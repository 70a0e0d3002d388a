"""The results of a generation's trials, reported after every epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from optuna import Trial, TrialPruned
from optuna.study import StudyDirection

from optuna_ga.torch._training import Epoch


class Reporter:
    """Records each trial's results, and ends those that its study prunes.

    Args:
        trials: The trials.
        epochs: The number of epochs of each.
        metric: Name of the metric that is the value.
        worst: The worst value; None is infinity.
        reports: Whether each epoch's value is reported, and trials are pruned.

    Attributes:
        n_finite: Number of trials that ended with a finite value.
        n_clipped: Number of those whose value is worse than the worst one, which they get.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        epochs: Sequence[int],
        metric: str,
        worst: float | None,
        *,
        reports: bool,
    ) -> None:
        self._is_loss = all(
            trial.study.directions[0] == StudyDirection.MINIMIZE for trial in trials
        )
        self._worst = worst if worst is not None else math.inf if self._is_loss else -math.inf
        self._values = [self._worst] * len(trials)
        self.n_finite = self.n_clipped = 0
        self._exceptions: dict[int, Exception] = {}
        self._trials = trials
        self._epochs = epochs
        self._metric = metric
        self._reports = reports
        self._seconds = [0.0] * len(trials)
        self._start = time.perf_counter()

    @property
    def results(self) -> list[float | Exception]:
        """The value of each trial, or the exception that ended it, such as a TrialPruned."""
        return [self._exceptions.get(n, value) for n, value in enumerate(self._values)]

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
            if result is not None and self._reports:
                with self.failing_alone(position):
                    self._trials[position].report(self._value(result), step=epoch)
        for position, result in ended.items():
            with self.failing_alone(position):
                self._end(epoch, position, result)
        self._start = time.perf_counter()
        return self._exceptions.keys() & ended.keys()

    def _end(self, epoch: int, position: int, result: Epoch | None) -> None:
        """Record the trial's last epoch if it has ended."""
        trial = self._trials[position]
        is_last = epoch == self._epochs[position]
        if result is None:
            trial.set_user_attr("diverged", True)
        elif not is_last and self._reports and trial.should_prune():
            self.fail(position, TrialPruned())
        is_over = is_last or position in self._exceptions
        if result is not None and is_over:
            self._values[position] = value = self._value(result)
            self.n_finite += 1
            self.n_clipped += value != result.metrics[self._metric]
            trial.set_user_attr("training_loss", result.training_loss)
            for name, value in result.metrics.items():
                trial.set_user_attr(f"validation_{name}", value)
        if result is None or is_over:
            trial.set_user_attr("training_s", self._seconds[position])

    def _value(self, result: Epoch) -> float:
        check_metric(self._metric, result.metrics)
        value = result.metrics[self._metric]
        return min(value, self._worst) if self._is_loss else max(value, self._worst)


def check_metric(metric: str, known: Collection[str] | None) -> None:
    """Check that a task has a metric, if its metrics are known.

    Raises:
        ValueError: If it has none of this name.
    """
    if known is not None and metric not in known:
        raise ValueError(
            f"`metric` must be one of {sorted(known)}, which `task.metrics` returns, but "
            f"{metric!r} was given."
        )

"""The trainer as an objective: reports, pruning, states, and the result of each trial."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna import Trial, TrialPruned
from optuna.study import StudyDirection

from optuna_ga._training.checkpoints import Checkpoints
from optuna_ga.torch._task import Member
from optuna_ga.torch._training import Epoch

if TYPE_CHECKING:
    from optuna_ga.torch._trainer import PopulationTrainer


class GenerationObjective:
    """Trains a generation and returns a result for each trial; for `optimize_generations`.

    Args:
        trainer: The trainer.
        suggest: Returns the settings of a trial's member.
        metric: Name of the task's metric to optimize.
        checkpoints: Where states are kept; None trains each member from scratch.
        worst: Value of a diverged trial, and the worst of any; None is infinity.
    """

    def __init__(
        self,
        trainer: PopulationTrainer,
        suggest: Callable[[Trial], Member],
        metric: str,
        checkpoints: Checkpoints | None,
        worst: float | None,
    ) -> None:
        self._trainer = trainer
        self._suggest = suggest
        self._metric = metric
        self._checkpoints = checkpoints
        self._worst = worst

    def __call__(self, trials: Sequence[Trial]) -> list[float | TrialPruned]:
        """Train the trials' members together.

        Args:
            trials: The trials, whose parameters are suggested here.

        Returns:
            For each trial its metric after the last epoch; the worst value if its training
            diverged; or an `optuna.TrialPruned` if the study's pruner ended it.
        """
        members = [self._suggest(trial) for trial in trials]
        reporter = _Reporter(trials, self._trainer.epochs, self._metric, self._worst)
        ended = self._trainer.train(
            members, states=[self._start(trial) for trial in trials], after_epoch=reporter
        )
        if self._checkpoints is not None:
            for trial, trained in zip(trials, ended, strict=True):
                if trained.state is not None:
                    self._checkpoints.save(trial, trained.state)
        return reporter.results

    def _start(self, trial: Trial) -> Mapping[str, Any] | None:
        """Return the state that a trial continues, if it does."""
        state: Mapping[str, Any] | None = None
        if self._checkpoints is not None:
            state = self._checkpoints.load_parent(trial)
        return state


class _Reporter:
    """Reports each epoch's results to the trials, and returns which are pruned."""

    def __init__(
        self, trials: Sequence[Trial], epochs: int, metric: str, worst: float | None
    ) -> None:
        self._is_loss = all(each.study.direction == StudyDirection.MINIMIZE for each in trials)
        self._worst = worst if worst is not None else math.inf if self._is_loss else -math.inf
        self.results: list[float | TrialPruned] = [self._worst] * len(trials)
        self._trials = trials
        self._epochs = epochs
        self._metric = metric
        self._seconds = [0.0] * len(trials)
        self._start = time.perf_counter()

    def __call__(self, epoch: int, ended: Mapping[int, Epoch | None]) -> Collection[int]:
        """Report; return the positions of the pruned trials."""
        share = (time.perf_counter() - self._start) / len(ended)
        for position, result in ended.items():
            self._seconds[position] += share
            if result is not None:
                self._trials[position].report(self._value(result), step=epoch)
        pruned = {
            position for position, result in ended.items() if self._end(epoch, position, result)
        }
        self._start = time.perf_counter()
        return pruned

    def _end(self, epoch: int, position: int, result: Epoch | None) -> bool:
        """Record the trial's last epoch if it has ended, and return whether it was pruned."""
        trial = self._trials[position]
        is_last = epoch == self._epochs
        pruned = result is not None and not is_last and trial.should_prune()
        if result is None:
            trial.set_user_attr("diverged", True)
        elif pruned or is_last:
            self.results[position] = TrialPruned() if pruned else self._value(result)
            trial.set_user_attr("training_loss", result.training_loss)
            for name, value in result.metrics.items():
                trial.set_user_attr(f"validation_{name}", value)
        if result is None or pruned or is_last:
            trial.set_user_attr("training_s", self._seconds[position])
        return pruned

    def _value(self, result: Epoch) -> float:
        if self._metric not in result.metrics:
            raise ValueError(
                f"`metric` must be one of {sorted(result.metrics)}, which `task.metrics` returns, "
                f"but {self._metric!r} was given."
            )
        value = result.metrics[self._metric]
        return min(value, self._worst) if self._is_loss else max(value, self._worst)

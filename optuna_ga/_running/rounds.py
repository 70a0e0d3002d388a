"""Which trials an executor evaluates together, and which alone because they may break it.

A broken executor does not say which trial broke it, as by taking all memory. So a trial that was
being evaluated when two executors broke is evaluated alone from then on, by an executor that
nobody else uses. Once it has broken two of these, it is given up, and the others go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor

import optuna
from optuna import Trial

from optuna_ga._checks import listed_trials
from optuna_ga._running.outcome import NoResult, text_of

_BREAKS_TOGETHER = 2  # A single one may be chance, and trials one by one take long.
_BREAKS = 4
_MAX_VAIN_RESTARTS = 7  # In a row without a result; others may break the same executors.

_logger = optuna.logging.get_logger("optuna.generations")


class BrokenByTrialError(BrokenExecutor):
    """A trial has broken each executor that evaluated it.

    Args:
        number: The trial's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(
            f"Trial {number} broke {_BREAKS} executors, the last {_BREAKS - _BREAKS_TOGETHER} "
            "when nothing else was evaluated: it ends its worker process, as for lack of memory."
        )


class Rounds:
    """The trials of a generation that wait for a result, in rounds of one executor each.

    Args:
        trials: The trials.
        has_more: Whether lost trials can be given to another executor.
    """

    def __init__(self, trials: Sequence[Trial], has_more: bool) -> None:
        self.waiting = {trial.number: trial for trial in trials}
        self._has_more = has_more
        self._lost: dict[int, NoResult] = {}
        self._n_breaks: Counter[int] = Counter()
        self._n_vain = 0

    def start(self) -> tuple[list[Trial], bool]:
        """Return the trials to evaluate together, and whether it is one that is to be alone."""
        waiting = list(self.waiting.values())
        alone = [t for t in waiting if self._n_breaks[t.number] >= _BREAKS_TOGETHER]
        return alone[:1] or waiting, bool(alone)

    def end(
        self, together: Sequence[Trial], lost: Mapping[int, NoResult], n_workers: int | None
    ) -> list[tuple[Trial, NoResult]]:
        """Return the trials to give up, with the reason.

        They wait no longer, like those with a result.

        Args:
            together: The trials of the round, in the order in which the executor got them.
            lost: What it left without a result, by trial numbers.
            n_workers: How many trials it can have evaluated at the same time; None if that is not
                known.
        """
        for trial in together:
            if trial.number not in lost:
                del self.waiting[trial.number]
        self._lost.update(lost)
        started = [t.number for t in together if t.number in lost][:n_workers]
        given_up = self._known(started)
        is_vain = len(lost) == len(together) and not given_up
        self._n_vain = self._n_vain + 1 if is_vain else 0
        if lost and not given_up:
            if self._goes_on(lost):
                error = text_of(next(iter(lost.values())).error, repr)
                numbers = listed_trials(sorted(lost))
                _logger.warning(
                    f"An executor left {numbers} without a result: {error}. A new one is made."
                )
            else:
                given_up = list(self.waiting)
                self._hint(lost)
        return [(self.waiting.pop(number), self._lost[number]) for number in given_up]

    def _hint(self, lost: Mapping[int, NoResult]) -> None:
        if not self._has_more and any(isinstance(r.error, BrokenExecutor) for r in lost.values()):
            _logger.warning(
                "If a trial ends its worker process each time, give `InParallel` a function that "
                "makes the executor: then that trial is found."
            )

    def _goes_on(self, lost: Mapping[int, NoResult]) -> bool:
        exits = any(not isinstance(result.error, Exception) for result in lost.values())
        return self._has_more and not exits and self._n_vain <= _MAX_VAIN_RESTARTS

    def _known(self, started: Sequence[int]) -> list[int]:
        """Return the number of the trial that breaks executors, if it is known by now.

        Args:
            started: The trials that were being evaluated when the executor failed; trials start
                in the given order, one on each worker.
        """
        if not any(isinstance(self._lost[number].error, BrokenExecutor) for number in started):
            return []
        self._n_breaks.update(started)
        known = [number for number in started if self._n_breaks[number] >= _BREAKS]
        for number in known:
            error = BrokenByTrialError(number)
            _logger.warning(str(error))
            self._lost[number] = NoResult(error)
        return known

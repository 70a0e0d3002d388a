"""Which trials an executor evaluates together, and which alone because they may break it.

A broken executor does not say which trial broke it, as by taking all memory. So a trial that was
being evaluated when two executors broke is evaluated alone from then on. Once it has broken two
more, it is given up, and every other trial has its result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor

import optuna
from optuna import Trial

from optuna_ga._checks import listed_trials
from optuna_ga._running.outcome import NoResult, text_of

_BREAKS_TOGETHER = 2  # A single one may be chance, and trials one by one take long.
_BREAKS = 4
_MAX_VAIN_RESTARTS = 7  # In a row without a result; two trials that break executors take six.

_logger = optuna.logging.get_logger("optuna.generations")


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

    def start(self) -> list[Trial]:
        """Return the trials to evaluate together: one that is to be alone, or else all."""
        waiting = list(self.waiting.values())
        alone = [t for t in waiting if self._n_breaks[t.number] >= _BREAKS_TOGETHER]
        return alone[:1] or waiting

    def end(
        self, executor: Executor, together: Sequence[Trial], lost: Mapping[int, NoResult]
    ) -> list[tuple[Trial, NoResult]]:
        """Return the trials to give up, which wait no longer, with the reason.

        Args:
            executor: The executor.
            together: The trials that it was to evaluate, in the order in which it got them.
            lost: What it left without a result, by trial numbers.
        """
        self._lost.update(lost)
        self._n_vain = self._n_vain + 1 if len(lost) == len(together) else 0
        given_up = self._known(executor, [t.number for t in together if t.number in lost])
        if lost and not given_up:
            if self._goes_on(lost):
                error = text_of(next(iter(lost.values())).error, repr)
                numbers = listed_trials(sorted(lost))
                _logger.warning(
                    f"An executor left {numbers} without a result: {error}. A new one is made."
                )
            else:
                given_up = list(self.waiting)
        return [(self.waiting.pop(number), self._lost[number]) for number in given_up]

    def _goes_on(self, lost: Mapping[int, NoResult]) -> bool:
        exits = any(not isinstance(result.error, Exception) for result in lost.values())
        return self._has_more and not exits and self._n_vain <= _MAX_VAIN_RESTARTS

    def _known(self, executor: Executor, lost: Sequence[int]) -> list[int]:
        """Return the number of the trial that breaks executors, if it is known by now."""
        if not any(isinstance(self._lost[number].error, BrokenExecutor) for number in lost):
            return []
        # Trials start in the given order, one on each worker. An executor that does not say how
        # many workers it has may have started all.
        started = lost[: getattr(executor, "_max_workers", None)]
        self._n_breaks.update(started)
        known = [number for number in started if self._n_breaks[number] >= _BREAKS]
        for number in known:
            error = BrokenExecutor(
                f"Trial {number} broke {_BREAKS} executors, the last {_BREAKS - _BREAKS_TOGETHER} "
                "when nothing else was evaluated: it ends its worker process, as for lack of "
                "memory."
            )
            _logger.warning(str(error))
            self._lost[number] = NoResult(error)
        return known

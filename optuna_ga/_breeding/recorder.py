"""What a study and its trials show of the breeding: each user attribute is written once."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._breeding.breeder import Breeder, TrialMemory
from optuna_ga._records import (
    record_generation,
    record_mutated,
    record_origin,
    record_population_size,
    record_sampler,
    record_unfinished,
    shown_sampler,
)

_logger = optuna.logging.get_logger("optuna.sampler")


class Recorder:
    """Writes the attributes `ga_*` of one study and of its trials.

    Args:
        breeder: The breeder of the study's trials.
        population_size: Trials in a generation.
        record: Whether anything is written.
    """

    def __init__(self, breeder: Breeder, population_size: int, record: bool) -> None:
        self._breeder = breeder
        self._population_size = population_size
        self._record = record
        self._has_origin: TrialMemory[bool] = TrialMemory()
        self._has_sampler = False

    def record_start(
        self, study: Study, trial: FrozenTrial, unfinished: Sequence[int] | None, sampler: object
    ) -> None:
        """Record a trial that starts.

        Args:
            study: The study.
            trial: The trial.
            unfinished: The earlier trials that had not finished, if pools depend on them.
            sampler: The study's sampler.
        """
        if not self._record:
            return
        if unfinished is not None:
            record_unfinished(study, trial, unfinished)
        # Another sampler may have run since: looked up once for each generation.
        if not self._has_sampler or trial.number % self._population_size == 0:
            if not self._has_sampler:
                _log_change(shown_sampler(study), repr(sampler))
            record_population_size(study, self._population_size)
            record_sampler(study, repr(sampler))
            self._has_sampler = True
        record_generation(study, trial, trial.number // self._population_size)

    def record_origin(self, study: Study, trial: FrozenTrial) -> None:
        """Record a running trial's parents and mutated genes."""
        if self._record and trial.number not in self._has_origin:
            parents, mutated = self._breeder.origin(study, trial)
            record_origin(study, trial, [parent.number for parent in parents], mutated)
            self._has_origin[trial.number] = True

    def record_end(self, study: Study, trial: FrozenTrial) -> None:
        """Record the genes of a trial that ends which have mutated since."""
        if self._record:
            record_mutated(study, trial, self._breeder.mutated_at_end(study, trial))
        self._has_origin.pop(trial.number, None)


def _log_change(before: str | None, now: str) -> None:
    """Log that a study goes on with another sampler; warn if only settings differ.

    Another kind of sampler is a choice, another seed may be an oversight.
    """
    if before is None or before == now:
        return
    same_kind = before.partition("(")[0] == now.partition("(")[0]
    _logger.log(
        logging.WARNING if same_kind else logging.INFO,
        f"The latest sampler that the study has recorded is `{before}`, and new trials come from "
        f"`{now}`: the study may not be the one that either makes alone.",
    )

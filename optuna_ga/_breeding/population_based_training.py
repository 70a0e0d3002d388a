"""Population-based training: the paper's breeder, for trials that resume their parents' training.

Two things differ from the paper: who may be a parent, which takes a saved state, and that a trial
chooses its parents when it starts, since it needs the state before its first gene. With truncation
selection, that of Jaderberg et al. 2017 (arXiv:1711.09846), a trial has one parent.
"""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._breeding.paper import PaperBreeder
from optuna_ga._breeding.paper_settings import PaperSettings
from optuna_ga._population.draws import trial_draws
from optuna_ga._population.fitness import can_be_continued
from optuna_ga._records import CHECKPOINT

HOW_TO_SAVE = (
    "Call `Checkpoints.save(trial, state)` in the objective, give a trainer's objective "
    f"`checkpoints=Checkpoints()`, or set the attribute `{CHECKPOINT}` if you keep states "
    "otherwise."
)

_logger = optuna.logging.get_logger("optuna.checkpoints")


class ContinuingBreeder(PaperBreeder):
    """The paper's algorithm among the trials from which training can resume.

    Args:
        study: The study.
        settings: The sampler's settings.
        seed: Seed of all draws.
    """

    # At the start, before other workers remove the state that the trial is to resume from.
    chooses_at_start = True

    def __init__(self, study: Study, settings: PaperSettings, seed: int) -> None:
        super().__init__(study, settings, seed, may_be_parent=can_be_continued)
        self._states_expected = False

    def _choose(self, study: Study, trial: FrozenTrial) -> Sequence[FrozenTrial]:
        """Return a trial's parents; warn once if it has none because no trial saved a state."""
        parents = super()._choose(study, trial)
        after_start = trial.number >= self._settings.population_size
        if not parents and after_start and not self._states_expected:
            self._states_expected = True
            finished, _ = self.generations.history(study, trial.number)
            self._warn_without_states(trial.number, finished)
        return parents

    def _select(self, number: int, candidates: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
        """Return two parents; with truncation the trial's predecessor, or one of the fittest."""
        if self._settings.selection != "truncation":
            return super()._select(number, candidates)
        size, n_replaced = self._settings.population_size, self._settings.n_parents
        for candidate in candidates[: size - n_replaced]:
            if candidate.number == number - size:
                return [candidate]
        draw = trial_draws(self._seed, number).first_parent
        return [candidates[int(draw * len(candidates[:n_replaced]))]] if candidates else []

    def _mutation_prob(self, trial: FrozenTrial, parents: Sequence[FrozenTrial]) -> float:
        """Return 0 for a trial that trains on unchanged."""
        if self._settings.selection == "truncation":
            predecessor = trial.number - self._settings.population_size
            if [parent.number for parent in parents] == [predecessor]:
                return 0.0
        return super()._mutation_prob(trial, parents)

    def _warn_without_states(self, number: int, finished: Sequence[FrozenTrial]) -> None:
        complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
        if len(complete) >= 2 and not any(CHECKPOINT in trial.user_attrs for trial in complete):
            _logger.warning(
                f"Trial {number} trains from scratch with random parameters, and so will all "
                f"later trials: none of the {len(complete)} complete trials has saved a state. "
                f"{HOW_TO_SAVE}"
            )

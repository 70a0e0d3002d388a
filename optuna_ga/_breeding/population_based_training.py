"""Population-based training: the paper's breeder, for trials that resume their parents' training.

Two things differ from the paper: who may be a parent, which takes a saved state, and that a trial
chooses its parents when it starts, since it needs the state before its first gene.
"""

from __future__ import annotations

from optuna.study import Study

from optuna_ga._breeding.paper import PaperBreeder, PaperSettings
from optuna_ga._population.fitness import can_be_continued


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

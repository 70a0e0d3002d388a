"""`ignored_trials`: the trials that the model of `GASampler.adaptive` leaves out."""

from __future__ import annotations

import copy
from dataclasses import replace

from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._breeding.adaptive_settings import AdaptiveSettings
from optuna_ga._checks import check_study
from optuna_ga._optuna_internals import free_sampler
from optuna_ga._sampler import GASampler, breeder_of


def ignored_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that the model of `GASampler.adaptive` ignores, by number.

    They failed, or their values are far worse than the model predicts from all other trials, as
    if by chance. An ignored trial keeps its value in the study and can still be a parent, but the
    model does not learn from it; with several objectives, from the values that are so bad. The
    next results may change what is ignored.

    Args:
        study: A study of any sampler. Its own settings count if its sampler is an adaptive
            `GASampler`, otherwise those of `GASampler.adaptive()`. The study does not change.

    Raises:
        TypeError: If `study` is no study.
    """
    check_study(study)
    sampler = free_sampler(study)
    settings = sampler.settings if isinstance(sampler, GASampler) else None
    if not isinstance(settings, AdaptiveSettings):
        settings = AdaptiveSettings(population_size=10, screen=True, seed=0, record=False)
    # A sampler of its own: the study's would take in trials earlier, and a seed of its own, of
    # which nothing here depends, would be recorded.
    own = GASampler.from_settings(replace(settings, seed=0, record=False))
    return copy.deepcopy(breeder_of(own, study).ignored(study))

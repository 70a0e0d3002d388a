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

    They failed, or have a value that is far worse than the model predicts from the other trials.
    Most such trials are bad by chance, but some are not. A trial with a value keeps it and can
    still be a parent. With several objectives each has a model of its own, which ignores its own
    bad values; a failed trial is returned if all models ignore it.

    Only the trials that the model learns from are considered: with more than 200 the 100 best and
    the 100 latest, and of failed trials those whose values have no other result. The next results
    may change what is ignored. Workers that run freely see results in different orders, so the
    models of some may ignore others.

    Args:
        study: A study of any sampler. Its own settings count if its sampler is an adaptive
            `GASampler`, otherwise those of `GASampler.adaptive()`. The study does not change.

    Raises:
        TypeError: If `study` is not a study.
    """
    check_study(study)
    sampler = free_sampler(study)
    settings = sampler.settings if isinstance(sampler, GASampler) else None
    if not isinstance(settings, AdaptiveSettings):
        settings = AdaptiveSettings(population_size=10, surrogate=True, seed=0, record=False)
    # Not by the study's sampler, which would take in trials earlier than the search does. The seed
    # does not matter here; without it one would be recorded.
    own = GASampler.from_settings(replace(settings, seed=0, record=False))
    return copy.deepcopy(breeder_of(own, study).ignored(study))

"""From a sampler's settings to breeders: the list of all algorithms, and a breeder per study."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime
from weakref import WeakKeyDictionary

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._breeding.adaptive import AdaptiveProposer
from optuna_ga._breeding.adaptive_settings import AdaptiveSettings
from optuna_ga._breeding.breeder import Breeder, TrialMemory
from optuna_ga._breeding.paper import PaperBreeder, PaperProposer
from optuna_ga._breeding.paper_settings import PaperSettings
from optuna_ga._breeding.population_based_training import ContinuingBreeder
from optuna_ga._breeding.study_seed import study_seed
from optuna_ga._breeding.unrepeated import UnrepeatedBreeder
from optuna_ga._optuna_internals import locate
from optuna_ga._population.generations import Generations

Settings = PaperSettings | AdaptiveSettings

_MOST_REMEMBERED = 64  # Studies; beyond these a study is read again.


def new_breeder(study: Study, settings: Settings, seed: int) -> Breeder:
    """Return a breeder of a study's trials."""
    if isinstance(settings, AdaptiveSettings):
        size = settings.population_size
        generations = Generations(study, population_size=size, n_parents=size, elitism=True)
        proposer = AdaptiveProposer(settings, seed, len(study.directions))
        return UnrepeatedBreeder(study, generations, proposer)
    if settings.population_based_training:
        return ContinuingBreeder(study, settings, seed)
    if settings.avoid_duplicates:
        generations = settings.generations(study)
        return UnrepeatedBreeder(study, generations, PaperProposer(generations, settings, seed))
    return PaperBreeder(study, settings, seed)


@dataclass
class StudyMemory:
    """The memory of one study; it saves time only.

    Attributes:
        breeder: Makes the genes of the study's trials.
        started: When trials started that this process knows to have started, by number.
        recorded: The running trials whose parents have been recorded, if they have any.
        population_size_recorded: Whether the study shows the population size.
    """

    breeder: Breeder
    started: dict[int, datetime | None] = field(default_factory=dict)
    recorded: TrialMemory[bool] = field(default_factory=TrialMemory)
    population_size_recorded: bool = False


class Memories:
    """The memories of the studies that a sampler serves. Safe to share between threads.

    Args:
        settings: The sampler's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._memories: WeakKeyDictionary[BaseStorage, dict[int, StudyMemory]] = (
            WeakKeyDictionary()
        )

    def of(self, study: Study, number: int | None = None) -> StudyMemory:
        """Return the memory of a study.

        Args:
            study: The study.
            number: The number of the trial that starts, if any.
        """
        storage, study_id = locate(study)
        memory = self._memories.get(storage, {}).get(study_id)
        if memory is not None:
            return memory
        seed = self._settings.seed
        if seed is None:  # Not with the lock, for which the thread that records it may wait.
            seed = study_seed(study, number)
        with self._lock:
            memories = self._memories.setdefault(storage, {})
            if study_id not in memories:
                memories[study_id] = StudyMemory(new_breeder(study, self._settings, seed))
                if len(memories) > _MOST_REMEMBERED:
                    del memories[next(iter(memories))]
            return memories[study_id]

    def of_starting(self, study: Study, trial: FrozenTrial) -> StudyMemory:
        """Return the memory of a study whose trial starts, or is opened again.

        If a trial of this number has started at another time, the study's id now belongs to a new
        study: the old memory is dropped.
        """
        memory, start = self.of(study, trial.number), trial.datetime_start
        known_start = memory.started.get(trial.number, start)
        if known_start != start or memory.breeder.generations.contradict(trial):
            storage, study_id = locate(study)
            with self._lock:
                self._memories[storage].pop(study_id, None)
            memory = self.of(study, trial.number)
        memory.started[trial.number] = start
        return memory

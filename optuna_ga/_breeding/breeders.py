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
from optuna_ga._breeding.breeder import Breeder
from optuna_ga._breeding.paper import PaperBreeder
from optuna_ga._breeding.paper_proposer import PaperProposer
from optuna_ga._breeding.paper_settings import PaperSettings
from optuna_ga._breeding.population_based_training import ContinuingBreeder
from optuna_ga._breeding.recorder import Recorder
from optuna_ga._breeding.study_seed import study_seed
from optuna_ga._breeding.unrepeated import UnrepeatedBreeder
from optuna_ga._checks import shown
from optuna_ga._optuna_internals import locate, only_direction
from optuna_ga._population.generations import Generations

Settings = PaperSettings | AdaptiveSettings

_MAX_REMEMBERED = 64  # Studies; beyond these a study is read again.


def takes(study: Study, settings: Settings) -> bool:
    """Return whether the settings allow as many objectives as a study has."""
    resume = isinstance(settings, PaperSettings) and settings.population_based_training
    return not resume or len(study.directions) == 1


def check_directions(study: Study, settings: Settings) -> None:
    """Raise a ValueError unless the settings allow as many objectives as the study has."""
    if not takes(study, settings):
        only_direction(
            study,
            "`GASampler.population_based_training`",
            "Use `GASampler()` or `GASampler.adaptive()` for several.",
        )


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
        recorder: Writes what the study and its trials show.
        started: When trials started that this process knows to have started, by number.
    """

    breeder: Breeder
    recorder: Recorder
    started: dict[int, datetime | None] = field(default_factory=dict)


class Memories:
    """The memories of the studies that a sampler serves. Safe to share between threads.

    A copy, pickled or not, is empty: studies can be read again.

    Args:
        settings: The sampler's settings.

    Raises:
        TypeError: If `settings` are not those of a sampler.
    """

    def __init__(self, settings: Settings) -> None:
        if not isinstance(settings, Settings):
            raise TypeError(
                f"`settings` must be the settings of a GASampler, but {shown(settings)} was given."
            )
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
                memories[study_id] = self._new(study, seed)
                if len(memories) > _MAX_REMEMBERED:
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

    def __reduce__(self) -> tuple[type[Memories], tuple[Settings]]:
        """Return how to make an empty copy."""
        return type(self), (self._settings,)

    def _new(self, study: Study, seed: int) -> StudyMemory:
        settings = self._settings
        breeder = new_breeder(study, settings, seed)
        return StudyMemory(breeder, Recorder(breeder, settings.population_size, settings.record))

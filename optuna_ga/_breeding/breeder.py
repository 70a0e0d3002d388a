"""The seam between Optuna and the algorithms: a `Breeder` makes the genes of one study's trials.

The sampler adapts Optuna's hooks and asks one breeder, so an algorithm is a subclass of `Breeder`
and knows nothing of samplers: `paper.PaperBreeder` is the paper's algorithm,
`population_based_training.ContinuingBreeder` its variant whose trials resume training, and
`unrepeated.UnrepeatedBreeder` passes over duplicates, with the paper's operators or with adaptive
operators.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, NamedTuple, TypeVar

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._population.generations import Generations
from optuna_ga._population.genes import Gene

_MAX_REMEMBERED = 10_000

T = TypeVar("T")


class Origin(NamedTuple):
    """The sources of a trial's genes, as far as they are known before it has any.

    Attributes:
        parents: The trials that are crossed; none for a trial that is drawn at random.
        mutated: The genes that will be drawn afresh rather than inherited.
    """

    parents: Sequence[FrozenTrial]
    mutated: Sequence[str] = ()


class Breeder(ABC):
    """Makes the genes of one study's trials. Safe to share between threads.

    A breeder can be dropped and made again from the study, which costs time and changes nothing
    but the rest of half-suggested trials that avoid duplicates.

    Args:
        generations: The study's finished trials.

    Attributes:
        generations: The study's finished trials.
        chooses_at_start: Whether a trial gets its parents as it starts, not with its first gene.
    """

    chooses_at_start: ClassVar[bool] = False

    def __init__(self, generations: Generations) -> None:
        self.generations = generations

    def note_start(self, study: Study, trial: FrozenTrial) -> list[int] | None:
        """Note the earlier trials that have not finished as a trial starts, if pools depend on it.

        Returns:
            The numbers to record; None if there is nothing to record.
        """
        return self.generations.note_start(study, trial)

    @abstractmethod
    def gene(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Gene:
        """Return a trial's gene for one parameter.

        Args:
            study: The study, or Hyperband's stand-in for it.
            trial: The running trial.
            name: The parameter.
            distribution: The parameter's distribution in this trial.
        """

    @abstractmethod
    def origin(self, study: Study, trial: FrozenTrial) -> Origin:
        """Return the sources of a running trial's genes, the same for all of them."""

    def mutated_at_end(self, study: Study, trial: FrozenTrial) -> list[str]:
        """Return the genes of a trial that ends which mutated and were not in its origin."""
        return []

    def ignored(self, study: Study) -> list[FrozenTrial]:
        """Return the finished trials that are ignored as far too bad, by default none."""
        return []

    @abstractmethod
    def forget(self, number: int) -> None:
        """Drop the memory of a trial that has ended."""


class TrialMemory(dict[int, T], Generic[T]):
    """Facts about running trials, by trial number.

    Trials told by other processes never reach `after_trial` here, so the memory is bounded: the
    facts about the oldest trials are dropped, and derived again when needed.
    """

    def __setitem__(self, number: int, fact: T) -> None:
        super().__setitem__(number, fact)
        if len(self) > _MAX_REMEMBERED:
            del self[min(self)]

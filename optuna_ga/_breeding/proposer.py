"""The seam inside `UnrepeatedBreeder`: a `Proposer` breeds many candidates for one trial.

The breeder decides which candidates are new. The proposer, `PaperProposer` or `AdaptiveProposer`,
breeds the candidates and chooses the best new candidate.

Shapes: K candidates, D parameters. Genes are positions on the unit scale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study

from optuna_ga._breeding.known.known_trials import KnownTrials
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._population.draws import generator
from optuna_ga._population.unit_scale import snapped_to_grid

N_UNSCREENED = 8  # Candidates where no model chooses and the first new one is taken.


class OutdatedError(Exception):
    """Trials have finished since the study was last read."""


class Candidates(ABC):
    """Candidates for one trial: K plans, from which genes are expressed one by one.

    So a parameter that becomes known later can still be expressed.
    """

    @property
    @abstractmethod
    def n_wanted(self) -> int:
        """The number of new candidates that `best` wants; random children are added to fewer."""

    @abstractmethod
    def genes(
        self, matrix: TrialMatrix, distributions: Mapping[str, BaseDistribution]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return all candidates' genes `(D, K)`, and which are drawn afresh, as booleans `(D, K)`.

        A gene depends on its name and distribution, not on the other parameters.
        """

    @abstractmethod
    def best(self, known: KnownTrials, children: np.ndarray) -> int:
        """Return the position of the best of new children `(n, D)`."""

    @abstractmethod
    def only(self, candidate: int) -> Candidates:
        """Return the one candidate at this position."""

    @abstractmethod
    def parents(self, *, choices: bool) -> Sequence[int]:
        """Return the rows of the first candidate's parents in the matrix, the fittest first.

        Args:
            choices: Whether the candidate has categorical genes.
        """


class Proposer(ABC):
    """Breeds candidates for the trials of one study.

    Args:
        seed: Seed of all draws.
        population_size: Trials in a generation.
        n_fittest: How many of the fittest trials the proposer needs in order.
    """

    def __init__(self, seed: int, population_size: int, n_fittest: int) -> None:
        self.seed = seed
        self.population_size = population_size
        self.n_fittest = n_fittest

    @abstractmethod
    def candidates(self, study: Study, number: int, known: KnownTrials) -> Candidates | None:
        """Return candidates for the numbered trial, None if it is to be drawn at random.

        Raises:
            OutdatedError: If a parent is not in the matrix yet.
        """

    def outliers(self, matrix: TrialMatrix) -> Sequence[int]:
        """Return the rows of trials that are ignored as far too bad, by default none.

        The values of the failed trials among them may be tried again.
        """
        return ()

    def random_gene(self, number: int, name: str, distribution: BaseDistribution) -> float:
        """Return a gene of the numbered trial that is drawn at random."""
        unit = generator(self.seed, number, name).random()
        return float(snapped_to_grid(distribution, np.array([unit]))[0])

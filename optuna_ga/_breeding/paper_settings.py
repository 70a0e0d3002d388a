"""The settings of the paper's genetic algorithm, and of population-based training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from optuna.study import Study
from optuna.trial import FrozenTrial

from optuna_ga._checks import (
    check_bool,
    check_choice,
    check_fraction,
    check_population_size,
    check_seed,
    set_checked,
)
from optuna_ga._population.generations import Generations

Mutation = Literal["resample", "perturb"]
Selection = Literal["generational", "truncation"]


@dataclass(frozen=True, kw_only=True)
class PaperSettings:
    """Settings of `GASampler(...)` and `GASampler.population_based_training(...)`.

    Attributes:
        population_size: Trials in a generation, 2 to 1,000,000.
        parent_fraction: Share of the population that become parents, in (0, 1].
        mutation_prob: Probability of a mutation for each gene, in [0, 1].
        mutation: "resample" draws a gene afresh; "perturb", in population-based training only,
            moves it a little.
        selection: "generational" lets children of two parents replace the population;
            "truncation", in population-based training only, lets copies of the fittest trials
            replace the least fit.
        elitism: Whether parents are the best of all earlier generations rather than of the last;
            not in population-based training.
        avoid_duplicates: Whether children that repeat the parameters of a trial are passed over;
            not in population-based training.
        population_based_training: Whether trials resume the training of their fitter parent.
        seed: Seed of all draws, at least 0; None: each study's own.
        record: Whether the user attributes are written.

    Raises:
        TypeError: If a setting has the wrong type.
        ValueError: If a setting is out of its range, makes too few parents or belongs to the
            other of the two samplers.
    """

    population_size: int
    parent_fraction: float
    mutation_prob: float
    mutation: Mutation = "resample"
    selection: Selection = "generational"
    elitism: bool = False
    avoid_duplicates: bool = False
    population_based_training: bool = False
    seed: int | None
    record: bool

    def __post_init__(self) -> None:
        set_checked(
            self,
            population_size=check_population_size(self.population_size),
            parent_fraction=check_fraction("parent_fraction", self.parent_fraction, zero=False),
            mutation_prob=check_fraction("mutation_prob", self.mutation_prob, zero=True),
            mutation=check_choice("mutation", self.mutation, get_args(Mutation)),
            selection=check_choice("selection", self.selection, get_args(Selection)),
            elitism=check_bool("elitism", self.elitism),
            record=check_bool("record", self.record),
            seed=check_seed(self.seed),
            avoid_duplicates=check_bool("avoid_duplicates", self.avoid_duplicates),
            population_based_training=check_bool(
                "population_based_training", self.population_based_training
            ),
        )
        self._check_belonging()
        if self.selection == "truncation":
            self._check_truncation()
        elif self.n_parents < 2:
            raise ValueError(
                "`parent_fraction * population_size` must be at least 2, since crossover takes "
                f"two parents, but {self.parent_fraction!r} * {self.population_size!r} was given."
            )

    def _check_belonging(self) -> None:
        resumes = self.population_based_training
        for name in ("elitism", "avoid_duplicates") if resumes else ("mutation", "selection"):
            value, usual = getattr(self, name), getattr(type(self), name)
            if value != usual:
                raise ValueError(
                    f"`{name}` must be {usual!r} where `population_based_training` is {resumes}, "
                    f"but {value!r} was given."
                )

    def _check_truncation(self) -> None:
        if self.parent_fraction > 0.5:
            raise ValueError(
                "`parent_fraction` must be at most 0.5 with truncation, since so many are copied "
                f"and as many replaced, but {self.parent_fraction!r} was given."
            )
        if self.n_parents < 1:
            raise ValueError(
                "`parent_fraction * population_size` must be at least 1, but "
                f"{self.parent_fraction!r} * {self.population_size!r} was given."
            )

    @property
    def constructor(self) -> str:
        """The name of the sampler's method that has these settings as arguments."""
        return "population_based_training" if self.population_based_training else "__init__"

    @property
    def n_parents(self) -> int:
        """The most parents that a generation has."""
        # The tolerance keeps 0.29 * 100 from making 28 parents.
        return math.floor(self.parent_fraction * self.population_size + 1e-9)

    def generations(
        self, study: Study, may_be_parent: Callable[[FrozenTrial], bool] | None = None
    ) -> Generations:
        """Return the generations of a study under these settings."""
        ranks_all = self.selection == "truncation"
        return Generations(
            study,
            population_size=self.population_size,
            n_parents=self.population_size if ranks_all else self.n_parents,
            elitism=self.elitism,
            may_be_parent=may_be_parent,
        )

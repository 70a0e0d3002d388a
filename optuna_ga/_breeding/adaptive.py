"""The candidates of `GASampler.adaptive`: bred from the fittest of all trials, chosen by a model.

Generation 0 is a Latin hypercube. Every later child is chosen among candidates that are bred from
the fittest trials known at its first gene, so results count at once. A model of the finished
trials chooses four children in five, once there are as many trials as parameters. Otherwise, and
without a model, the first new candidate is taken. While all trials are equally fit, children are
drawn at random. While the best loss stands still, half of the children have another choice than
the best trial for a parameter that has many.

The later stage of a search for one loss over continuous numbers begins with ten trials for each,
and thirty in all: then the model sees the principal axes of the best trials, and some trials are
at the lowest point of a quadratic model instead of a child.

If a trial is infeasible, the model chooses every child, by an inner search for the candidate that
it rates highest.

With several objectives each child draws a weighting of them, and the fittest by it are its
parents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from optuna.distributions import BaseDistribution
from optuna.study import Study

from optuna_ga._breeding.adaptive_operators import Plan, express, plan
from optuna_ga._breeding.adaptive_settings import MAX_TRIALS, AdaptiveSettings, Tuning
from optuna_ga._breeding.given_genes import GivenGenes
from optuna_ga._breeding.inner_search import highest_rated
from optuna_ga._breeding.known.known_trials import KnownTrials
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.many_choices import FreshChoices, fresh_choices, with_more_choices
from optuna_ga._breeding.model.one_blas_thread import one_blas_thread
from optuna_ga._breeding.proposer import N_UNSCREENED, Candidates, Proposer
from optuna_ga._breeding.weightings import fittest_by, weighting
from optuna_ga._population.draws import generator
from optuna_ga._population.unit_scale import snapped_to_grid

if TYPE_CHECKING:
    from optuna_ga._breeding.model.front_surrogate import FrontSurrogate
    from optuna_ga._breeding.model.surrogate import Surrogate

Rating = Callable[[TrialMatrix, np.ndarray], Callable[[np.ndarray], np.ndarray]]


class AdaptiveProposer(Proposer):
    """Breeds candidates by operators that scale themselves.

    Args:
        settings: The sampler's settings.
        seed: Seed of all draws.
        n_objectives: The study's number of objectives.
    """

    def __init__(self, settings: AdaptiveSettings, seed: int, n_objectives: int) -> None:
        several = n_objectives > 1
        n_fittest = MAX_TRIALS if settings.surrogate or several else settings.constants.n_parents
        super().__init__(seed, settings.population_size, n_fittest)
        tuning = settings.constants
        self._tuning = replace(tuning, later=None, wall_ratio=math.inf) if several else tuning
        self._n_objectives = n_objectives
        self._surrogate: Surrogate | None = None
        self._front_surrogate: FrontSurrogate | None = None
        # Imported when needed: SciPy is slow to import.
        if settings.surrogate and several:
            from optuna_ga._breeding.model.front_surrogate import FrontSurrogate

            self._front_surrogate = FrontSurrogate(self._tuning, n_objectives)
        elif settings.surrogate:
            from optuna_ga._breeding.model.surrogate import Surrogate

            self._surrogate = Surrogate(self._tuning)

    def candidates(self, study: Study, number: int, known: KnownTrials) -> Candidates | None:
        """Return candidates bred from the fittest of all trials.

        There are none while all trials are equally fit: then they do not say where to search.
        """
        matrix = known.matrix
        if number < self.population_size or not matrix.differ:
            return None
        names = with_more_choices(matrix, self._tuning.many_choices)
        tuning, rng = self._stage(matrix, names), generator(self.seed, number)
        rows, rating = self._parents(matrix, rng)
        # Fewer trials than parameters tell a model less than their ranks tell the operators.
        if rating and (
            rng.random() < tuning.unscreened_prob or not self._are_enough(matrix, rows)
        ):
            rating = None
        given = self._lowest_point(matrix, tuning, rng)
        plans = plan(tuning.n_candidates if rating else N_UNSCREENED, len(rows), tuning, rng)
        others = names if names and self._wants_another_choice(matrix, number) else []
        others = [name for name in others if not math.isnan(matrix.gene(rows[0], name))]
        new_choice_prob = 0.0 if rating else tuning.new_choice_prob
        choices = fresh_choices(matrix, names, others, new_choice_prob)
        found = _Relatives(tuning, self.seed, number, rows, plans, choices, rating, others=others)
        if given is None and rating and matrix.has_infeasible and not others:
            given = found.highest_rated(known)
        if given is None:
            return found
        return replace(found, given=GivenGenes(given, dict(matrix.distributions)))

    def _stage(self, matrix: TrialMatrix, names: Sequence[str]) -> Tuning:
        """Return the constants for a child; `names` are the parameters with many choices."""
        tuning = self._tuning.at(len(matrix), matrix.distributions_used(len(matrix)))
        # Children that no model chooses are seldom feasible, but they try new choices.
        if matrix.has_infeasible and not any(len(matrix.untried_choices(name)) for name in names):
            return replace(tuning, unscreened_prob=0.0)
        return tuning

    def _lowest_point(
        self, matrix: TrialMatrix, tuning: Tuning, rng: Generator
    ) -> np.ndarray | None:
        """Return the genes `(D,)` of the lowest point of a quadratic model, for a few children."""
        # Without such trials nothing is drawn, so that other draws stay the same.
        if not self._surrogate or not tuning.quadratic_prob:
            return None
        if rng.random() >= tuning.quadratic_prob:
            return None
        with one_blas_thread():
            return self._surrogate.lowest_point(matrix)

    def _wants_another_choice(self, matrix: TrialMatrix, number: int) -> bool:
        """Return whether a child is to have another choice than the best trial."""
        tuning = self._tuning
        if self._n_objectives > 1 or not matrix.best_losses.stand_still(tuning.still_trials):
            return False
        drawn = generator(self.seed, "another choice", number).random()
        return bool(drawn < tuning.other_choice_prob)

    def _parents(self, matrix: TrialMatrix, rng: Generator) -> tuple[Sequence[int], Rating | None]:
        """Return the rows of a child's parents, the fittest first, and its model's ratings."""
        if self._n_objectives == 1:
            rating = self._surrogate.rating if self._surrogate else None
            return matrix.fittest()[: self._tuning.n_parents], rating
        weights = weighting(self._n_objectives, rng)
        fittest = fittest_by(matrix.fittest_ranks, weights, self._tuning)
        rows = matrix.rows(rank.number for rank in fittest)
        if self._front_surrogate is None:
            return rows, None
        return rows, partial(self._front_surrogate.rating, weights=weights)

    def outliers(self, matrix: TrialMatrix) -> Sequence[int]:
        """Return the rows of the trials that the model leaves out as outliers."""
        model = self._surrogate or self._front_surrogate
        rows = matrix.fittest()[: self._tuning.n_parents]
        if not model or not self._are_enough(matrix, rows):
            return ()
        with one_blas_thread():
            return model.outliers(matrix)

    def _are_enough(self, matrix: TrialMatrix, rows: Sequence[int]) -> bool:
        """Return whether there are enough trials for a model of the parameters in some rows."""
        n_parameters = int((~np.isnan(matrix.units[rows])).sum(axis=1).max(initial=0))
        return matrix.differ and len(matrix) >= self._tuning.trials_per_parameter * n_parameters

    def random_gene(self, number: int, name: str, distribution: BaseDistribution) -> float:
        """Return a gene drawn at random; generation 0 is a Latin hypercube."""
        size = self.population_size
        if number >= size:
            return super().random_gene(number, name, distribution)
        rng = generator(self.seed, "start", name)
        strata = rng.permutation(size)
        unit = (strata[number] + rng.random(size)[number]) / size
        return float(snapped_to_grid(distribution, np.array([unit]))[0])


@dataclass(frozen=True)
class _Relatives(Candidates):
    """Candidates bred from the same parents, each by its own plan.

    Attributes:
        tuning: Constants of the operators.
        seed: Seed of all draws.
        number: The trial's number.
        rows: The rows of the parents, the fittest first.
        plan: The candidates' plans.
        fresh_choices: By name, the choices among which there are fresh draws, if not among all.
        rating: Returns a model's ratings of candidates; None if the first new one is taken.
        given: Genes that the first candidate has instead of its plan's, and with which it is
            chosen; None: all candidates have their plans' genes.
        others: The parameters of which one is to have another choice than the fittest parent; none
            if there is no such demand.
    """

    tuning: Tuning
    seed: int
    number: int
    rows: Sequence[int]
    plan: Plan
    fresh_choices: Mapping[str, FreshChoices]
    rating: Rating | None = None
    given: GivenGenes | None = None
    others: Sequence[str] = ()

    @property
    def n_wanted(self) -> int:
        """Half of the candidates where the model chooses, otherwise one."""
        return 1 if self.rating is None else (len(self.plan.first) + 1) // 2

    def genes(
        self, matrix: TrialMatrix, distributions: Mapping[str, BaseDistribution]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the candidates' genes `(D, K)`, and which are drawn afresh `(D, K)`."""
        names = list(distributions)

        def donors(position: int) -> np.ndarray:
            fittest = matrix.fittest(names[position])[: self.tuning.n_parents]
            found = matrix.genes(fittest, distributions)[position]
            return np.asarray(found[~np.isnan(found)])

        parents = matrix.genes(self.rows, distributions)
        rngs = [generator(self.seed, self.number, name) for name in names]
        are_known = distributions is matrix.distributions
        choices = {
            names.index(name): left for name, left in self.fresh_choices.items() if are_known
        }
        genes, fresh = express(
            self.plan,
            parents,
            donors,
            list(distributions.values()),
            self.tuning,
            rngs,
            choices,
        )
        if self.given is not None:  # A parameter that becomes known later has its plan's gene.
            given = self.given.within(distributions)
            has = ~np.isnan(given)
            genes[has, 0], fresh[has, 0] = given[has], False
        return genes, fresh

    def best(self, known: KnownTrials, children: np.ndarray) -> int:
        """Return the given genes, else the child that a model rates highest, else the first.

        If `others` is not empty and some child differs from the fittest parent there, only such
        children are eligible.
        """
        if self.given is not None:
            given = self.given.within(known.matrix.distributions)
            if (children[0] == given).all():
                return 0
        if self.rating is None and not self.others:
            return 0
        masked = known.masked(children)
        eligible = self._eligible(known.matrix, masked)
        if self.rating is None:
            return int(eligible[0])
        with one_blas_thread():
            rate = self.rating(known.matrix, known.running)
            return int(eligible[np.argmax(rate(masked[eligible]))])

    def _eligible(self, matrix: TrialMatrix, children: np.ndarray) -> np.ndarray:
        """Return the positions `(n,)` of the children `(K, D)` that may be taken."""
        names = [*matrix.distributions]
        columns = [names.index(name) for name in self.others]
        genes = children[:, columns]
        differs = ~np.isnan(genes) & (genes != matrix.units[self.rows[0], columns])
        has_other = differs.any(axis=1)
        return np.flatnonzero(has_other if has_other.any() else np.ones(len(children), bool))

    def highest_rated(self, known: KnownTrials) -> np.ndarray:
        """Return the genes `(D,)` of the new candidate that an inner search rates highest."""
        assert self.rating is not None
        matrix, key = known.matrix, (self.seed, self.number)
        genes, _ = self.genes(matrix, matrix.distributions)
        with one_blas_thread():
            rate = self.rating(matrix, known.running)

            def rate_new(genes: np.ndarray) -> np.ndarray:
                return np.where(known.new(genes), rate(known.masked(genes)), -np.inf)

            first = np.ascontiguousarray(genes.T)
            return highest_rated(first, rate_new, matrix.distributions, self.tuning, key)

    def only(self, candidate: int) -> Candidates:
        """Return one candidate."""
        given = None if candidate else self.given
        return replace(self, plan=self.plan.only(candidate), rating=None, given=given)

    def parents(self, *, choices: bool) -> Sequence[int]:
        """Return the rows of the trials that were crossed; all, if its genes are given."""
        if self.given is not None:
            return self.rows
        return [self.rows[position] for position in self.plan.parents(choices=choices)]

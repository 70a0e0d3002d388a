"""The children of `GASampler.adaptive`: bred from the fittest of all trials, and screened.

Generation 0 is a Latin hypercube. Every later child is chosen among candidates that are bred from
the fittest trials known when it is first asked for a parameter, so that results count at once. A
model of the finished trials chooses, but for one child in five, for which, as without a model, the
first candidate that is new is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study

from optuna_ga._breeding.adaptive_operators import Plan, express, plan
from optuna_ga._breeding.adaptive_settings import Settings
from optuna_ga._breeding.surrogate import MAX_TRIALS, Screen
from optuna_ga._breeding.unrepeated import N_UNSCREENED, Children
from optuna_ga._population.draws import generator
from optuna_ga._population.generations import Generations
from optuna_ga._population.genes import resolved


class AdaptiveChildren(Children):
    """Children that are bred by operators that scale themselves.

    Args:
        study: The study.
        generations: Its finished trials.
        population_size: Trials in a generation.
        seed: Seed of all draws.
        settings: The sampler's settings.
    """

    def __init__(
        self,
        study: Study,
        generations: Generations,
        *,
        population_size: int,
        seed: int,
        settings: Settings,
    ) -> None:
        n_fittest = MAX_TRIALS if settings.screened else settings.n_parents
        super().__init__(study, generations, seed=seed, n_fittest=n_fittest)
        self._population_size = population_size
        self._settings = settings
        self._screen = Screen(settings) if settings.screened else None

    def _parents_of(self, study: Study, number: int) -> Sequence[int]:
        if number < self._population_size:
            return []
        return self._knowledge.archive.fittest()[: self._settings.n_parents]

    def _plan(self, n_parents: int, rng: np.random.Generator) -> Plan:
        screened = self._screen is not None and rng.random() >= self._settings.unscreened_prob
        n_candidates = self._settings.n_candidates if screened else N_UNSCREENED
        return plan(n_candidates, n_parents, self._settings, rng, screened=screened)

    def _express(
        self,
        plan: Plan,
        rows: Sequence[int],
        number: int,
        distributions: Mapping[str, BaseDistribution],
    ) -> tuple[np.ndarray, np.ndarray]:
        archive, names = self._knowledge.archive, list(distributions)

        def donors(position: int) -> np.ndarray:
            fittest = archive.fittest(names[position])[: self._settings.n_parents]
            found = archive.genes(fittest, distributions)[position]
            return np.asarray(found[~np.isnan(found)])

        parents = archive.genes(rows, distributions)
        rngs = [generator(self._seed, number, name) for name in names]
        kinds = list(distributions.values())
        return express(plan, parents, donors, kinds, self._settings, rngs)

    def _choose(self, children: np.ndarray, plan: Plan) -> int:
        if self._screen is None or not plan.screened:
            return 0
        known = self._knowledge
        rate = self._screen.rating(known.archive, known.running)
        return int(np.argmax(rate(known.asked(children))))

    def _draw(self, number: int, name: str, distribution: BaseDistribution) -> float:
        """Return a gene drawn at random; those of generation 0 are a Latin hypercube."""
        if number >= self._population_size:
            return super()._draw(number, name, distribution)
        rng = generator(self._seed, "start", name)
        strata = rng.permutation(self._population_size)
        unit = (strata[number] + rng.random(self._population_size)[number]) / len(strata)
        return float(resolved(distribution, np.array([unit]))[0])

"""The genetic algorithm as an Optuna sampler: a thin adapter from Optuna's hooks."""

from __future__ import annotations

import math
import secrets
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._breeding.adaptive import AdaptiveChildren
from optuna_ga._breeding.adaptive_settings import MODEL_FREE, SCREENED, Settings
from optuna_ga._breeding.operators import breed, choose_parents, is_mutation
from optuna_ga._breeding.paper import DistinctChildren
from optuna_ga._breeding.surrogate import Screen
from optuna_ga._breeding.trial_matrix import same_kind
from optuna_ga._breeding.unrepeated import Children
from optuna_ga._checks import check_bool, check_fraction, check_int
from optuna_ga._optuna_internals import (
    GENERATION,
    MUTATED,
    PARENTS,
    POPULATION_SIZE,
    enqueued_params,
    is_retry,
    locate,
    only_direction,
    record_on_study,
    record_on_trial,
    recorded_parents,
)
from optuna_ga._population.draws import gene_draws, trial_draws
from optuna_ga._population.fitness import can_be_continued
from optuna_ga._population.generations import Generations

# What is forgotten beyond these is read again.
_REMEMBERED_STUDIES = 64
_REMEMBERED_TRIALS = 10_000
_NO_MODEL = (
    "scikit-learn is not installed, so that no model chooses among the children; "
    '`pip install "optuna-ga[screen]"` installs it, `screen=False` does without.'
)


class GASampler(BaseSampler):
    """Sampler that breeds each generation of trials from the best of the one before.

    The defaults are the genetic algorithm of "Evolving Hyperparameters: Genetic Algorithms for
    Dynamic Neural Network Optimization", sections 4.1 to 4.6: a uniform initial population, the
    better half as parents, uniform crossover of two distinct parents, and each gene replaced
    with probability 0.2 by a uniform draw from its range. "Uniform" is meant in the
    distribution's own scale: logarithm, step or choices.

    Trial `n` belongs to generation `n // population_size`, so `g` whole generations take
    `n_trials = g * population_size`. Its random draws depend on the seed, on `n` and on the
    parameter's name alone: a restart, a second process or another `n_jobs` never repeats or
    shifts them.

    Where the paper leaves a choice, this was chosen:

    - Children replace their parents. With `elitism` they compete with all that came before.
    - The answer is the best individual of the final generation, as in section 4.6. It need not
      be `study.best_trial`; `best_of_final_generation` returns it.
    - A mutated gene may draw its old value again.
    - What an individual's fitness is, its last epoch or its best, and how many epochs it
      trains, is the objective's business; see `optuna_ga.fashion_mnist`.

    Where Optuna knows more than the paper:

    - Feasible trials precede infeasible ones, which go by their total constraint violation.
      Then complete trials precede pruned ones, which go by how far they came. Failed trials take
      their place in a generation and are never parents. Infinite values are legal.
    - A child inherits a parameter from a parent that has it; if neither has, it draws at random.
      An inherited value outside a narrowed range becomes the nearest value inside.
    - Trials that were enqueued, added or sampled otherwise count by their number like any other.
    - With parallel workers a generation may start before the last one has finished. It then
      breeds from what has finished, results that arrive late join the next pool, and nobody
      waits. The workers' clocks should agree.
    - After a generation that failed or was interrupted as a whole, the latest trials that did not
      are the pool. As long as there are fewer than two, trials draw at random.

    Each trial shows its generation as the user attribute `ga_generation`; if it was bred, its
    parents' numbers as `ga_parents` and, if there are any, the genes that were drawn afresh
    instead of inherited as `ga_mutated`. The study shows `ga_population_size`.

    Example:
        >>> import optuna
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(sampler=GASampler(population_size=10, seed=0))
        >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=50)
        >>> study.trials[49].user_attrs["ga_generation"]
        4

    Args:
        population_size: Trials in a generation, at least 2.
        parent_fraction: Share of the population that become parents, in (0, 1]. They are
            `floor(parent_fraction * population_size)`, which must be at least 2.
        mutation_prob: Probability of a fresh draw for each gene, in [0, 1].
        elitism: Whether parents are the best of all earlier generations rather than of the last.
        avoid_duplicates: Whether a child that repeats the parameters of a finished or running
            trial is passed over: the first of 8 children of the same parents that is new is
            taken, or if none is, one that is drawn at random; see `adaptive`. Its draws are
            others than without.
        seed: Seed of all draws, at least 0. None takes one from the operating system.
        record: Whether to write the user attributes. Without them a database is written to less.

    Raises:
        TypeError: If an argument has the wrong type; a bool is no number.
        ValueError: If an argument is out of its range, or makes fewer than two parents. Also
            when a study with several objectives asks for a parameter.
    """

    def __init__(
        self,
        population_size: int = 20,
        *,
        parent_fraction: float = 0.5,
        mutation_prob: float = 0.2,
        elitism: bool = False,
        avoid_duplicates: bool = False,
        seed: int | None = None,
        record: bool = True,
    ) -> None:
        self._population_size = check_int("population_size", population_size, minimum=2)
        self._parent_fraction = check_fraction("parent_fraction", parent_fraction, zero=False)
        self._mutation_prob = check_fraction("mutation_prob", mutation_prob, zero=True)
        self._elitism = check_bool("elitism", elitism)
        self._record = check_bool("record", record)
        self._seed = secrets.randbits(64) if seed is None else check_int("seed", seed, minimum=0)
        # The tolerance keeps 0.29 * 100 from making 28 parents.
        self._n_parents = math.floor(self._parent_fraction * self._population_size + 1e-9)
        if self._n_parents < 2:
            raise ValueError(
                "`parent_fraction * population_size` must be at least 2, since crossover takes "
                f"two parents, but {parent_fraction!r} * {population_size!r} was given."
            )
        self._avoid_duplicates = check_bool("avoid_duplicates", avoid_duplicates)
        self._settings: Settings | None = None  # Of adaptive operators, if these are wanted.
        self._continues = False  # Whether children go on from their parents' weights.
        self._start_memory()

    @classmethod
    def adaptive(
        cls,
        population_size: int = 10,
        *,
        screen: bool | None = None,
        seed: int | None = None,
        record: bool = True,
    ) -> GASampler:
        """Return a sampler whose operators adapt and whose children are screened by a model.

        The first generation is a Latin hypercube. Every later trial is bred, when it is first
        asked for a parameter, from the fittest of all trials that have finished: generations are
        counted as ever, but none waits for another. Numbers are affine combinations of all
        parents, which scale themselves by how far these differ, or steps from one of them; choices
        come from two; a few genes are drawn afresh. A Gaussian process chooses four children in
        five, each among 256 candidates; it is fitted to the finished trials, or to the 100 best
        and the 100 latest of more than 200. To it failed trials are as bad as the worst, pruned
        ones as their last report but not better than half of the complete ones.

        No trial repeats the parameters of a finished or running one, on the grid where there is
        one, as long as anything else is found: among the candidates, among 256 random ones, and
        in a space of up to 10,000 points among all that are left. Where all has been tried,
        trials repeat others as they come. This takes that a first trial has finished, before
        which the space is not known, and that workers have the same seed, without which they
        cannot foresee each other. What an objective will ask for is learnt from its trials, so
        that one may repeat another where a branch is new.

        Draws depend on the seed, the trial's number and the parameter's name alone, but which
        candidate a trial becomes depends on what has finished and on what is running. With
        `optimize_generations`, or with a single worker, the same seed gives the same study. A
        trial that was half suggested when its process died keeps what it got, but may go on
        otherwise if others have ended since. `ga_parents` names the trials that were crossed:
        one, two or more; `ga_mutated` the genes that were drawn afresh, of the parameters and in
        the ranges that were known when the trial was bred.

        Args:
            population_size: Trials in a generation, at least 2, which is the number of trials
                before the first is bred.
            screen: Whether a model chooses among candidates. It needs scikit-learn, from
                `pip install "optuna-ga[screen]"`. None: if that is installed, otherwise the
                first new candidate is taken, and a UserWarning says so.
            seed: Seed of all draws, at least 0. None takes one from the operating system.
            record: Whether to write the user attributes.

        Raises:
            ImportError: If `screen` is True and scikit-learn is not installed.
            TypeError: If an argument has the wrong type; a bool is no number.
            ValueError: If an argument is out of its range.
        """
        sampler = cls(population_size, parent_fraction=1.0, seed=seed, record=record)
        sampler._settings = MODEL_FREE
        if screen is None or check_bool("screen", screen):
            try:
                Screen(SCREENED)
                sampler._settings = SCREENED
            except ImportError:
                if screen:
                    raise
                warnings.warn(_NO_MODEL, stacklevel=2)
        return sampler

    @classmethod
    def population_based_training(
        cls,
        population_size: int = 20,
        *,
        parent_fraction: float = 0.5,
        mutation_prob: float = 0.2,
        seed: int | None = None,
        record: bool = True,
    ) -> GASampler:
        """Return a sampler for trials that continue the training of their fitter parent.

        An individual is hyperparameters and a trained state, and a generation is a segment of
        training: each trial trains for as long as every other, the better half become parents,
        and a child takes its hyperparameters from two of them by crossover and mutation, and
        the state from the fitter of the two, which `parent_to_continue(trial)` names in the
        objective. `Checkpoints` keeps the states. So hyperparameters change while a network
        trains; `schedule_of(study, trial)` shows how.

        All is as with `GASampler(...)` but for who can be a parent: only a complete trial with a
        finite value and the user attribute `ga_checkpoint`, which says that its state can be
        loaded. `Checkpoints.save` writes it; if you keep states by other means, set it to any
        value once the state is in its place. As long as fewer than two trials of a study can be
        parents, trials draw at random and train from scratch.

        The answer is `best_of_final_generation(study)`. Earlier generations have trained less:
        `study.best_trial` is the best of all segments, be it an early one by luck. By
        `optimize_generations` a trial of generation g ends a line of g + 1 segments, unless one
        failed as a whole. Free workers do not wait: their lines may be shorter, and trials of one
        generation then differ in how long they have trained, which `schedule_of` shows.

        Args:
            population_size: Trials in a generation, at least 2.
            parent_fraction: Share of the population that become parents, in (0, 1], at least 2.
            mutation_prob: Probability of a fresh draw for each gene, in [0, 1].
            seed: Seed of all draws, at least 0. None takes one from the operating system.
            record: Whether to write the user attributes. `schedule_of` needs them, and so do
                free workers that remove checkpoints.

        Raises:
            TypeError: If an argument has the wrong type; a bool is no number.
            ValueError: If an argument is out of its range, or makes fewer than two parents.
        """
        sampler = cls(
            population_size,
            parent_fraction=parent_fraction,
            mutation_prob=mutation_prob,
            seed=seed,
            record=record,
        )
        sampler._continues = True
        return sampler

    @property
    def population_size(self) -> int:
        """Trials in a generation."""
        return self._population_size

    def reseed_rng(self) -> None:
        """Do nothing: draws are keyed by trial number, so workers never share them."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return an empty space, since genes are expressed one by one as they are asked for."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a value for every parameter of the space.

        Raises:
            ValueError: If the study has several objectives.
        """
        only_direction(study)
        return {
            name: self.sample_independent(study, trial, name, distribution)
            for name, distribution in search_space.items()
        }

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Return the trial's gene for one parameter.

        Raises:
            ValueError: If the study has several objectives.
        """
        only_direction(study)
        memory = self._memory_of(study)
        if memory.children is not None:
            if self._record and trial.number not in memory.parents:
                self._note_parents(study, trial, memory)
            return memory.children.gene(study, trial, param_name, param_distribution)
        parents = self._parents_of(study, trial)
        inheritable = _inheritable(parents, param_name, param_distribution)
        draws = gene_draws(self._seed, trial.number, param_name)
        return breed(param_distribution, inheritable, self._mutation_prob, draws)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Record the generation; a retried trial keeps the one that its genes came with.

        One that continues a parent chooses it now.
        """
        if len(study.directions) > 1:
            return  # Refused once it asks for a parameter: an error here would orphan the trial.
        memory = self._memory_of(study)
        if trial.number in memory.started or memory.generations.has_finished(trial.number):
            # It cannot be starting then: a deleted study had the same id.
            memory = self._memory_of(study, anew=True)
        memory.started.add(trial.number)
        if self._record:
            self._record_generation(study, trial, memory)
        if self._continues:
            self._parents_of(study, trial)  # Before others remove what it is to continue from.

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Record the mutated genes, and forget the trial's parents."""
        if len(study.directions) > 1:
            return
        memory = self._memory_of(study)
        parents = memory.parents.pop(trial.number, None)
        if memory.children is not None:
            memory.children.forget(trial.number)
        elif self._record:
            self._record_mutated(study, trial, parents)

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings; what is remembered of studies can be read again."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_memories", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the settings."""
        self.__dict__.update(state)
        self._start_memory()

    def _record_generation(self, study: Study, trial: FrozenTrial, memory: _Memory) -> None:
        if not memory.population_size_recorded:
            record_on_study(study, POPULATION_SIZE, self._population_size)
            memory.population_size_recorded = True
        generation = trial.number // self._population_size
        if trial.user_attrs.get(GENERATION) != generation and not is_retry(trial):
            record_on_trial(study, trial, GENERATION, generation)

    def _note_parents(self, study: Study, trial: FrozenTrial, memory: _Memory) -> None:
        """Record the parents at the first gene, unless they are recorded."""
        assert memory.children is not None
        parents = memory.children.parents(study, trial)
        if parents and parents != recorded_parents(study, trial):
            mutated = memory.children.mutated(study, trial)
            if mutated or MUTATED in trial.user_attrs:
                record_on_trial(study, trial, MUTATED, mutated)
            record_on_trial(study, trial, PARENTS, parents)  # Last: it says that all is recorded.
        memory.remember_parents(trial.number, [])

    def _record_mutated(
        self, study: Study, trial: FrozenTrial, parents: Sequence[FrozenTrial] | None
    ) -> None:
        """Record which genes of a bred trial were drawn afresh, unless none was.

        They are found out again, since another process may have sampled the trial. One whose
        value is not that of the draw was not sampled here.
        """
        if parents is None:
            recorded = trial.user_attrs.get(PARENTS, [])
            parents = self._memory_of(study).generations.finished(recorded, study)
        if not parents:
            return
        mutated = []
        enqueued = enqueued_params(trial)
        for name, distribution in sorted(trial.distributions.items()):
            if name in enqueued:
                continue
            draws = gene_draws(self._seed, trial.number, name)
            if is_mutation(
                _inheritable(parents, name, distribution), self._mutation_prob, draws
            ) and trial.params[name] == breed(distribution, [], self._mutation_prob, draws):
                mutated.append(name)
        if mutated:
            record_on_trial(study, trial, MUTATED, mutated)

    def _parents_of(self, study: Study, trial: FrozenTrial) -> Sequence[FrozenTrial]:
        """Return the trial's two parents, or none; the same ones for each of its genes."""
        memory = self._memory_of(study)
        parents = memory.parents.get(trial.number)
        if parents is None:
            parents = self._choose_parents(study, trial, memory.generations)
            memory.remember_parents(trial.number, parents)
        return parents

    def _choose_parents(
        self, study: Study, trial: FrozenTrial, generations: Generations
    ) -> Sequence[FrozenTrial]:
        only_direction(study)
        recorded = recorded_parents(study, trial)
        parents = generations.finished(recorded, study)
        if recorded and len(parents) == len(recorded):
            return parents
        candidates = generations.parents_of(trial.number // self._population_size, study)
        if len(candidates) < 2:
            return []
        positions = choose_parents(len(candidates), trial_draws(self._seed, trial.number))
        parents = [candidates[position] for position in positions]
        if self._record:
            record_on_trial(study, trial, PARENTS, [parent.number for parent in parents])
        return parents

    def _start_memory(self) -> None:
        self._lock = threading.Lock()
        self._memories: WeakKeyDictionary[BaseStorage, dict[int, _Memory]] = WeakKeyDictionary()

    def _memory_of(self, study: Study, *, anew: bool = False) -> _Memory:
        storage, study_id = locate(study)
        with self._lock:
            memories = self._memories.setdefault(storage, {})
            if anew or study_id not in memories:
                memories[study_id] = self._new_memory(study)
                if len(memories) > _REMEMBERED_STUDIES:
                    del memories[next(iter(memories))]
            return memories[study_id]

    def _new_memory(self, study: Study) -> _Memory:
        generations = Generations(
            study,
            population_size=self._population_size,
            n_parents=self._n_parents,
            elitism=self._elitism,
            may_be_parent=can_be_continued if self._continues else lambda trial: True,
        )
        if self._settings is not None:
            return _Memory(
                generations,
                AdaptiveChildren(
                    study,
                    generations,
                    population_size=self._population_size,
                    seed=self._seed,
                    settings=self._settings,
                ),
            )
        if self._avoid_duplicates:
            return _Memory(
                generations,
                DistinctChildren(
                    study,
                    generations,
                    population_size=self._population_size,
                    mutation_prob=self._mutation_prob,
                    seed=self._seed,
                ),
            )
        return _Memory(generations)


def _inheritable(
    parents: Sequence[FrozenTrial], name: str, distribution: BaseDistribution
) -> list[Any]:
    """Return the values of those parents that have a parameter of this kind."""
    return [
        parent.params[name]
        for parent in parents
        if same_kind(parent.distributions.get(name), distribution)
    ]


@dataclass
class _Memory:
    """What the sampler remembers of one study, to save time only.

    Attributes:
        generations: The finished trials.
        children: What makes the children, where they must be new.
        parents: The parents of each trial that is being sampled, by trial number.
        started: The numbers of the trials that were started here.
        population_size_recorded: Whether the study shows the population size.
    """

    generations: Generations
    children: Children | None = None
    parents: dict[int, Sequence[FrozenTrial]] = field(default_factory=dict)
    started: set[int] = field(default_factory=set)
    population_size_recorded: bool = False

    def remember_parents(self, number: int, parents: Sequence[FrozenTrial]) -> None:
        """Remember a trial's parents, and forget those of the oldest if there are too many."""
        self.parents[number] = parents
        if len(self.parents) > _REMEMBERED_TRIALS:  # Some are never told here.
            del self.parents[min(self.parents)]

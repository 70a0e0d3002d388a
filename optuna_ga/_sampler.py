"""The sampler: a thin adapter from Optuna's hooks to a breeder, which makes the genes."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._breeding.adaptive_settings import AdaptiveSettings
from optuna_ga._breeding.breeder import Breeder
from optuna_ga._breeding.breeders import Memories, Settings, check_directions, takes
from optuna_ga._breeding.paper_settings import Mutation, PaperSettings, Selection
from optuna_ga._checks import refuse_constraints_func


class GASampler(BaseSampler):
    """Sampler that breeds trials from the fittest of earlier trials.

    Use `GASampler.adaptive()` to tune a model. `GASampler()` is the genetic algorithm of "Evolving
    Hyperparameters: Genetic Algorithms for Dynamic Neural Network Optimization", sections 4.1 to
    4.6; choose it to reproduce or study the paper. `GASampler.population_based_training()` changes
    hyperparameters while networks train. `docs/explanation/algorithm.md` explains all three.

    `GASampler()` works by generations: trial `n` belongs to generation `n // population_size`. The
    first generation is drawn at random. The fitter half of a generation become parents; a child
    inherits each parameter from one of two distinct parents, or draws it afresh with probability
    0.2, and children replace their parents. The answer is `best_of_final_generation(study)`, not
    `study.best_trial`. With several objectives trials are ordered as in NSGA-II; see
    `front_of_final_generation`.

    The random draws of a trial depend on the seed, on its number and on the parameter's name
    alone, so a restart, a second process or another `n_jobs` never repeats or shifts them. Every
    finished trial but a failed one can become a parent, including enqueued, added and late trials.

    Trials show their generation, their parents and what was drawn afresh as the user attributes
    `ga_generation`, `ga_parents` and `ga_mutated`.

    >>> import optuna
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(sampler=GASampler(population_size=10, seed=0))
    >>> study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=50)
    >>> study.trials[49].user_attrs["ga_generation"]
    4

    Args:
        population_size: Trials in a generation, 2 to 1,000,000.
        parent_fraction: Share of the population that become parents, in (0, 1]. There are
            `floor(parent_fraction * population_size)` parents, which must be at least 2.
        mutation_prob: Probability that a parameter is drawn at random instead of inherited, in
            [0, 1].
        elitism: Whether parents are the best of all earlier generations rather than of the last.
        avoid_duplicates: Whether a child that repeats a finished or running trial is replaced.
        seed: Seed of all draws, at least 0. None: the study's own, `ga_seed`, which its first
            worker draws and records, and which other workers and resumed runs take.
        record: Whether to write the user attributes; `ga_seed` is written in any case.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range, or makes fewer than two parents.
    """

    @refuse_constraints_func
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
        self._set_up(
            PaperSettings(
                population_size=population_size,
                parent_fraction=parent_fraction,
                mutation_prob=mutation_prob,
                elitism=elitism,
                avoid_duplicates=avoid_duplicates,
                seed=seed,
                record=record,
            )
        )

    @classmethod
    @refuse_constraints_func
    def adaptive(
        cls,
        population_size: int = 10,
        *,
        surrogate: bool = True,
        seed: int | None = None,
        record: bool = True,
    ) -> GASampler:
        """Return a sampler whose operators adapt and whose children are chosen by a model.

        Choose it where the result counts. After a Latin hypercube, every trial is bred from the
        fittest of all finished trials, by operators that scale with the spread of the parents. A
        Gaussian process chooses most children among 256 candidates; a trial takes milliseconds.
        With several objectives, each trial weights them anew, and the child is chosen that
        promises most hypervolume.

        With a single worker, or with `optimize_generations`, the same seed gives the same study.
        No trial repeats another while anything else is left; `docs/explanation/guarantees.md` has
        the exceptions. Free workers need the same seed, or none, and repeat a few trials.

        Args:
            population_size: Number of initial trials, a Latin hypercube, and of trials that
                `optimize_generations` evaluates together, 2 to 1,000,000.
            surrogate: Whether a Gaussian process chooses among candidates. False takes the first
                new candidate, which is cheaper: for objectives that take milliseconds.
            seed: Seed of all draws, at least 0. None: the study's own, as for `GASampler`.
            record: Whether to write the user attributes.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If an argument is out of its range.
        """
        return cls.from_settings(
            AdaptiveSettings(
                population_size=population_size, surrogate=surrogate, seed=seed, record=record
            )
        )

    @classmethod
    @refuse_constraints_func
    def population_based_training(
        cls,
        population_size: int = 20,
        *,
        selection: Selection = "generational",
        mutation: Mutation = "resample",
        parent_fraction: float | None = None,
        mutation_prob: float | None = None,
        seed: int | None = None,
        record: bool = True,
    ) -> GASampler:
        """Return a sampler for trials that resume the training of their fitter parent.

        Choose it to change hyperparameters while networks train. A generation is a segment of
        training. A child takes its hyperparameters from two parents, as with `GASampler()`, and
        its trained state from the fitter of the two, which `Checkpoints.load_parent(trial)`
        returns in the objective. Only a complete trial with the user attribute `ga_checkpoint`,
        which `Checkpoints.save` writes, can be a parent. The answer of the study, which has one
        objective, is `best_of_final_generation(study)`: earlier generations have trained less.

        These operators are the paper's. Those of population-based training in its own field
        (Jaderberg et al. 2017, arXiv:1711.09846) are `selection="truncation"` with
        `mutation="perturb"`. `docs/explanation/population-based-training.md` has the details.

        Args:
            population_size: Trials in a generation, 2 to 1,000,000.
            selection: "generational": every trial is a child of two of the fittest. "truncation":
                the least fit trials are replaced by mutated copies of the fittest, and the others
                train on unchanged.
            mutation: "resample" draws a parameter afresh. "perturb" makes a number a fifth less
                or more.
            parent_fraction: Share of the population that become parents, in (0, 1], at least two
                trials; with truncation in (0, 0.5], at least one. None: 0.5, with truncation 0.2.
            mutation_prob: Probability of a mutation for each parameter, in [0, 1]. None: 0.2, or 1
                for "perturb".
            seed: Seed of all draws, at least 0. None: the study's own, as for `GASampler`.
            record: Whether to write the user attributes. `schedule_of` needs them, and so do
                free workers that remove checkpoints.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If an argument is out of its range, or makes too few parents. Also when a
                study with several objectives suggests a parameter.
        """
        if parent_fraction is None:
            parent_fraction = 0.2 if selection == "truncation" else 0.5
        if mutation_prob is None:
            mutation_prob = 1.0 if mutation == "perturb" else 0.2
        return cls.from_settings(
            PaperSettings(
                population_size=population_size,
                parent_fraction=parent_fraction,
                mutation_prob=mutation_prob,
                selection=selection,
                mutation=mutation,
                population_based_training=True,
                seed=seed,
                record=record,
            )
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> GASampler:
        """Return a sampler with the settings of another sampler, or with changed settings.

        >>> from dataclasses import replace
        >>> settings = GASampler.adaptive(seed=0).settings
        >>> GASampler.from_settings(replace(settings, population_size=5)).population_size
        5

        Raises:
            TypeError: If `settings` are not those of a sampler.
        """
        sampler = cls.__new__(cls)
        sampler._set_up(settings)
        return sampler

    @property
    def settings(self) -> Settings:
        """The sampler's settings; read-only."""
        return self._settings

    @property
    def population_size(self) -> int:
        """Trials in a generation."""
        return self._settings.population_size

    def __repr__(self) -> str:
        """Return the call that makes a sampler with these settings."""
        settings = self._settings
        name = settings.constructor
        if name == "from_settings":
            return f"{type(self).__name__}.from_settings({settings!r})"
        # A subclass may have arguments of its own, which are no settings.
        names = [one for one in signature(getattr(GASampler, name)).parameters if one != "self"]
        arguments = ", ".join(f"{one}={getattr(settings, one)!r}" for one in names)
        method = "" if name == "__init__" else f".{name}"
        return f"{type(self).__name__}{method}({arguments})"

    def reseed_rng(self) -> None:
        """Do nothing: draws are keyed by trial number, so workers never share them."""

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return an empty space, since genes are expressed one by one as they are suggested."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return a value for every parameter of the space."""
        check_directions(study, self._settings)
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
        """Return the trial's value for one parameter."""
        check_directions(study, self._settings)
        memory = self._memories.of(study)
        memory.recorder.record_origin(study, trial)
        return memory.breeder.gene(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Record the generation; in population-based training, choose the parents."""
        if not takes(study, self._settings):
            return  # Refused at its first parameter: an error here would leave the trial running.
        memory = self._memories.of_starting(study, trial)
        unfinished = memory.breeder.note_start(study, trial)
        memory.recorder.record_start(study, trial, unfinished, self)
        if memory.breeder.chooses_at_start:
            memory.breeder.origin(study, trial)
            memory.recorder.record_origin(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Record the mutated genes, and drop the memory of the trial."""
        if takes(study, self._settings):
            memory = self._memories.of(study)
            try:
                memory.recorder.record_end(study, trial)
            except BaseException:
                # Such as Ctrl-C: the trial ends even so, and can be given no record later.
                memory.recorder.record_end(study, trial)
                raise
            finally:
                memory.breeder.forget(trial.number)

    def _set_up(self, settings: Settings) -> None:
        self._settings = settings
        self._memories = Memories(settings)


def breeder_of(sampler: GASampler, study: Study) -> Breeder:
    """Return the breeder of a study's trials, for the other folders of this package."""
    return sampler._memories.of(study).breeder

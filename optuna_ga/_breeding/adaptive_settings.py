"""Settings of `GASampler.adaptive`, chosen by the experiments of `benchmarks.suites`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from optuna.distributions import BaseDistribution

from optuna_ga._checks import check_bool, check_population_size, check_seed, set_checked, shown
from optuna_ga._population.genes import is_nearly_continuous

MAX_TRIALS = 200
"""The trials that the model learns from at most, which bounds its cost."""

# Before the later stage of a search.
_MIN_EARLY_TRIALS, _EARLY_TRIALS_PER_PARAMETER = 30, 10


@dataclass(frozen=True)
class Tuning:
    """Constants of the adaptive operators and of their model; no user needs to know them.

    Attributes:
        n_parents: How many of the fittest trials children are bred from.
        n_candidates: How many candidates the model chooses from.
        unscreened_prob: Probability that a child is not chosen by the model.
        trials_per_parameter: How many trials there must be for each parameter before the model
            chooses.
        magnify: Whether the model sees continuous numbers magnified around the best trials.
        refit_growth: The model is fitted anew after so many times the trials.
        warp_quantile: Quantile of the losses above the best that is added to them before the
            logarithm: the higher, the less the differences between good trials count.
        max_loss_ratio: A loss counts as at most so many times the 0.3-quantile of the losses
            above the best, ties left out, so that the good trials differ even if bad losses are
            astronomical. With several objectives losses of the front count as they are.
        wall_ratio: An infeasible trial counts as more than so many times that quantile, if all
            have the same loss or it is infinite; with one objective.
        max_failure_residual: The model leaves out a failed trial that is more than so many
            standard deviations above its prediction from all other trials.
        max_loss_residual: The same for a trial with a loss, where outliers are far likelier than
            noise.
        step_prob: Probability of a step from one parent rather than an affine combination.
        log_steps: Range of the decimal logarithm of a step, in widths of the parameter's range.
        log_spread: Range of the decimal logarithm of an affine combination's spread, in spreads
            of the parents.
        fresh_prob: Probability of a fresh draw of a numerical gene.
        fresh_choice_prob: Probability of a fresh draw of a categorical gene.
        many_choices: A parameter has many choices if it has more than this.
        new_choice_prob: Probability of a choice that no trial has, for a parameter with many
            choices in a child that no model chooses.
        still_trials: The best loss stands still if this many trials hardly lowered it.
        other_choice_prob: Probability that a child then has to have another choice than the best
            trial for a parameter with many choices.
        principal_axes: Whether the model sees continuous numbers along the principal axes of the
            best trials rather than one by one.
        quadratic_prob: Probability of the lowest point of a quadratic model instead of a child.
        later: The constants of the later stage of a search, see `at`, which has none after it;
            None: there is no such stage.
    """

    n_parents: int = 8
    n_candidates: int = 256
    unscreened_prob: float = 0.2
    trials_per_parameter: float = 1.0
    magnify: bool = True
    refit_growth: float = 1.1
    warp_quantile: float = 0.3
    max_loss_ratio: float = 20.0
    wall_ratio: float = 2.0
    max_failure_residual: float = 2.0
    max_loss_residual: float = 3.0
    step_prob: float = 0.25
    log_steps: tuple[float, float] = (-2.5, -0.5)
    log_spread: tuple[float, float] = (-1.0, 0.3)
    fresh_prob: float = 0.02
    fresh_choice_prob: float = 0.1
    many_choices: int = 10
    new_choice_prob: float = 1.0
    still_trials: int = 10
    other_choice_prob: float = 0.5
    principal_axes: bool = False
    quadratic_prob: float = 0.0
    later: Tuning | None = None

    def at(self, n_trials: int, distributions: Mapping[str, BaseDistribution]) -> Tuning:
        """Return the constants after some finished trials.

        They are those of the later stage if every parameter with more than one value is a number
        with more than 1,000 values, continuous or not, and if there are ten trials for each of
        these, and thirty in all.
        """
        if self.later is None or n_trials < _MIN_EARLY_TRIALS:
            return self
        free = [each for each in distributions.values() if not each.single()]
        is_continuous = all(map(is_nearly_continuous, free))
        is_late = n_trials >= _EARLY_TRIALS_PER_PARAMETER * len(free)
        return self.later if free and is_continuous and is_late else self


_EARLY = Tuning()
_LATER = replace(
    _EARLY, warp_quantile=0.7, log_spread=(-1.0, 1.0), principal_axes=True, quadratic_prob=0.15
)
MODELLED = replace(_EARLY, later=_LATER)
MODEL_FREE = Tuning(step_prob=0.5, fresh_prob=0.05, new_choice_prob=0.2)


@dataclass(frozen=True, kw_only=True)
class AdaptiveSettings:
    """Settings of `GASampler.adaptive(...)`.

    Attributes:
        population_size: Trials in a generation, 2 to 1,000,000.
        surrogate: Whether a Gaussian process chooses among candidates.
        seed: Seed of all draws, at least 0; None: each study's own.
        record: Whether the user attributes are written.
        tuning: Constants of the operators and of the model, changed by experiments only; None:
            the usual ones.

    Raises:
        TypeError: If a setting has the wrong type.
        ValueError: If a setting is out of its range.
    """

    population_size: int
    surrogate: bool
    seed: int | None
    record: bool
    tuning: Tuning | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.tuning, Tuning | None):
            raise TypeError(
                f"`tuning` must be a Tuning or None, but {shown(self.tuning)} was given."
            )
        set_checked(
            self,
            population_size=check_population_size(self.population_size),
            surrogate=check_bool("surrogate", self.surrogate),
            seed=check_seed(self.seed),
            record=check_bool("record", self.record),
        )

    @property
    def constructor(self) -> str:
        """The name of the sampler's method that has these settings as arguments."""
        return "adaptive" if self.tuning is None else "from_settings"

    @property
    def constants(self) -> Tuning:
        """The constants of the operators and of the model."""
        return self.tuning or (MODELLED if self.surrogate else MODEL_FREE)

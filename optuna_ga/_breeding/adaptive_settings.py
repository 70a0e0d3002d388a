"""What `GASampler.adaptive` is set to, chosen by the experiments of `benchmarks.suites`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Settings that no user needs to know.

    Attributes:
        screened: Whether a model chooses among candidates.
        n_parents: How many of the fittest trials children are bred from.
        n_candidates: Among how many candidates the model chooses.
        unscreened_prob: Probability of a child that the model has no say in.
        warp_quantile: Which quantile of the losses above the best the model adds to them before
            it takes the logarithm: the higher, the less the differences of good trials count.
        step_prob: Probability of a step from one parent rather than an affine combination.
        log_steps: Orders of magnitude of steps, in widths of the range.
        log_spread: Orders of magnitude of an affine combination's spread, in the parents'.
        fresh_prob: Probability of a fresh draw of a numerical gene.
        fresh_choice_prob: Probability of a fresh draw of a categorical gene.
    """

    screened: bool = True
    n_parents: int = 8
    n_candidates: int = 256
    unscreened_prob: float = 0.2
    warp_quantile: float = 0.3
    step_prob: float = 0.25
    log_steps: tuple[float, float] = (-2.5, -0.5)
    log_spread: tuple[float, float] = (-1.0, 0.3)
    fresh_prob: float = 0.02
    fresh_choice_prob: float = 0.1


SCREENED = Settings()
MODEL_FREE = Settings(screened=False, step_prob=0.5, fresh_prob=0.05)

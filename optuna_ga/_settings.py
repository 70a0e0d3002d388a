"""What `GASampler.adaptive` is set to, chosen by the experiments of `benchmarks.suites`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Settings that no user needs to know, each with its ablation in the benchmarks.

    Attributes:
        screened: Whether a model chooses among candidates.
        n_parents: How many of the fittest trials children are bred from.
        n_candidates: Among how many candidates the model chooses.
        unscreened_prob: Probability of a child that the model has no say in.
        crossovers: Probabilities of uniform, blend and affine crossovers and of steps.
        log_steps: Orders of magnitude of steps, in widths of the range.
        fresh_prob: Probability of a fresh draw of a numerical gene.
        fresh_choice_prob: Probability of a fresh draw of a categorical gene.
    """

    screened: bool = True
    n_parents: int = 14
    n_candidates: int = 256
    unscreened_prob: float = 0.1
    crossovers: tuple[float, float, float, float] = (0.25, 0.25, 0.25, 0.25)
    log_steps: tuple[float, float] = (-2.5, -0.5)
    fresh_prob: float = 0.02
    fresh_choice_prob: float = 0.1
    acquisition: str = "ei"
    kappa: float = 1.0
    dedup: bool = True
    hallucinate: bool = True
    refit: float = 1.25
    start: int = 10
    warp: float = 0.1
    random_share: float = 0.0


SCREENED = Settings()
MODEL_FREE = Settings(screened=False, crossovers=(1 / 3, 1 / 3, 1 / 3, 0.0))

"""The paper's five runs with their reported figures, and its claims."""

from __future__ import annotations

from typing import NamedTuple


class PaperRun(NamedTuple):
    """One of the paper's runs, with its reported figures."""

    name: str
    population_size: int
    n_generations: int
    mutation_prob: float
    training_loss: float
    validation_loss: float
    minutes: float

    @property
    def n_trials(self) -> int:
        """The number of individuals."""
        return self.population_size * self.n_generations

    @property
    def baselines(self) -> tuple[str, ...]:
        """The samplers to compare with; TPE draws its first ten trials at random."""
        return ("random", "tpe") if self.n_trials > 10 else ("random",)

    @property
    def sampler(self) -> str:
        """The name of its genetic algorithm."""
        return f"ga, mutation {self.mutation_prob}"


# The baseline's population and generations and the first three mutation rates are assumptions.
PAPER = (
    PaperRun("baseline", 20, 10, 0.1, 0.1604, 0.0236, 79.72),
    PaperRun("run 1", 10, 3, 0.1, 0.3047, 0.1149, 29.76),
    PaperRun("run 2", 5, 2, 0.1, 0.7646, 0.3955, 27.25),
    PaperRun("run 3", 5, 2, 0.2, 0.7277, 0.3605, 26.49),
    PaperRun("run 4", 5, 5, 0.2, 0.2649, 0.1561, 26.10),
)

# A claim of the paper, the two runs that support it, and their other differences.
COMPARED = (
    ("a larger population helps", "baseline", "run 1", " (more generations, too)"),
    ("a larger population helps", "run 1", "run 2", " (more generations, too)"),
    ("more generations help", "run 4", "run 3", ""),
    ("a higher mutation rate helps", "run 3", "run 2", ""),
)

"""The hyperparameters of a training, and what each trial of a study returns for them."""

from __future__ import annotations

from collections.abc import Mapping

from optuna import Study, Trial
from optuna.distributions import FloatDistribution, IntDistribution

from optuna_ga.fashion_mnist._network import WIDTH
from optuna_ga.torch._task import Member

# Section 5. The paper samples uniformly, not on a logarithmic scale.
SEARCH_SPACE: Mapping[str, FloatDistribution] = {
    "learning_rate": FloatDistribution(1e-4, 1.0),
    "momentum": FloatDistribution(0.0, 0.9),
    "weight_decay": FloatDistribution(0.0, 0.1),
}
# Few widths, since networks of one width train together.
_WIDTHS = IntDistribution(4, WIDTH, step=4)


class SearchSpace:
    """The paper's search space; with a cost, also what the loss can be traded for it by.

    Args:
        epochs: The most epochs of a training.
        cost: Whether the cost of training is a second objective.

    Attributes:
        distributions: The hyperparameters.
        has_cost: Whether there is a second objective.
    """

    def __init__(self, epochs: int, *, cost: bool) -> None:
        self.has_cost = cost
        self.distributions: dict[str, FloatDistribution | IntDistribution] = {**SEARCH_SPACE}
        if cost:
            self.distributions["width"] = _WIDTHS
            self.distributions["epochs"] = IntDistribution(1, epochs, log=True)

    def check_directions(self, study: Study) -> None:
        """Check that a study minimizes each value of a trial.

        Raises:
            ValueError: If it does not.
        """
        wanted = ["minimize"] * (1 + self.has_cost)
        directions = [direction.name.lower() for direction in study.directions]
        if directions != wanted:
            raise ValueError(
                f"`study` must have the directions {wanted}, since the objective returns the loss"
                f"{' and the cost' if self.has_cost else ''}, but it has {directions}."
            )

    def suggest(self, trial: Trial) -> dict[str, float]:
        """Return a trial's hyperparameters."""
        return {
            name: trial.suggest_float(name, each.low, each.high)
            if isinstance(each, FloatDistribution)
            else trial.suggest_int(name, each.low, each.high, step=each.step, log=each.log)
            for name, each in self.distributions.items()
        }

    def member(self, params: Mapping[str, float], seed: int) -> Member:
        """Return the settings of a training.

        Raises:
            ValueError: If `params` lacks a hyperparameter or has an unknown one.
        """
        if set(params) != set(self.distributions):
            raise ValueError(
                f"`params` must have the names {sorted(self.distributions)}, but "
                f"{dict(params)!r} was given."
            )
        return Member(
            params["learning_rate"],
            momentum=params["momentum"],
            weight_decay=params["weight_decay"],
            seed=seed,
            epochs=int(params["epochs"]) if self.has_cost else None,
            model={"width": int(params["width"])} if self.has_cost else {},
        )

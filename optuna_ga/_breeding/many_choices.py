"""Fresh draws of categorical parameters that have many choices.

Shapes: n choices. Genes are positions on the unit scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from optuna.distributions import CategoricalDistribution

from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._population.unit_scale import grid

_OTHER_PROB = 0.5  # Not 1, so that of several parameters one may change alone.


class FreshChoices(NamedTuple):
    """The choices among which a parameter is drawn afresh.

    Attributes:
        genes: Their genes `(n,)`.
        least_prob: The least probability of a fresh draw.
    """

    genes: np.ndarray
    least_prob: float


def with_more_choices(matrix: TrialMatrix, n: int) -> list[str]:
    """Return the parameters that have more than `n` choices."""
    return [
        name
        for name, distribution in matrix.distributions.items()
        if isinstance(distribution, CategoricalDistribution) and len(distribution.choices) > n
    ]


def fresh_choices(
    matrix: TrialMatrix, names: Sequence[str], others: Sequence[str], new_choice_prob: float
) -> Mapping[str, FreshChoices]:
    """Return the choices among which parameters are drawn afresh, by name.

    They are the choices that no trial has, and if there are none all choices.

    Args:
        matrix: The finished trials.
        names: The parameters with many choices.
        others: Those of which one is to have another choice than the best trial.
        new_choice_prob: The least probability of a choice that no trial has.

    Returns:
        The choices; a parameter is left out whose fresh draws are as usual.
    """
    found = {}
    for name in names:
        untried = matrix.untried_choices(name)
        least_prob = _OTHER_PROB if name in others else 0.0
        if len(untried):
            found[name] = FreshChoices(untried, max(least_prob, new_choice_prob))
        elif name in others:
            choices = grid(matrix.distributions[name])
            assert choices is not None
            found[name] = FreshChoices(choices, least_prob)
    return found

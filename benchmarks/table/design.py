"""The settings of a table, in an order without an end: any first part is a design of its own.

Settings 0, 2, 4, ... cover the search space. Settings 1, 3, 5, ... are dense where losses are low:
momentum is uniform, the learning rate by 1 - momentum is log-uniform, and most weight decays are
small. Together they are a Sobol sequence of six dimensions, not scrambled, so that it depends on
no seed and on no library's version.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import qmc

from optuna_ga.fashion_mnist import SEARCH_SPACE

LOW, HIGH = np.array([(d.low, d.high) for d in SEARCH_SPACE.values()]).T
SEEDS = 2  # Of the settings where losses are low.
# With momentum m a step of SGD acts for 1 / (1 - m) steps. Where its product with the learning
# rate is beyond these, losses are high: training hardly begins, or ends at guessing or diverges.
EFFECTIVE_RATES = (0.02, 1.0)


class Setting(NamedTuple):
    """A setting of the design.

    Attributes:
        part: "whole space" or "low losses".
        seeds: Number of training seeds, 0 and up.
        values: Learning rate, momentum and weight decay.
    """

    part: str
    seeds: int
    values: tuple[float, float, float]


def setting(number: int) -> Setting:
    """Return one setting of the design.

    >>> setting(0)
    Setting(part='whole space', seeds=1, values=(0.50005, 0.45, 0.05))
    >>> setting(1).seeds
    2
    """
    point, dense = divmod(number, 2)
    sequence = qmc.Sobol(6, scramble=False).fast_forward(point + 1)  # The first is all zeros.
    whole, low = sequence.random().reshape(2, 3)
    if dense:
        return Setting("low losses", SEEDS, _low_losses(*low.tolist()))
    rate, momentum, decay = (LOW + whole * (HIGH - LOW)).tolist()
    return Setting("whole space", 1, (rate, momentum, decay))


def _low_losses(first: float, second: float, third: float) -> tuple[float, float, float]:
    momentum = LOW[1] + second * (HIGH[1] - LOW[1])
    lowest, highest = EFFECTIVE_RATES
    rate = lowest * (highest / lowest) ** first * (1.0 - momentum)
    decay = LOW[2] + third**3 * (HIGH[2] - LOW[2])
    return float(rate), float(momentum), float(decay)

"""The comparisons on a suite besides the usual one, each an option of the command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.samplers import ABLATIONS, RIVALS, SEVERAL_SAMPLERS, STAGES


class Kind(NamedTuple):
    """A comparison.

    Attributes:
        does: What its option does.
        tuning: Whether it is on the tasks for tuning.
        samplers: The samplers that are compared; empty for the usual ones.
        several: The same with several objectives; empty if they are those of one objective.
        by_generations: Whether workers begin together, when all trials before have ended.
    """

    does: str
    tuning: bool = False
    samplers: tuple[str, ...] = ()
    several: tuple[str, ...] = ()
    by_generations: bool = False

    def compared(self, several_objectives: bool) -> tuple[str, ...]:
        """Return the samplers that are compared; empty for the usual ones."""
        return (several_objectives and self.several) or self.samplers


_OURS = ("adaptive-model-free", "adaptive")
_BEST = ("tpe", "cmaes", *_OURS)
# By name, which is that of the option and ends the name of the file of rows.
KINDS: Mapping[str, Kind] = {
    "tuning": Kind("run the tasks for tuning", tuning=True),
    "ablation": Kind(
        "run the tasks for tuning with `adaptive` and with each of its settings changed; with "
        "several objectives, with those for failures and bad losses",
        tuning=True,
        samplers=("adaptive", *ABLATIONS),
        several=("adaptive", "no-failure-outliers", "no-loss-outliers", "unlimited-losses"),
    ),
    "stages": Kind(
        "run the tasks for tuning with `adaptive` and with its later stage changed",
        tuning=True,
        samplers=("adaptive", *STAGES),
    ),
    "rivals": Kind(
        f"compare with optimizers of other packages: {', '.join(RIVALS)}",
        samplers=("random", "tpe", "adaptive", *RIVALS),
    ),
    "crowd": Kind(
        "compare the samplers that are best with many workers, for `--workers 32`",
        samplers=_BEST,
    ),
    "generations": Kind(
        "compare the samplers by whole generations, for `--workers 20`",
        samplers=("random", "tpe", "cmaes", "nsga2", "ga", "ga-elitism", *_OURS),
        several=("random", "tpe", "nsga2", "nsga3", "ga", "ga-elitism", *_OURS),
        by_generations=True,
    ),
    "long": Kind(
        "compare the best samplers in long searches; with several objectives, all but `gp`",
        samplers=_BEST,
        several=tuple(name for name in SEVERAL_SAMPLERS if name != "gp"),
    ),
}

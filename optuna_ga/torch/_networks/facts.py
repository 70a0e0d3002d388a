"""What is known of the networks of a structure, beyond what the structure itself says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from optuna_ga.torch._networks.verdict import Verdict


@dataclass
class Facts:
    """What steps have shown of the networks that share a signature.

    Attributes:
        verdict: How they can be trained; None before their examination.
        tried: Numbers of examples of the batches that they have been tried with.
        said: Messages about them that have been given.
        draws: Whether they may draw random numbers.
        has_drawn: Whether they have drawn some so far.
        changes_batch: Whether they may change a batch in place, which members can share.
        changes_weights: Whether they have changed parameters to train in place.
        replaces_weights: Whether they have given parameters to train other places in memory.
        rounds: Whether they compute with fewer digits than float32 has.
        metric_names: Names of the task's metrics; empty if they have not been computed.
        unused: Names of the parameters that get no gradient, by the number of examples of a
            batch; a layer may be for the last batch alone.
    """

    verdict: Verdict | None = None
    tried: set[int] = field(default_factory=set)
    said: set[str] = field(default_factory=set)
    draws: bool = True
    has_drawn: bool = False
    changes_batch: bool = True
    changes_weights: bool = False
    replaces_weights: bool = False
    rounds: bool = False
    metric_names: Collection[str] = ()
    unused: dict[int, frozenset[str]] = field(default_factory=dict)

    def note_changes(
        self, before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]
    ) -> None:
        """Note whether a step has changed parameters, by their `marks` before and after it."""
        for name, (place, _) in before.items():
            self.replaces_weights |= after[name][0] != place
            self.changes_weights |= after[name] != before[name]

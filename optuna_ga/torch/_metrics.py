"""The metrics that a trial is valued by."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

from optuna_ga._checks import as_float, is_number, shown

# A metric's name, or a function of all metrics' means, such as the root of one of them.
Metric = str | Callable[[Mapping[str, float]], float]


class Metrics:
    """Values an epoch by one metric or several.

    Args:
        metric: Name of one of the task's metrics, a function of all of them, or a sequence of
            names and functions.

    Attributes:
        names: Their names, those of functions included.

    Raises:
        TypeError: If `metric` is something else.
        ValueError: If it is empty.
    """

    def __init__(self, metric: Metric | Sequence[Metric]) -> None:
        rule = "`metric` must be the name of a metric, a function of all metrics, or several"
        self._metrics = [metric] if isinstance(metric, str) or callable(metric) else metric
        if not isinstance(self._metrics, Sequence):
            raise TypeError(f"{rule}, but {shown(metric)} was given.")
        for each in self._metrics:
            if not isinstance(each, str) and not callable(each):
                raise TypeError(f"{rule}, but it has {shown(each)}.")
        if not self._metrics:
            raise ValueError(f"{rule}, but {shown(metric)} was given.")
        self.names = [
            each if isinstance(each, str) else getattr(each, "__name__", type(each).__name__)
            for each in self._metrics
        ]

    def check(self, known: Collection[str] | None) -> None:
        """Check that a task has the metrics that are named, if its metrics are known.

        Raises:
            ValueError: If it does not have one.
        """
        for each in self._metrics:
            if known is not None and isinstance(each, str) and each not in known:
                raise ValueError(
                    f"`metric` must be one of {sorted(known)}, which `task.metrics` returns, or a "
                    f"function of them, but {each!r} was given."
                )

    def values(self, means: Mapping[str, float]) -> list[float]:
        """Return the value of each metric.

        Raises:
            TypeError: If a function returns something other than a number.
            ValueError: If it returns NaN, or if there is no metric of a name.
        """
        self.check(means)
        return [
            means[each] if isinstance(each, str) else returned_number("metric", each(dict(means)))
            for each in self._metrics
        ]


def returned_number(name: str, value: object) -> float:
    """Return what a function of the user's returned, which must be a number.

    Args:
        name: The function's name.
        value: What it returned.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is NaN.
    """
    if not is_number(value):
        raise TypeError(f"`{name}` must return a number, but it returned {shown(value)}.")
    number = as_float(value)
    if math.isnan(number):
        raise ValueError(f"`{name}` must not return NaN, but it returned {shown(value)}.")
    return number

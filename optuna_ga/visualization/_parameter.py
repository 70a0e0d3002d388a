"""One parameter as figures draw it: its numbers, the labels of its choices and its axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

from optuna_ga._population.choices import find_choice
from optuna_ga._population.genes import is_inheritable
from optuna_ga.visualization._common import abbreviated, as_html, small

_MAX_TICKS = 8  # Of a logarithmic axis; more do not fit into a row.
_MIN_TICKS = 3
_MAX_LABEL, _MAX_TITLE = 16, 30  # Characters.
_MIN_DIGITS, _ALL_DIGITS = 3, 17  # Of a tick; 17 tell any two floats apart.


class Parameter:
    """A parameter of some trials, drawn as the kind and with the choices of the last of them.

    Args:
        name: Its name.
        trials: The trials.
        label: What titles show; None is the name.

    Attributes:
        numbers: The finite values by trial number; a choice is its position among the choices.
            Trials that do not agree with the last one are left out.
        n_infinite: Number of trials whose values are infinite.
        choices: Labels of the choices; None if the parameter is numerical.
        is_log: Whether all values are from logarithmic distributions.
    """

    def __init__(self, name: str, trials: Iterable[FrozenTrial], label: str | None = None) -> None:
        owners = [trial for trial in trials if name in trial.params]
        last = owners[-1].distributions[name]
        agreeing = [
            trial
            for trial in owners
            if is_inheritable(trial.params[name], trial.distributions[name], last)
        ]
        numbers = {trial.number: _number(trial.params[name], last) for trial in agreeing}
        self.numbers = {n: number for n, number in numbers.items() if math.isfinite(number)}
        self.n_infinite = len(numbers) - len(self.numbers)
        self.choices = labels(last.choices) if isinstance(last, CategoricalDistribution) else None
        self.is_log = all(getattr(trial.distributions[name], "log", False) for trial in agreeing)
        self._label = name if label is None else label

    def title(self, *remarks: str) -> str:
        """Return the name with remarks, and with the number of infinite values if there are."""
        if self.n_infinite:
            remarks = *remarks, f"not drawn: {self.n_infinite} infinite"
        return as_html(self._label) + (f" {small(', '.join(remarks))}" if remarks else "")

    @property
    def axis(self) -> dict[str, Any]:
        """The y-axis: positions of choices, logarithmic or linear."""
        if self.choices is not None:
            n_choices = len(self.choices)
            return {
                "tickvals": list(range(n_choices)),
                "ticktext": self.choices,
                "range": [-0.5, n_choices - 0.5],
            }
        if self.is_log and self.numbers:
            ticks = log_ticks(min(self.numbers.values()), max(self.numbers.values()))
            return {"type": "log", "tickvals": ticks, "ticktext": tick_labels(ticks)}
        return {"type": "linear"}


def _number(value: Any, distribution: BaseDistribution) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return find_choice(distribution, value)
    number: float = value
    return number


def short_titles(names: Sequence[str]) -> dict[str, str]:
    """Return names in short, as far as that tells them apart."""
    length = _MAX_TITLE
    while len({abbreviated(name, length) for name in names}) < len(set(names)):
        length += 1
    return {name: abbreviated(name, length) for name in names}


def labels(choices: Sequence[object]) -> list[str]:
    """Return distinct labels of choices, as HTML."""
    for text in (str, repr):
        found = [as_html(abbreviated(text(choice), _MAX_LABEL)) for choice in choices]
        if len(set(found)) == len(found):
            return found
    return [f"{position}: {label}" for position, label in enumerate(found)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return the ticks of a logarithmic axis: some decades, parts of decades, or the two ends.

    Plotly's own labels between decades are digits alone, such as 3 for 30.

    >>> log_ticks(1e-5, 1e-1), log_ticks(20, 90), log_ticks(30, 31)
    ([1e-05, 0.0001, 0.001, 0.01, 0.1], [20.0, 30.0, 50.0, 70.0], [30, 31])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = math.ceil((last - first) / _MAX_TICKS) or 1
    for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7)):
        ticks = [
            float(f"{mantissa}e{decade}")
            for decade in range(first, last + 1, step)
            for mantissa in mantissas
        ]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= _MIN_TICKS:
            return inside
    return [low, high] if high > low else [low]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Return distinct labels of distinct ticks; integers are exact.

    >>> tick_labels([0.1, 1.0, 100000.0]), tick_labels([10000, 10010])
    (['0.1', '1', '1e+05'], ['10000', '10010'])
    """
    for digits in range(_MIN_DIGITS, _ALL_DIGITS + 1):
        found = [str(one) if isinstance(one, int) else f"{one:.{digits}g}" for one in ticks]
        if len(set(found)) == len(found):
            break
    return found

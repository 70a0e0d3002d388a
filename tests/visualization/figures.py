"""Studies to draw, and what is read from their figures."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import optuna
from optuna import Study, Trial, TrialPruned
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from optuna_ga.visualization import plot_fitness, plot_genealogy, plot_genes, plot_improvements
from tests.studies import added, of_four, study_with

Plot = Callable[..., Any]
FIGURES: list[Plot] = [plot_fitness, plot_genealogy, plot_genes, plot_improvements]


def child(value: float | None, parents: list[int], *mutated: str, **options: Any) -> FrozenTrial:
    """Return a bred trial to add to a study."""
    attrs: dict[str, Any] = {"ga_parents": parents}
    if mutated:
        attrs["ga_mutated"] = list(mutated)
    return added(value, user_attrs=attrs, **options)


def three_generations(sign: int = 1) -> Study:
    """Return a family of twelve whose fittest is trial 9, maximized if the sign is negative."""
    return study_with(
        added(sign * 4.0, x=0.4),
        added(sign * 3.0, x=0.3),
        added(sign * 2.0, x=0.2),
        added(sign * 1.0, x=0.1),
        child(sign * 1.5, [3, 2], x=0.1),
        child(sign * 0.5, [3, 1], x=0.3),
        child(sign * 2.5, [2, 3], "x", x=0.9),
        child(None, [3, 2], x=0.2, state=TrialState.FAIL),
        child(sign * 0.25, [5, 4], x=0.3),
        child(sign * 0.125, [5, 6], "x", x=0.8),
        child(sign * 3.5, [4, 6], x=0.9),
        child(sign * 0.25, [4, 5], x=0.1),
        direction="minimize" if sign == 1 else "maximize",
    )


def odd_study(direction: Any = "minimize") -> Study:
    """Return a study with trials of every state and of several samplers."""

    def objective(trial: Trial) -> float:
        value = trial.suggest_float("x", -1.0, 1.0) ** 2
        if trial.suggest_categorical("kind", ["a", None, 1]) == "a":
            trial.suggest_float("rate", 1e-5, 1.0, log=True)
        fate = trial.number % 9
        if fate == 2:
            raise ZeroDivisionError
        if fate == 3:
            trial.report(value, 1)
        if fate in (3, 4):
            raise TrialPruned
        if fate == 5:
            trial.set_constraint("c", 1.0)
        return {6: math.inf, 7: -math.inf}.get(fate, value)

    study = optuna.create_study(sampler=of_four(), direction=direction)
    study.enqueue_trial({"x": 0.25})
    study.optimize(objective, n_trials=30, catch=ZeroDivisionError)
    study.sampler = RandomSampler(seed=0)
    study.optimize(objective, n_trials=9, catch=ZeroDivisionError)
    study.sampler = of_four()
    study.add_trials(study.get_trials(states=[TrialState.COMPLETE])[:3])
    study.optimize(objective, n_trials=20, catch=ZeroDivisionError)
    study.ask()
    return study


def trace(figure: Any, name: str) -> Any:
    """Return the only trace of a figure whose name starts with this one."""
    (found,) = [found for found in figure.data if found.name.startswith(name)]
    return found


def names(figure: Any) -> set[str]:
    """Return the names of a figure's traces."""
    return {found.name for found in figure.data}


def without_tags(html: str) -> str:
    """Return the text of HTML."""
    return re.sub("<.*?>", "", html)


def numbers(found: Any) -> list[int]:
    """Return the trial of each point of a trace."""
    return [int(re.findall(r"Trial (\d+)", text)[0]) for text in found.text]


def places(figure: Any) -> dict[tuple[float, float], int]:
    """Return the trial at each point of a figure."""
    return {
        (x, y): number
        for found in figure.data
        if found.mode == "markers" and found.text is not None
        for x, y, number in zip(found.x, found.y, numbers(found), strict=True)
    }


def edges(figure: Any, name: str) -> set[tuple[int, int]]:
    """Return the pairs of trials that a trace joins by lines."""
    found, at = trace(figure, name), places(figure)
    ends = list(zip(found.x, found.y, strict=True))
    assert ends[2::3] == [(None, None)] * (len(ends) // 3)
    return {(at[start], at[end]) for start, end in zip(ends[::3], ends[1::3], strict=True)}

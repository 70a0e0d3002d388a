"""Objectives, storages and figures that the experiments with many workers share."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from typing import Any, NamedTuple

import optuna
from optuna import Study, Trial, TrialPruned
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend

from optuna_ga import GASampler, optimize_generations

Row = dict[str, Any]

SIZE = 20
SEED = 0
DIED = "died"  # The attribute of a trial that is about to kill its process.

# Its processes are forked from a process that has the imports and no open connection.
CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["benchmarks.workers.common", "benchmarks.workers.interrupted", "optuna_ga"]
)


def figure(
    case: str,
    name: str,
    value: float,
    n: int,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Row:
    """Return the row of a figure, counted among `n` trials, parents or runs."""
    row: Row = {"case": case, "figure": name, "value": value, "of": n, "bound": "", "holds": None}
    if at_most is not None:
        row |= {"bound": f"<= {at_most}", "holds": value <= at_most}
    if at_least is not None:
        row |= {"bound": f">= {at_least}", "holds": value >= at_least}
    return row


def evaluate(trial: Trial) -> float:
    """Return the value of a trial with numbers, choices and a branch."""
    value = trial.suggest_float("x", -5, 5) ** 2 + abs(
        trial.suggest_int("n", 1, 100, log=True) - 7
    )
    if trial.suggest_categorical("branch", ["flat", "steep"]) == "steep":
        value *= trial.suggest_float("steepness", 0.5, 2)
    return value


def evaluate_two(trial: Trial) -> tuple[float, float]:
    """Return the value of the same trial, and one that another `x` minimizes."""
    return evaluate(trial), (trial.params["x"] - 3) ** 2 + trial.params["n"]


def evaluate_conditional(trial: Trial) -> float:
    """Return the value of a trial whose parameters depend on numbers, which no rule foretells."""
    depth = trial.suggest_int("depth", 1, 40)
    width = trial.suggest_int("width", 1, 8) if depth % 2 else 4
    x = trial.suggest_float("x", -1, 1)
    y = trial.suggest_float("y", -1, 1) if x > 0 else 0.5
    return abs(depth - 13) / 40 + abs(width - 5) / 8 + (x - 0.4) ** 2 + y**2


class Problem(NamedTuple):
    """The function that the studies of an experiment minimize, and their sampler.

    Attributes:
        objective: Evaluates a trial.
        n_objectives: How many values it returns.
        ending: What the names of its cases end with.
        sampler: Returns a sampler, given a population size and a seed.
    """

    objective: Callable[[Trial], Any]
    n_objectives: int
    ending: str
    sampler: Callable[..., GASampler] = GASampler

    def new_study(self, size: int = SIZE, **options: Any) -> Study:
        """Return a new study, or a stored one, of generations of some size."""
        return optuna.create_study(
            directions=["minimize"] * self.n_objectives,
            **{"sampler": self.sampler(size, seed=SEED), **options},
        )

    def reference(self, n_generations: int, size: int = SIZE) -> Study:
        """Return a study by generations in memory, its trials one after another."""
        study = self.new_study(size)
        optimize_generations(study, partial(in_turn, self.objective), n_generations)
        return study


def in_turn(objective: Callable[[Trial], Any], trials: Sequence[Trial]) -> list[Any]:
    """Evaluate trials one after another."""
    return [objective(trial) for trial in trials]


ONE = Problem(evaluate, 1, "")
TWO = Problem(evaluate_two, 2, ", two objectives")
ADAPTIVE = Problem(evaluate_conditional, 1, ", adaptive, conditional space", GASampler.adaptive)


def uneven(trial: Trial, scale_s: float, objective: Callable[[Trial], Any] = evaluate) -> Any:
    """Evaluate a trial after a lognormal time that its number decides."""
    result = objective(trial)
    time.sleep(scale_s * random.Random(trial.number).lognormvariate(0, 1))
    return result


def faulty(trial: Trial, scale_s: float, mortal: bool) -> float:
    """Fail, prune, diverge or kill the process in 30 % of the trials, as the number decides.

    A trial that killed its process fails when it is evaluated again.
    """
    value: float = uneven(trial, scale_s)
    ending = random.Random(f"fault {trial.number}").random()
    if ending < 0.02 and DIED not in trial.user_attrs:
        trial.set_user_attr(DIED, True)
        if mortal:
            os._exit(1)
    if ending < 0.10:
        raise OSError("no space left")
    if ending < 0.20:
        trial.report(value, 1)
        raise TrialPruned
    return float("inf") if ending < 0.30 else value


def story(study: Study) -> list[tuple[Any, ...]]:
    """Return the trials without their ids and times."""
    trials = study.get_trials(deepcopy=False)
    return [(t.number, t.state, t.params, t.values, t.user_attrs) for t in trials]


def left_running(study: Study) -> int:
    """Return how many trials have not finished."""
    return sum(not trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def differing(study: Study, reference: Study) -> int:
    """Return how many trials differ, missing and superfluous ones included."""
    mine, theirs = story(study), story(reference)
    differ = sum(a != b for a, b in zip(mine, theirs, strict=False))
    return differ + abs(len(mine) - len(theirs))


def open_storage(place: str) -> BaseStorage:
    """Open a database by its URL or a journal by its path."""
    if "://" in place:
        return get_storage(place)
    return JournalStorage(JournalFileBackend(place))


class _WithHeartbeat(RDBStorage):
    """A database in which each trial that kills its process has had a heartbeat.

    Optuna records the first one in a thread, which a busy machine may hold up for longer than the
    objective takes; and it fails no trial that has had none.
    """

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Write an attribute, and a heartbeat before the trial dies."""
        super().set_trial_user_attr(trial_id, key, value)
        if key == DIED:
            self.record_heartbeat(trial_id)


def open_with_heartbeat(url: str) -> BaseStorage:
    """Open a database that fails the trials of a process three seconds after its death."""
    return get_storage(_WithHeartbeat(url, heartbeat_interval=1, grace_period=3))

"""The trainer as an objective: reports, pruning, states, and the result of each trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from optuna import Study, Trial
from optuna.study import StudyDirection

from optuna_ga._checks import as_float, check_callable, check_choice, is_number, shown
from optuna_ga._pbt.checkpoints import Checkpoints, check_checkpoints
from optuna_ga._user_warnings import warn_user
from optuna_ga.torch._engine import Engine
from optuna_ga.torch._metrics import Metric, Metrics, returned_number
from optuna_ga.torch._reporter import Reporter
from optuna_ga.torch._task import Member
from optuna_ga.torch._training import Training

ValuedEpoch = Literal["last", "best"]


class GenerationObjective:
    """Trains a generation and returns a result for each trial; for `optimize_generations`.

    `PopulationTrainer.objective` makes it.

    Args:
        engine: The trainer's, which starts members and trains them.
        suggest: Returns the settings of a trial's member.
        metric: The metric to optimize, or several; see `Metrics`.
        value: The epoch that a trial is valued by.
        cost: Returns the last value of a trial, to be minimized; None leaves it out.
        checkpoints: Where states are kept; None trains each member from scratch.
        worst: Value of a diverged trial, and the worst of any, or one for each metric; None is
            infinity.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If an argument is out of its range, or if it is known already that there is no
            such metric.
    """

    def __init__(
        self,
        engine: Engine,
        suggest: Callable[[Trial], Member],
        metric: Metric | Sequence[Metric],
        value: ValuedEpoch,
        cost: Callable[[Member], float] | None,
        checkpoints: Checkpoints | None,
        worst: float | Sequence[float] | None,
    ) -> None:
        check_callable("suggest", suggest)
        self._metrics = Metrics(metric)
        check_choice("value", value, get_args(ValuedEpoch))
        if cost is not None:
            check_callable("cost", cost)
        check_checkpoints(checkpoints)
        self._worst = _checked_worst(worst, len(self._metrics.names))
        self._metrics.check(engine.metric_names)
        self._engine = engine
        self._suggest = suggest
        self._takes_best = value == "best"
        self._cost = cost
        self._checkpoints = checkpoints
        self._may_warn = True

    def __call__(self, trials: Sequence[Trial]) -> Sequence[float | tuple[float, ...] | Exception]:
        """Train the trials' members together.

        Args:
            trials: The trials, whose parameters are suggested here.

        Returns:
            For each trial its metric after the last or the best epoch; the worst value if its
            training diverged; or an `optuna.TrialPruned` if the study's pruner ended it. With
            several metrics or a cost, a tuple of them. An exception that keeps a trial from being
            trained, or its state from being saved, is the result of that trial alone.

        Raises:
            TypeError: If a single trial is given, as by `study.optimize`.
            ValueError: If the study has another number of directions than each trial values, if
                it maximizes the cost, if `worst` is its best value, or if the task has no such
                metric.
        """
        if isinstance(trials, Trial):
            raise TypeError(
                "This objective takes the trials of a generation, but a single one was given. "
                "Call `optimize_generations(study, objective, n_generations)`, without "
                "`InParallel`, instead of `study.optimize`."
            )
        for study in {id(trial.study): trial.study for trial in trials}.values():
            self._check_directions(study)
            self._check_worst(study)
        prepared = [self._prepared(trial) for trial in trials]
        ready = {n: each for n, each in enumerate(prepared) if isinstance(each, _Ready)}
        results: dict[int, Any] = {**dict(enumerate(prepared)), **self._trained(trials, ready)}
        return list(results.values())

    def _prepared(self, trial: Trial) -> _Ready | Exception:
        """Return what a trial is trained from, or why it fails alone."""
        try:
            member = _checked_member(self._suggest(trial))
            # Before the training, which an error here would waste.
            cost = None if self._cost is None else returned_number("cost", self._cost(member))
            return _Ready(self._engine.start(member, self._start(trial)), cost)
        except Exception as error:  # Of the user's functions, or of the network.
            return error

    def _trained(
        self, trials: Sequence[Trial], ready: Mapping[int, _Ready]
    ) -> dict[int, float | tuple[float, ...] | Exception]:
        """Return the results of the trials that can be trained, by their positions."""
        if not ready:
            return {}
        self._metrics.check(self._engine.metric_names)
        chosen = [trials[position] for position in ready]
        starts = [each.start for each in ready.values()]
        reporter = Reporter(
            chosen,
            [self._engine.recipe.n_epochs(start.member) for start in starts],
            self._metrics,
            self._worst,
            takes_best=self._takes_best,
            reports=self._n_values == 1,
        )
        ended = self._engine.train(starts, reporter, reporter.fail)
        for position, trained in enumerate(ended):
            if not isinstance(reporter.results[position], Exception):
                with reporter.failing_alone(position):
                    self._save(chosen[position], trained.state)
        self._warn_of_worst(reporter)
        together = zip(ready.items(), reporter.results, strict=True)
        return {
            position: values if isinstance(values, Exception) else _result(values, each.cost)
            for (position, each), values in together
        }

    def _save(self, trial: Trial, state: Mapping[str, Any] | None) -> None:
        """Leave a trial's state to its children."""
        if self._checkpoints is not None and state is not None:
            self._checkpoints.save(trial, state)

    @property
    def _n_values(self) -> int:
        return len(self._worst) + (self._cost is not None)

    def _check_directions(self, study: Study) -> None:
        values = [f"the {name}" for name in self._metrics.names]
        values += ["a cost"] * (self._cost is not None)
        directions = [direction.name.lower() for direction in study.directions]
        maximizes_cost = self._cost is not None and directions[-1] == "maximize"
        if len(directions) != len(values) or maximizes_cost:
            wanted = "one direction" if len(values) == 1 else f"{len(values)} directions"
            wanted += ', the last "minimize"' * (self._cost is not None)
            raise ValueError(
                f"`study` must have {wanted}, since the values of a trial are "
                f"{', '.join(values)}, but it has {directions}."
            )

    def _check_worst(self, study: Study) -> None:
        """Check that not all values are as good as the worst."""
        # A direction that is the cost's has no limit.
        for name, worst, direction in zip(
            self._metrics.names, self._worst, study.directions, strict=False
        ):
            best = -math.inf if direction == StudyDirection.MINIMIZE else math.inf
            if worst == best:
                raise ValueError(
                    f"`worst` must not be {best} for a study that is to {direction.name.lower()} "
                    f"the {name}, since no value is better: all trials would get it."
                )

    def _warn_of_worst(self, reporter: Reporter) -> None:
        """Warn, once, if no trial of several has a value better than the worst."""
        together = zip(self._metrics.names, self._worst, reporter.n_clipped, strict=True)
        for name, worst, n_clipped in together:
            if self._may_warn and n_clipped > 1 and n_clipped == reporter.n_finite:
                self._may_warn = False
                warn_user(
                    f"`worst` must be worse than most values of the {name}, but all {n_clipped} "
                    f"trials of a generation that did not diverge are worse than {shown(worst)}, "
                    "which they get: a search cannot tell them apart."
                )

    def _start(self, trial: Trial) -> Mapping[str, Any] | None:
        """Return the state that a trial continues, if it does."""
        state: Mapping[str, Any] | None = None
        if self._checkpoints is not None:
            state = self._checkpoints.load_parent(trial)
        return state


class _Ready(NamedTuple):
    """A trial's member before its training, and its cost if there is one."""

    start: Training
    cost: float | None


def _result(values: Sequence[float], cost: float | None) -> float | tuple[float, ...]:
    """Return the value of a trial, or its values if there are several."""
    values = [*values, *([] if cost is None else [cost])]
    return values[0] if len(values) == 1 else tuple(values)


def _checked_worst(worst: object, n_metrics: int) -> list[float | None]:
    """Return the worst value of each metric."""
    if worst is None:
        return [None] * n_metrics
    limits = [worst] if is_number(worst) else worst
    if not isinstance(limits, Sequence) or not all(map(is_number, limits)):
        raise TypeError(
            f"`worst` must be a number, one for each metric, or None, but {shown(worst)} was "
            "given."
        )
    if len(limits) != n_metrics:
        raise ValueError(
            f"`worst` must have a number for each metric, {n_metrics}, but {shown(worst)} was "
            "given."
        )
    numbers = [as_float(limit) for limit in limits]
    if any(map(math.isnan, numbers)):
        raise ValueError(f"`worst` must not be NaN, but {shown(worst)} was given.")
    return [*numbers]


def _checked_member(member: object) -> Member:
    if not isinstance(member, Member):
        raise TypeError(f"`suggest` must return a `Member`, but it returned {shown(member)}.")
    return member

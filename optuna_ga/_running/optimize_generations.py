"""A generation as the unit of work: ask all of it, evaluate it at once, tell in trial order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from operator import attrgetter
from time import monotonic
from typing import Any, NamedTuple, TypeAlias

import optuna
from optuna import Trial, TrialPruned
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from tqdm.auto import tqdm

from optuna_ga._checks import check_bool, check_int, check_seconds
from optuna_ga._optuna_internals import is_stopped, optimization_loop, running_trials
from optuna_ga._running.in_parallel import InParallel
from optuna_ga._running.progress import progress_bar

Result: TypeAlias = "float | Sequence[float] | BaseException | None"
"""What an evaluation returns for a trial: its value or values, or what ended it."""

Callback = Callable[[Study, FrozenTrial], None]

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_STARTED = (TrialState.RUNNING, *_FINISHED)

_logger = optuna.logging.get_logger("optuna.generations")


def optimize_generations(
    study: Study,
    evaluate: Callable[[list[Trial]], Sequence[Result]],
    n_generations: int,
    *,
    population_size: int | None = None,
    timeout: float | None = None,
    catch: Iterable[type[Exception]] | type[Exception] = (),
    callbacks: Iterable[Callback] | None = None,
    show_progress_bar: bool = False,
) -> None:
    """Optimize generation by generation, each evaluated by one call.

    With `GASampler` the whole study is a function of the seed and the objective: however a
    generation is evaluated, and however often the run is killed and started again, every trial
    has the same parameters, parents and value. The sampler may be any other.

    `n_generations` is the total, so a second call does what is missing. It first finishes the
    generation that a killed run left half done: trials that are still running are evaluated
    again under their own numbers, with what they had suggested. So only one such call may work
    on a study at a time. Enqueued trials are taken first, as `Study.ask` does.

    Args:
        study: The study.
        evaluate: Called with the trials of one generation, in the order of their numbers. It
            suggests their parameters and returns as many results in the same order: the value
            or values; or for a trial that was pruned an `optuna.TrialPruned`; or for one that
            failed another exception, NaN or None. An exception that it raises holds for all of
            the generation. `InParallel` makes one of an ordinary objective.
        n_generations: Number of generations that the study is to have, at least 1.
        population_size: Trials in a generation, at least 1. None takes that of the sampler.
        timeout: No generation is begun after so many seconds. None sets no limit.
        catch: Exceptions of failed trials after which the study goes on. Any other is raised
            once all trials of the generation are told.
        callbacks: Called with the study and each finished trial, in trial order. They and the
            evaluation may call `study.stop()` in this thread, after which no further generation
            is begun.
        show_progress_bar: Whether to show the trials done, the time left, the generation and the
            best value, on a terminal or in a notebook.

    Raises:
        TypeError: If an argument has the wrong type, or if a result is no value; the trial then
            fails, and the others are told.
        ValueError: If an argument is out of its range or missing, if the workers of `InParallel`
            could not reach the study, or if there are more or fewer results than trials, which
            then all fail.
        RuntimeError: If the study is already being optimized in this thread.
    """
    if isinstance(evaluate, InParallel):
        evaluate.check(study)
    size = _population_size(study, population_size)
    total = size * check_int("n_generations", n_generations, minimum=1)
    end = monotonic() + (math.inf if timeout is None else check_seconds("timeout", timeout))
    caught = (catch,) if isinstance(catch, type) else tuple(catch)
    shown = check_bool("show_progress_bar", show_progress_bar)
    n_finished = len(study.get_trials(deepcopy=False, states=_FINISHED))
    with (
        optimization_loop(study),
        progress_bar(shown, total=total, initial=n_finished, unit="trial") as progress,
    ):
        observers = [*(callbacks or ()), _advance(progress, size)]
        for trials in _generations(study, size, total):
            error = evaluate_and_tell(study, evaluate, trials, observers)
            if error is not None and not isinstance(error, caught):
                raise error
            if is_stopped(study) or monotonic() >= end:
                break


def evaluate_and_tell(
    study: Study,
    evaluate: Callable[[list[Trial]], Sequence[Result]],
    trials: list[Trial],
    observers: Sequence[Callback] = (),
) -> BaseException | None:
    """Evaluate trials together, tell every one its result, and return the first error."""
    return _tell(study, trials, _evaluate(evaluate, trials), observers)


def _generations(study: Study, size: int, total: int) -> Iterator[list[Trial]]:
    """Yield what is to be evaluated together, until the study has `total` started trials."""
    trials = running_trials(study)
    n_started = len(study.get_trials(deepcopy=False, states=_STARTED))
    while trials or n_started < total:
        # What is half done is filled up to a whole generation.
        n_missing = -n_started % size or (0 if trials else size)
        n_missing = min(n_missing, max(total - n_started, 0))
        _ask(study, n_missing, trials)
        n_started += n_missing
        yield sorted(trials, key=attrgetter("number"))
        trials = []


def _ask(study: Study, n: int, trials: list[Trial]) -> None:
    """Add `n` new trials to the list; if one cannot be had, the new ones fail.

    So does the one that could not be had, if it was created. Trials that a killed run left running
    are left so for the next call.
    """
    left_over = {trial.number for trial in trials}
    try:
        for _ in range(n):
            trials.append(study.ask())
    except BaseException:
        for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if trial.number not in left_over:
                study.tell(trial.number, state=TrialState.FAIL)
        raise


def _evaluate(
    evaluate: Callable[[list[Trial]], Sequence[Result]], trials: list[Trial]
) -> Sequence[Result]:
    """Return a result for each trial, whatever the evaluation does."""
    try:
        results = list(evaluate(list(trials)))  # It may do with its list what it likes.
        if len(results) != len(trials):
            numbers = ", ".join(str(trial.number) for trial in trials)
            raise ValueError(
                f"`evaluate` must return one result for each of the {len(trials)} trials "
                f"{numbers}, but it returned {len(results)}."
            )
    except BaseException as error:  # Raised again once the trials are told.
        return [error] * len(trials)
    return results


def _tell(
    study: Study, trials: Sequence[Trial], results: Sequence[Result], observers: Sequence[Callback]
) -> BaseException | None:
    """Tell every trial its result, in order, and return the first error among them."""
    outcomes = [_outcome(study, *pair) for pair in zip(trials, results, strict=True)]
    n_told = 0
    try:
        for trial, outcome in zip(trials, outcomes, strict=True):
            finished = study.tell(trial, outcome.values, outcome.state)
            n_told += 1
            _log(finished, outcome)
            for observe in observers:
                observe(study, finished)
    finally:  # An observer may raise, or the user interrupt; the other results are there.
        for trial, outcome in zip(trials[n_told:], outcomes[n_told:], strict=True):
            study.tell(trial, outcome.values, outcome.state, skip_if_finished=True)
    return next((outcome.error for outcome in outcomes if outcome.error is not None), None)


class _Outcome(NamedTuple):
    """What a trial is told, and the error to raise if that is not caught."""

    state: TrialState
    values: list[float] | None = None
    reason: str = ""
    error: BaseException | None = None


def _outcome(study: Study, trial: Trial, result: Result) -> _Outcome:
    if isinstance(result, TrialPruned):
        return _Outcome(TrialState.PRUNED, reason=str(result))
    if isinstance(result, BaseException):
        return _Outcome(TrialState.FAIL, reason=repr(result), error=result)
    if result is None:
        return _Outcome(TrialState.FAIL, reason="the result is None")
    values = _numbers(result)
    n_objectives = len(study.directions)
    if len(values) != n_objectives:
        error = TypeError(
            f"`evaluate` must return {n_objectives} number(s), an exception or None for trial "
            f"{trial.number}, but it returned {result!r}."
        )
        return _Outcome(TrialState.FAIL, reason=str(error), error=error)
    if any(map(math.isnan, values)):
        return _Outcome(TrialState.FAIL, reason=f"the result is {result!r}")
    return _Outcome(TrialState.COMPLETE, values)


def _numbers(result: object) -> list[float]:
    """Return the number or numbers of a result; none if it is something else.

    Whatever its conversion raises: the other trials' results must not be lost by it.
    """
    if isinstance(result, (bytes, str, Mapping, Set)):
        return []
    try:
        return [float(result)]  # type: ignore[arg-type]
    except Exception:
        pass
    try:
        return [float(value) for value in result]  # type: ignore[attr-defined]
    except Exception:
        return []


def _log(trial: FrozenTrial, outcome: _Outcome) -> None:
    if outcome.state == TrialState.COMPLETE:
        _logger.info(
            f"Trial {trial.number} finished with value {trial.values} and parameters "
            f"{trial.params}."
        )
    elif outcome.state == TrialState.PRUNED:
        _logger.info(f"Trial {trial.number} pruned. {outcome.reason}")
    else:
        _logger.warning(
            f"Trial {trial.number} failed with parameters {trial.params}: {outcome.reason}"
        )


def _advance(progress: tqdm[Any], size: int) -> Callback:
    """Return a callback that moves the progress bar."""

    def advance(study: Study, trial: FrozenTrial) -> None:
        progress.set_description(f"generation {trial.number // size}", refresh=False)
        if len(study.directions) == 1 and trial.state == TrialState.COMPLETE:
            with suppress(ValueError):  # None is feasible yet.
                progress.set_postfix_str(f"best {study.best_value:.6g}", refresh=False)
        progress.update()

    return advance


def _population_size(study: Study, given: int | None) -> int:
    if given is None:
        given = getattr(study.sampler, "population_size", None)
    if given is None:
        raise ValueError(
            "`population_size` must be given, since the study's sampler, a "
            f"{type(study.sampler).__name__}, has none."
        )
    return check_int("population_size", given, minimum=1)

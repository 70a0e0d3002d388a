"""`optimize_generations`: ask for a generation, evaluate it in one call, tell the results."""

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
"""Result of a trial: its value or values; an exception or None if it has no value."""

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
    """Optimize a study by whole generations, each evaluated by one call.

    With `GASampler` the study is a function of the seed and the objective alone. However a
    generation is evaluated, and however often the run is killed and started again, every trial
    has the same parameters, parents and value. Other samplers work too.

    A second call resumes the study: `n_generations` is the total. It first completes the
    generation that a killed run left unfinished. Trials that are still running keep their
    numbers and suggested parameters and are evaluated again, so only one call may work on a study
    at a time. Enqueued trials come first, as with `Study.ask`.

    Args:
        study: The study.
        evaluate: Evaluates one generation: takes its trials in the order of their numbers,
            suggests their parameters, and returns one result per trial in the same order. A
            result is the value or values; an `optuna.TrialPruned` for a pruned trial; or another
            exception, NaN or None for a failed trial. If `evaluate` raises, the exception counts
            as the result of every trial. `InParallel` turns an ordinary objective into `evaluate`.
        n_generations: Total number of generations, at least 1.
        population_size: Trials in a generation, at least 1. None takes the sampler's.
        timeout: No generation starts after this many seconds, at least 0. None sets no limit.
        catch: Exceptions of failed trials that do not end the optimization. Other exceptions are
            raised once all trials of the generation are told.
        callbacks: Called with the study and each finished trial, in trial order. Callbacks and
            `evaluate` may call `study.stop()` in this thread; then no further generation starts.
        show_progress_bar: Whether to show the trials done, the time left, the generation and the
            best value, on a terminal or in a notebook.

    Raises:
        TypeError: If an argument has the wrong type, or if a result is neither a value, an
            exception nor None; that trial fails and the other trials are told.
        ValueError: If an argument is out of range; if `population_size` is missing and the
            sampler has none; if the workers of `InParallel` cannot reach the study; or if the
            number of results differs from the number of trials, all of which fail then.
        RuntimeError: If this thread is already optimizing the study.
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
    """Evaluate trials together, tell each result, and return the first error, if any."""
    return _tell(study, trials, _evaluate(evaluate, trials), observers)


def _generations(study: Study, size: int, total: int) -> Iterator[list[Trial]]:
    """Yield the trials to evaluate together, until the study has `total` started trials."""
    trials = running_trials(study)
    n_started = len(study.get_trials(deepcopy=False, states=_STARTED))
    while trials or n_started < total:
        # Complete a started generation first. If all its trials have started, evaluate only the
        # running ones.
        n_missing = -n_started % size or (0 if trials else size)
        n_missing = min(n_missing, max(total - n_started, 0))
        _ask(study, n_missing, trials)
        n_started += n_missing
        yield sorted(trials, key=attrgetter("number"))
        trials = []


def _ask(study: Study, n: int, trials: list[Trial]) -> None:
    """Ask for `n` trials and append them; if asking raises, all new trials fail.

    This includes a trial that was created but not returned. Trials that a killed run left running
    stay running for the next call.
    """
    resumed = {trial.number for trial in trials}
    try:
        for _ in range(n):
            trials.append(study.ask())
    except BaseException:
        for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if trial.number not in resumed:
                study.tell(trial.number, state=TrialState.FAIL)
        raise


def _evaluate(
    evaluate: Callable[[list[Trial]], Sequence[Result]], trials: list[Trial]
) -> Sequence[Result]:
    """Return one result per trial; an exception of `evaluate` is the result of every trial."""
    try:
        results = list(evaluate(list(trials)))  # A copy, since `evaluate` may change its list.
        if len(results) != len(trials):
            numbers = ", ".join(str(trial.number) for trial in trials)
            raise ValueError(
                f"`evaluate` must return one result for each of the {len(trials)} trials "
                f"{numbers}, but it returned {len(results)}."
            )
    except BaseException as error:  # `optimize_generations` raises it once the trials are told.
        return [error] * len(trials)
    return results


def _tell(
    study: Study, trials: Sequence[Trial], results: Sequence[Result], observers: Sequence[Callback]
) -> BaseException | None:
    """Tell each trial its result, in trial order, and return the first error, if any."""
    outcomes = [_outcome(study, *pair) for pair in zip(trials, results, strict=True)]
    n_told = 0
    try:
        for trial, outcome in zip(trials, outcomes, strict=True):
            finished = study.tell(trial, outcome.values, outcome.state)
            n_told += 1
            _log(finished, outcome)
            for observe in observers:
                observe(study, finished)
    finally:  # Even if an observer raises or the user interrupts, no result is lost.
        for trial, outcome in zip(trials[n_told:], outcomes[n_told:], strict=True):
            study.tell(trial, outcome.values, outcome.state, skip_if_finished=True)
    return next((outcome.error for outcome in outcomes if outcome.error is not None), None)


class _Outcome(NamedTuple):
    """The arguments of `Study.tell` for one trial.

    Attributes:
        state: The trial's final state.
        values: The values of a complete trial.
        reason: Text for the log if the trial is not complete.
        error: The exception to raise unless it is caught.
    """

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
    """Return the number or numbers of a result as floats; an empty list if it has none.

    Every exception of a conversion is caught, so that the other trials are still told.
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
    """Return a callback that advances the progress bar by one trial."""

    def advance(study: Study, trial: FrozenTrial) -> None:
        progress.set_description(f"generation {trial.number // size}", refresh=False)
        if len(study.directions) == 1 and trial.state == TrialState.COMPLETE:
            with suppress(ValueError):  # No trial is feasible yet.
                progress.set_postfix_str(f"best {study.best_value:.6g}", refresh=False)
        progress.update()

    return advance


def _population_size(study: Study, given: int | None) -> int:
    if given is None:
        given = getattr(study.sampler, "population_size", None)
    if given is None:
        raise ValueError(
            "`population_size` must be given, because the study's sampler, a "
            f"{type(study.sampler).__name__}, has none."
        )
    return check_int("population_size", given, minimum=1)
